"""Text in a field of records: JSON lines, CSV, Parquet. A record that can't be read is left out, counted, named."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pyarrow as pa
import pyarrow.parquet

from ssl_cli.config.choices import nearest
from ssl_cli.config.types import Delimiter
from ssl_cli.data.io.files import files_of, marks
from ssl_cli.data.io.json_lines import LONGEST_LINE, SUFFIXES, Records, json_lines
from ssl_cli.data.io.text import LINE, ReadIssues, parted, pieces, without_surrogates
from ssl_cli.data.text.sources import Files, TextSource
from ssl_cli.errors import InputError

AT_ONCE = 256  # records of a Parquet file
TAB = ("tab", "\\t")
csv.field_size_limit(max(csv.field_size_limit(), LONGEST_LINE))

Field = Annotated[str, "the field that holds the text: a text, or a list of lines"]


class InvalidRecord(Exception):
    """A record that gives no text; the reason alone."""


@dataclass(kw_only=True)
class RecordFiles(TextSource):
    """Files of records, one field of which is the document."""

    suffixes: ClassVar[tuple[str, ...]]

    files: Files
    field: Field

    def records(self, path: Path) -> Records:
        raise NotImplementedError(f"{type(self).__name__} doesn't say how it is read")

    def read(self) -> Iterator[str]:
        for path in files_of(self.files, self.suffixes):
            yield from texts_of(str(path), self.records(path), self.field, self.faults)

    def marked(self) -> list[object]:
        return [self.field, *marks(files_of(self.files, self.suffixes))]


def texts_of(source: str, records: Records, field: str, faults: ReadIssues) -> Iterator[str]:
    """The text of each record. Raises InputError where the first record has none: then all are meant otherwise."""
    is_first = True
    for place, record in records:
        try:
            text = _text(record, field)
        except InvalidRecord as reason:
            if is_first:
                raise InputError(f"{source}, {place}: {reason}.") from reason
            faults.skip(f"{source}, {place}: {reason}")
        else:
            is_first = False
            yield without_surrogates(text, f"{source}, {place}", faults)


def _text(record: dict[str, Any] | str, field: str) -> str:
    if isinstance(record, str):
        raise InvalidRecord(record)
    if field not in record:
        raise InvalidRecord(_lacks(field, list(record)))
    value = record[field]
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    raise InvalidRecord(
        f"the field {field} holds {json.dumps(value, default=str)[:50]}, which is neither text nor lines of it"
    )


def _lacks(field: str, names: list[str]) -> str:
    return f"there is no field {field}, only {', '.join(names[:20]) or 'none'}.{nearest(field, names)}".rstrip(".?")


@dataclass(kw_only=True)
class JsonLines(RecordFiles):
    """An object a line."""

    suffixes: ClassVar[tuple[str, ...]] = SUFFIXES

    def records(self, path: Path) -> Records:
        return json_lines(path, self.faults)


@dataclass
class QuotedLines:
    """Lines as `csv` wants them, and how many quotes they had."""

    lines: Iterator[str]
    n_quotes: int = 0

    def __iter__(self) -> Iterator[str]:
        for line in self.lines:
            self.n_quotes += line.count('"')
            yield f"{line}\n"


@dataclass(kw_only=True)
class CsvText(RecordFiles):
    """Comma-separated values (or by another sign) under a header; a quoted field may span lines."""

    suffixes: ClassVar[tuple[str, ...]] = (".csv", ".tsv")

    delimiter: Annotated[Delimiter, "what parts the fields: one character, or tab"]

    def records(self, path: Path) -> Records:
        lines = QuotedLines(parted(pieces(path, self.faults), LINE, self.faults, LONGEST_LINE))
        reader = csv.reader(lines, delimiter="\t" if self.delimiter in TAB else self.delimiter)
        start = end = 0
        try:
            names = next(reader, [])
            self._refuse_other_sign(path, names)
            self._refuse_twins(path, names)
            end = reader.line_num
            for row in reader:
                start, end = end, reader.line_num
                if row:
                    yield f"line {start + 1:,}", dict(zip(names, row, strict=False))
        except csv.Error as error:
            raise InputError(f"{path}, line {end + 1:,}: {error}; is there a quote that isn't closed?") from error
        if lines.n_quotes % 2 and end - start > 1:
            raise InputError(f"{path}, line {start + 1:,}: a quote is opened there and not closed.")

    def _refuse_twins(self, path: Path, names: list[str]) -> None:
        if names.count(self.field) > 1:
            raise InputError(f"{path} has {names.count(self.field)} columns called {self.field}: rename all but one.")

    def _refuse_other_sign(self, path: Path, names: list[str]) -> None:
        other = next((sign for sign in ";\t|," if sign in names[0]), None) if len(names) == 1 else None
        if other and self.field not in names:
            said = "tab" if other == "\t" else f"'{other}'"
            raise InputError(f"{path}: its fields seem parted by {said}; say data.delimiter={said}.")

    def marked(self) -> list[object]:
        return [self.delimiter, *super().marked()]


@dataclass(kw_only=True)
class ParquetText(RecordFiles):
    """A column of texts."""

    suffixes: ClassVar[tuple[str, ...]] = (".parquet",)

    def records(self, path: Path) -> Records:
        return parquet_rows(path, self.field)


def parquet_rows(path: Path, field: str) -> Records:
    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            if field not in file.schema_arrow.names:
                raise InputError(f"{path}: {_lacks(field, file.schema_arrow.names)}.")
            for batch in file.iter_batches(AT_ONCE, columns=[field]):
                for value in _values(batch.column(0)):
                    number += 1
                    yield f"row {number:,}", {field: value}
    except (pa.ArrowException, OSError) as error:
        reason = (str(error).splitlines() or ["it is damaged"])[0].rstrip(".")
        raise InputError(f"{path} can't be read: {reason}.") from error


def _values(column: pa.Array) -> list[Any]:
    """A text that isn't in UTF-8 comes with its faults as surrogates."""
    try:
        return column.to_pylist()
    except UnicodeDecodeError:
        contents = column.cast(pa.binary()).to_pylist()
        return [None if content is None else content.decode(errors="surrogateescape") for content in contents]
