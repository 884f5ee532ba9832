"""The examples of a split, from its file or the hub; what is wrong with one is said with its file and line."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_cli.data.io.csv_stream import OPEN_QUOTE
from ssl_cli.data.io.delimited import CsvDialect
from ssl_cli.data.io.records import PARQUET, read_records, suffix_of
from ssl_cli.data.io.text import ReadIssues
from ssl_cli.data.text.records import Records
from ssl_cli.errors import InputError
from ssl_cli.tasks.examples import Columns, ExampleSplit, InvalidExample, SkippedRecord, sentence, some

MANY = 100  # classes: so many are no mistake where each has several examples


@dataclass(frozen=True)
class RecordSource:
    """`name`: what a message calls it. `is_coded`: a whole number as label is a place among the labels, as in the hub's
    Parquet files."""

    name: str
    records: Records
    is_coded: bool

    @classmethod
    def of_file(cls, path: Path, sheet: CsvDialect, has_labels: bool) -> "RecordSource":
        """`has_labels`: the task says them."""
        found = ((entry.place, _advised(entry.record)) for entry in read_records(path, sheet, is_table=True))
        return cls(str(path), found, has_labels and suffix_of(path) == PARQUET)


def _advised(record: dict[str, Any] | str) -> dict[str, Any] | str:
    return f"{record}; where quotes are letters, say task.quoting=false" if record == OPEN_QUOTE else record


def read_split(source: RecordSource, columns: Columns, needs_label: bool, skips: bool) -> ExampleSplit:
    """`skips`: what gives no example is left out and counted; otherwise, and of the first one always, an InputError.

    Of a split without labels each record must be answered: an empty text is one there, and is counted.
    """
    split, faults, n_dropped = ExampleSplit(), ReadIssues(), 0
    for number, (place, record) in enumerate(source.records):
        try:
            if isinstance(record, str):
                raise InvalidExample(record)
            split.append(columns.example(record, number, needs_label, source.is_coded))
        except SkippedRecord:
            n_dropped += 1
        except InvalidExample as reason:
            if not (skips and split):
                raise InputError(f"{source.name}, {place}: {sentence(str(reason))}") from None
            faults.skip(f"{source.name}, {place}: {reason}")
    if not split:
        raise InputError(f"{source.name} holds no examples.")
    split.warnings = tuple(faults.sentences())
    if n_empty := sum(example.is_empty for example in split):
        split.warnings += (f"{n_empty:,} of {len(split):,} examples have no text where there should be one.",)
    if n_dropped:
        split.warnings += (
            f"{n_dropped:,} of {n_dropped + len(split):,} examples are labelled {some(columns.dropped)}, and were left "
            "out.",
        )
    return split


def classes_of(name: str, split: ExampleSplit, labels: Iterable[str] | None) -> list[str]:
    """The `labels`; where they aren't given those of a training split, in order: of numbers by their size.

    Raises InputError where there is one class only, or where what is called a label looks like a text or a number.
    """
    if labels is not None:
        return list(labels)
    found = {str(example.label) for example in split}
    if len(found) == 1:
        raise InputError(f"All examples of {name} are labelled {found.pop()}: there is nothing to tell apart.")
    if len(found) > max(MANY, len(split) / 2):
        raise InputError(
            f"The {len(split):,} examples of {name} have {len(found):,} different labels, such as "
            f"{some(sorted(found)[:3])}: name the column of classes by task.label=NAME, or say task=regress where it "
            "holds a number."
        )
    are_numbers = all(re.fullmatch(r"-?\d{1,18}", label) for label in found)
    return sorted(found, key=(lambda label: (int(label), label)) if are_numbers else None)
