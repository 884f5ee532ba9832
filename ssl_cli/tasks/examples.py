"""Records -> labelled examples: a text, a pair of texts, or a text with options; and what is wrong with a record."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ssl_cli.config.choices import nearest
from ssl_cli.data.io.text import ReadIssues, without_surrogates

Kind = Literal["classification", "regression", "multiple_choice"]
Label = str | float | int  # a class by its name, a number, or which option
UNLABELLED = -1  # on the hub
ENDS = {"span1": ("_", "_"), "span2": ("[", "]")}
SHOWN = 20  # names in a message


@dataclass(frozen=True, slots=True)
class LabelledExample:
    """`label` is None where it isn't known; `options` are there for kind=multiple_choice only."""

    id: int | str | None
    text: str
    pair: str | None = None
    options: tuple[str, ...] | None = None
    label: Label | None = None

    @property
    def is_empty(self) -> bool:
        return not all((self.text, self.pair is None or self.pair, *(self.options or ())))


class ExampleSplit(list[LabelledExample]):
    """The examples of a split, and in `lost` what of its file was left out, a sentence each."""

    warnings: tuple[str, ...] = ()


class InvalidExample(Exception):
    """A record that gives no example; the reason alone."""


class SkippedRecord(Exception):
    """A record whose label says that it has none."""


@dataclass(frozen=True)
class Columns:
    """Where in a record everything stands. Of several names for one thing the first counts that the record has."""

    kind: Kind
    text: tuple[str, ...]
    pair: tuple[str, ...] | None
    label: tuple[str, ...]
    id: tuple[str, ...]
    options: tuple[str, ...] | None  # one column with a list, or a column each
    blank: str | None
    spans: str | None
    labels: tuple[str, ...] | None
    dropped: tuple[str, ...]

    def example(self, record: Mapping[str, Any], number: int, needs_label: bool, is_coded: bool) -> LabelledExample:
        """`number`: its place in the file, from 0. `is_coded`: a whole number as label is a place among `labels`.

        Raises Unfit, or Dropped.
        """
        shown = self.shown(record, number, needs_text=needs_label)
        label = self._label(record, shown.options, needs_label, is_coded)
        return shown if label is None else replace(shown, label=label)

    def shown(self, record: Mapping[str, Any], number: int | None, needs_text: bool = True) -> LabelledExample:
        """Without its label. Raises Unfit."""
        text = _text(record, self.text, "text", needs_text)
        if self.spans is not None and self.spans in record:
            text = text and marked(text, record[self.spans], self.spans)
        elif self.spans is not None and needs_text and number is not None:  # a user's own text may be marked already
            raise InvalidExample(lacks([self.spans], record, "spans"))
        if text and self.blank is not None and self.blank not in text:
            raise InvalidExample(f"its text has no {self.blank}, which the options fill in")
        pair = None if self.pair is None else _text(record, self.pair, "pair", needs_text)
        options = None if self.options is None else _options(record, self.options, needs_text)
        known = (known_by(record[name]) for name in self.id if record.get(name) not in (None, ""))
        return LabelledExample(next(known, number), text, pair, options)

    def _label(
        self, record: Mapping[str, Any], options: Sequence[str] | None, needs_label: bool, is_coded: bool
    ) -> Label | None:
        column = next((name for name in self.label if name in record), None)
        if column is None and needs_label:
            raise InvalidExample(lacks(self.label, record, "label"))
        value = None if column is None else record[column]
        if isinstance(value, list | dict):
            raise InvalidExample(f"the label in the column {column} is {str(value)[:50]}, no text and no number")
        if isinstance(value, str):
            value = value.strip()
        if value != value:  # NaN: a table's empty cell
            value = None
        is_none = is_coded and value == UNLABELLED and str(UNLABELLED) not in (self.labels or ())
        if value is None or value == "" or is_none:
            if needs_label:
                raise InvalidExample(f"it has no label in the column {column}")
            return None
        if self.kind == "regression":
            return _number(value, column)
        if self.kind == "multiple_choice":
            return _choice(value, options or (), column)
        return self._class(value, is_coded)

    def _class(self, value: Any, is_coded: bool) -> str:
        name = without_surrogates(class_name(value), "", ReadIssues())
        if name in self.dropped:
            raise SkippedRecord
        if name == "???" or "${" in name:
            raise InvalidExample(
                f"a class can't be called {name[:50]}, which means something else in the config of a run"
            )
        if self.labels is None or name in self.labels:
            return name
        if is_coded and isinstance(value, int) and 0 <= value < len(self.labels):
            return self.labels[value]
        raise InvalidExample(unknown(name, self.labels))


