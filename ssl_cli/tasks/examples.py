"""Labelled examples parsed from records: a text, a pair of texts, or a text with options."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from ssl_cli.config.choices import did_you_mean
from ssl_cli.data.io.text import ReadIssues, replace_surrogates

Kind = Literal["classification", "regression", "multiple_choice"]
Names = str | list[str]  # of a column: the first that a record has is used
Label = str | float | int  # the name of a class, a number, or the index of an option
UNLABELLED = -1  # the label of unlabelled examples on the hub
SPAN_MARKS = {"span1": ("_", "_"), "span2": ("[", "]")}
MAX_NAMES = 20  # names listed in a message
MAX_VALUE_CHARS = 50  # characters of a wrong value that a message shows


@dataclass(frozen=True, slots=True)
class LabelledExample:
    """An example of a task. `label` is None if it is unknown; only kind=multiple_choice has `options`."""

    id: int | str | None
    text: str
    pair: str | None = None
    options: tuple[str, ...] | None = None
    label: Label | None = None

    @property
    def is_empty(self) -> bool:
        """Whether one of its texts is empty."""
        return not all((self.text, self.pair is None or self.pair, *(self.options or ())))


class ExampleSplit(list[Any]):
    """The examples of a split; `warnings` has a sentence for each kind of record that was left out."""

    warnings: tuple[str, ...] = ()


class ReadsExamples(Protocol):
    """The columns of a record that hold an example; records with a label of `dropped` are left out."""

    @property
    def dropped(self) -> tuple[str, ...]:
        """The labels that mean no label."""

    def labelled_example(self, record: Mapping[str, Any], index: int, needs_label: bool, is_coded: bool) -> Any:
        """Return the example of a record with its label. Raises InvalidExample, or SkippedRecord."""


class InvalidExample(Exception):
    """A record that is not a valid example; its message is the reason only."""


class SkippedRecord(Exception):
    """A record whose label is one of `dropped`."""


@dataclass(frozen=True)
class Columns:
    """The columns of a record that hold its fields. Of several names for a field, the first that exists is used."""

    kind: Kind
    text: tuple[str, ...]
    pair: tuple[str, ...] | None
    label: tuple[str, ...]
    id: tuple[str, ...]
    options: tuple[str, ...] | None  # one column with a list, or one column per option
    blank: str | None
    spans: str | None
    labels: tuple[str, ...] | None
    dropped: tuple[str, ...]

    def labelled_example(
        self, record: Mapping[str, Any], index: int, needs_label: bool, is_coded: bool
    ) -> LabelledExample:
        """Return the example of a record with its label.

        `index` is its position in the file, from 0. With `is_coded` an integer label is an index into `labels`.
        Raises InvalidExample, or SkippedRecord if its label is one of `dropped`.
        """
        example = self.unlabelled_example(record, index, needs_text=needs_label)
        label = self._label(record, example.options, needs_label, is_coded)
        return example if label is None else replace(example, label=label)

    def unlabelled_example(
        self, record: Mapping[str, Any], index: int | None, needs_text: bool = True
    ) -> LabelledExample:
        """Return the example of a record without its label. Raises InvalidExample."""
        text = text_field(record, self.text, "text", needs_text)
        if self.spans is not None and self.spans in record:
            text = text and mark_spans(text, record[self.spans], self.spans)
        elif self.spans is not None and needs_text and index is not None:  # a user's own text may be marked already
            raise InvalidExample(missing_column([self.spans], record, "spans"))
        if text and self.blank is not None and self.blank not in text:
            raise InvalidExample(f"its text lacks {self.blank}, which the options replace")
        pair = None if self.pair is None else text_field(record, self.pair, "pair", needs_text)
        options = None if self.options is None else _options(record, self.options, needs_text)
        ids = (json_id(record[name]) for name in self.id if record.get(name) not in (None, ""))
        return LabelledExample(next(ids, index), text, pair, options)

    def _label(
        self, record: Mapping[str, Any], options: Sequence[str] | None, needs_label: bool, is_coded: bool
    ) -> Label | None:
        column = next((name for name in self.label if name in record), None)
        if column is None and needs_label:
            raise InvalidExample(missing_column(self.label, record, "label"))
        value = None if column is None else record[column]
        if isinstance(value, list | dict):
            raise InvalidExample(f"the label in the column {column} is neither a text nor a number: {_short(value)}")
        if isinstance(value, str):
            value = value.strip()
        if value != value:  # NaN: an empty cell of a table
            value = None
        is_unlabelled = is_coded and value == UNLABELLED and str(UNLABELLED) not in (self.labels or ())
        if value is None or value == "" or is_unlabelled:
            if needs_label:
                raise InvalidExample(f"it has no label in the column {column}")
            return None
        if self.kind == "regression":
            return _number(value, column)
        if self.kind == "multiple_choice":
            return _option_index(value, options or (), column)
        return self._class(value, is_coded)

    def _class(self, value: Any, is_coded: bool) -> str:
        name = replace_surrogates(class_name(value), "", ReadIssues())
        if name in self.dropped:
            raise SkippedRecord
        if name == "???" or "${" in name:
            raise InvalidExample(f"a class can't be named {_short(name)}, which has another meaning in a run's config")
        if self.labels is None or name in self.labels:
            return name
        if is_coded and isinstance(value, int) and 0 <= value < len(self.labels):
            return self.labels[value]
        raise InvalidExample(unknown_label(name, self.labels))


# --- single fields ------------------------------------------------------------------------------------------


def json_id(value: Any) -> int | str:
    """Return an id as an integer or text that JSON can hold; ids in Parquet may be times, bytes or decimals."""
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return replace_surrogates(str(value), "", ReadIssues())


def text_field(record: Mapping[str, Any], names: Sequence[str], option: str, needs_text: bool) -> str:
    """Return a text field. A list of texts, such as keywords, is joined by spaces, as CLUE's baselines read CSL."""
    column = next((name for name in names if name in record), None)
    if column is None:
        raise InvalidExample(missing_column(names, record, option))
    value = record[column]
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        value = " ".join(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = "" if value != value else str(value)
    if value is not None and not isinstance(value, str):
        raise InvalidExample(f"the column {column} must hold a text, not {_short(value)}")
    if not value or value.isspace():
        if not needs_text:
            return ""
        raise InvalidExample(f"there is no text in the column {column}: it is empty")
    return replace_surrogates(value, "", ReadIssues())


def _options(record: Mapping[str, Any], names: Sequence[str], needs_text: bool) -> tuple[str, ...]:
    if len(names) > 1:
        return tuple(text_field(record, [name], "options", needs_text) for name in names)
    if names[0] not in record:
        raise InvalidExample(missing_column(names, record, "options"))
    options = record[names[0]]
    if (
        not isinstance(options, list)
        or len(options) < 2
        or not all(isinstance(option, str) and option.strip() for option in options)
    ):
        raise InvalidExample(f"the column {names[0]} must hold a list of at least two texts")
    return tuple(replace_surrogates(option, "", ReadIssues()) for option in options)


def mark_spans(text: str, spans: Any, column: str) -> str:
    """Mark the first span as _span_ and the pronoun as [pronoun], as CLUE's baselines read CLUEWSC (WSCProcessor)."""
    marks = []
    for name, (opening, closing) in SPAN_MARKS.items():
        try:
            start, span = int(spans[f"{name}_index"]), spans[f"{name}_text"]
        except (TypeError, KeyError, ValueError, OverflowError):
            raise InvalidExample(f"the column {column} lacks {name}_index or {name}_text") from None
        if not isinstance(span, str):
            raise InvalidExample(f"{name}_text in the column {column} must be a text, not {_short(span)}")
        if start < 0:
            raise InvalidExample(f"{name}_index in the column {column} is {start}: it must be at least 0")
        if text[start : start + len(span)] != span:
            raise InvalidExample(f"{name}, {span!r}, isn't in the text at {start}")
        marks += [(start, opening), (start + len(span), closing)]
    for position, mark in sorted(marks, reverse=True):
        text = text[:position] + mark + text[position:]
    return text


def _number(value: Any, column: str | None) -> float:
    try:
        number = math.nan if "_" in str(value) else float(value)  # only Python reads 1_000 as a number
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InvalidExample(f"{_short(value)!r} in the column {column} is not a number")
    return number


def _option_index(value: Any, options: Sequence[str], column: str | None) -> int:
    """Return the index of the right option, which is given by its index, from 0, or by its text."""
    if value in options:
        return options.index(value)
    number = _number(value, column)
    if number not in range(len(options)):
        raise InvalidExample(
            f"{value} in the column {column} is not one of its {len(options)} options, which are numbered from 0"
        )
    return int(number)


def class_name(value: Any) -> str:
    """Return a label as it is written in a TSV: 1 for 1.0, false for False."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    return str(value).strip()


# --- messages -----------------------------------------------------------------------------------------------


def as_sentence(reason: str) -> str:
    """Return a reason with a period at its end, unless it ends in a question."""
    return reason if reason.endswith("?") else f"{reason}."


def missing_column(names: Sequence[str], record: Mapping[str, Any], option: str) -> str:
    """Return the message that a record has none of these columns, with those that it has."""
    columns = [str(name) for name in record]
    hint = next((hint for name in names if (hint := did_you_mean(name, columns))), "")
    if any(f'"{name}"' in columns for name in names):
        hint = " Its fields are quoted: set task.quoting=true."
    return f"there is no column {' or '.join(names)} (task.{option}), only {name_list(columns)}.{hint}".rstrip(".")


def unknown_label(label: str, labels: Sequence[str]) -> str:
    """Return the message that a label is not one of the classes."""
    hint = did_you_mean(label, labels)
    return f"the label {_short(label)!r} is not one of {name_list(labels)}.{hint}".rstrip(".")


def name_list(names: Iterable[str]) -> str:
    """Return names separated by commas; only the first of many."""
    names = list(names)
    rest = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + rest or "none"


def _short(value: Any) -> str:
    return str(value)[:MAX_VALUE_CHARS]


def column_names(names: Names) -> tuple[str, ...]:
    """Return the names of a column, of which there may be one."""
    return (names,) if isinstance(names, str) else tuple(names)
