"""Reading of a split's examples from a file or the hub. Errors name the file and the line."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ssl_cli.data.io.delimited import OPEN_QUOTE, CsvDialect
from ssl_cli.data.io.records import PARQUET, Record, Records, read_records, suffix_of
from ssl_cli.data.io.text import ReadIssues
from ssl_cli.errors import InputError
from ssl_cli.tasks.examples import (
    ExampleSplit,
    InvalidExample,
    ReadsExamples,
    SkippedRecord,
    as_sentence,
    missing_column,
    name_list,
)

FIELD_COUNT = re.compile(r"\d+ fields? instead of \d+")
MAX_CLASSES = 100  # more classes are an error, unless there are several examples of each


@dataclass(frozen=True)
class RecordSource:
    """The records of a split. `name` is its name in messages.

    With `is_coded` an integer label is an index into the labels, as in the hub's Parquet files.
    """

    name: str
    records: Records
    is_coded: bool

    @classmethod
    def of_file(cls, path: Path, dialect: CsvDialect, has_labels: bool) -> "RecordSource":
        """Return the records of a file. `has_labels` says whether the task lists its labels."""
        suffix = suffix_of(path)
        quoted = dialect.uses_quotes(suffix)
        entries = read_records(path, dialect, is_table=True)
        records = ((entry.place, _with_advice(entry, quoted)) for entry in entries)
        return cls(str(path), records, has_labels and suffix == PARQUET)

    @classmethod
    def of_rows(cls, name: str, rows: Iterable[dict[str, Any]], is_coded: bool) -> "RecordSource":
        """Return rows of the hub, which messages count from 1."""
        return cls(name, ((f"row {k:,}", row) for k, row in enumerate(rows, 1)), is_coded)

    def only(self, split: str, column: str, value: str) -> "RecordSource":
        """Return the records whose `column` has this value, of a file that holds several splits."""
        return replace(self, name=f"{self.name} ({split})", records=_with_value(self.records, column, value))


def _with_value(records: Records, column: str, value: str) -> Records:
    """Yield the records with a value in a column, those that can't be read, and the reason where there is no column."""
    for place, record in records:
        if isinstance(record, str):
            yield place, record
        elif column not in record:
            yield place, missing_column([column], record, "split")
        elif str(record[column]) == value:
            yield place, record


def _with_advice(entry: Record, quoted: bool) -> dict[str, Any] | str:
    record = entry.record
    if record == OPEN_QUOTE:
        return f"{record}; if quotes are plain characters, set task.quoting=false"
    if isinstance(record, str) and FIELD_COUNT.fullmatch(record) and not quoted and '"' in entry.text:
        return f"{record}; if its fields are quoted, set task.quoting=true"
    return record


def read_split(source: RecordSource, columns: ReadsExamples, needs_label: bool, skips: bool) -> ExampleSplit:
    """Return the examples of a split.

    With `skips` invalid records are left out and counted. Otherwise, and before the first valid record, they raise
    InputError. A split without labels needs a prediction for each record, so empty texts are kept there, and counted.
    """
    split, issues, n_dropped = ExampleSplit(), ReadIssues(), 0
    for k, (place, record) in enumerate(source.records):
        try:
            if isinstance(record, str):
                raise InvalidExample(record)
            split.append(columns.labelled_example(record, k, needs_label, source.is_coded))
        except SkippedRecord:
            n_dropped += 1
        except InvalidExample as reason:
            if not (skips and split):
                raise InputError(f"{source.name}, {place}: {as_sentence(str(reason))}") from None
            issues.add_skipped(f"{source.name}, {place}: {reason}")
    if not split:
        raise InputError(f"{source.name} holds no examples.")
    split.warnings = tuple(issues.messages())
    if n_empty := sum(example.is_empty for example in split):
        split.warnings += (f"{n_empty:,} of {len(split):,} examples have an empty text.",)
    if n_dropped:
        n_all, labels = n_dropped + len(split), name_list(columns.dropped)
        split.warnings += (f"{n_dropped:,} of {n_all:,} examples are labelled {labels}, and were left out.",)
    return split


def classes_of(name: str, split: ExampleSplit, labels: Iterable[str] | None) -> list[str]:
    """Return `labels`, or if they are None the sorted labels of a training split; integers are sorted by value.

    Raises InputError if there is only one class, or if the labels look like texts or numbers rather than classes.
    """
    if labels is not None:
        return list(labels)
    classes = {str(example.label) for example in split}
    if len(classes) == 1:
        raise InputError(f"All examples of {name} are labelled {classes.pop()}: there are no classes to distinguish.")
    if len(classes) > max(MAX_CLASSES, len(split) / 2):
        raise InputError(
            f"The {len(split):,} examples of {name} have {len(classes):,} different labels, such as "
            f"{name_list(sorted(classes)[:3])}: name the column of classes by task.label=NAME, or set task=regress if "
            "it holds a number."
        )
    are_integers = all(re.fullmatch(r"-?\d{1,18}", label) for label in classes)
    return sorted(classes, key=(lambda label: (int(label), label)) if are_integers else None)