# --- single fields ------------------------------------------------------------------------------------------


def known_by(value: Any) -> int | str:
    """An id as JSON can hold it; Parquet's may be times, bytes, decimals."""
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return without_surrogates(str(value), "", ReadIssues())


def _text(record: Mapping[str, Any], names: Sequence[str], option: str, needs_text: bool) -> str:
    """A list of texts, such as keywords, is one with spaces between, as CLUE's baselines read CSL."""
    column = next((name for name in names if name in record), None)
    if column is None:
        raise InvalidExample(lacks(names, record, option))
    value = record[column]
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        value = " ".join(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = "" if value != value else str(value)
    if value is not None and not isinstance(value, str):
        raise InvalidExample(f"the column {column} holds no text but {str(value)[:50]}")
    if not value or value.isspace():
        if not needs_text:
            return ""
        raise InvalidExample(f"there is no text in the column {column}: it is empty")
    return without_surrogates(value, "", ReadIssues())


def _options(record: Mapping[str, Any], names: Sequence[str], needs_text: bool) -> tuple[str, ...]:
    if len(names) > 1:
        return tuple(_text(record, [name], "options", needs_text) for name in names)
    if names[0] not in record:
        raise InvalidExample(lacks(names, record, "options"))
    found = record[names[0]]
    if not isinstance(found, list) or len(found) < 2 or not all(isinstance(one, str) and one.strip() for one in found):
        raise InvalidExample(f"the column {names[0]} holds no list of two texts or more")
    return tuple(without_surrogates(one, "", ReadIssues()) for one in found)


def marked(text: str, spans: Any, column: str) -> str:
    """The first span as _so_ and the pronoun as [so], as CLUE's baselines read CLUEWSC (WSCProcessor)."""
    places = []
    for name, ends in ENDS.items():
        try:
            start, span = int(spans[f"{name}_index"]), spans[f"{name}_text"]
        except (TypeError, KeyError, ValueError, OverflowError):
            raise InvalidExample(f"the column {column} lacks {name}_index or {name}_text") from None
        if not isinstance(span, str):
            raise InvalidExample(f"{name}_text in the column {column} is no text but {str(span)[:50]}")
        if start < 0:
            raise InvalidExample(f"{name}_index in the column {column} is {start}: it counts from 0")
        if text[start : start + len(span)] != span:
            raise InvalidExample(f"{name}, {span!r}, isn't in the text at {start}")
        places += [(start, ends[0]), (start + len(span), ends[1])]
    for place, sign in sorted(places, reverse=True):
        text = text[:place] + sign + text[place:]
    return text


def _number(value: Any, column: str | None) -> float:
    try:
        number = math.nan if "_" in str(value) else float(value)  # Python reads 1_000, nobody else does
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InvalidExample(f"{str(value)[:50]!r} in the column {column} is no number")
    return number


def _choice(value: Any, options: Sequence[str], column: str | None) -> int:
    """By its number, from 0, or by its text"""
    if value in options:
        return options.index(value)
    number = _number(value, column)
    if number not in range(len(options)):
        raise InvalidExample(
            f"{value} in the column {column} is none of its {len(options)} options, which count from 0"
        )
    return int(number)


def class_name(value: Any) -> str:
    """A label as TSV would have it: 1 for 1.0, false for False"""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    return str(value).strip()


# --- what is said -------------------------------------------------------------------------------------------


def sentence(reason: str) -> str:
    return reason if reason.endswith("?") else f"{reason}."


def lacks(names: Sequence[str], record: Mapping[str, Any], option: str) -> str:
    found = [str(name) for name in record]
    hint = next((said for name in names if (said := nearest(name, found))), "")
    return f"there is no column {' or '.join(names)} (task.{option}), only {some(found)}.{hint}".rstrip(".")


def unknown(label: str, labels: Sequence[str]) -> str:
    hint = nearest(label, labels)
    return f"the label {label[:50]!r} is none of {some(labels)}.{hint}".rstrip(".")


def some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:SHOWN]) + (f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else "") or "none"
