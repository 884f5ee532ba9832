"""Text in a field of records: JSON lines, CSV, Parquet. Records that can't be read are skipped, counted and named."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pyarrow as pa
import pyarrow.parquet

from ssl_cli.config.choices import did_you_mean
from ssl_cli.config.types import Delimiter
from ssl_cli.data.io.files import file_versions, list_files
from ssl_cli.data.io.json_lines import MAX_LINE_CHARS, SUFFIXES, Records, read_json_lines
from ssl_cli.data.io.text import LINE, ReadIssues, read_text, replace_surrogates, split_text
from ssl_cli.data.text.sources import Files, TextSource
from ssl_cli.errors import InputError

PARQUET_BATCH_ROWS = 256
TAB = ("tab", "\\t")
csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE_CHARS))

Field = Annotated[str, "the field that holds the text: a string, or a list of lines"]


class InvalidRecord(Exception):
    """A record without text; the message is the reason alone."""


@dataclass(kw_only=True)
class RecordFiles(TextSource):
    """Files of records, one field of which is the document."""

    suffixes: ClassVar[tuple[str, ...]]

    files: Files
    field: Field

    def records(self, path: Path) -> Records:
        """Return the records of a file."""
        raise NotImplementedError(f"{type(self).__name__} does not define records")

    def read(self) -> Iterator[str]:
        """Yield the text of each record."""
        for path in list_files(self.files, self.suffixes):
            yield from extract_texts(str(path), self.records(path), self.field, self.issues)

    def version(self) -> list[object]:
        """Return the field and the versions of the files."""
        return [self.field, *file_versions(list_files(self.files, self.suffixes))]


def extract_texts(source: str, records: Records, field: str, issues: ReadIssues) -> Iterator[str]:
    """Yield the text of each record. Raises InputError if the first has none: then the options don't fit the file."""
    is_first = True
    for place, record in records:
        try:
            text = _text(record, field)
        except InvalidRecord as reason:
            if is_first:
                raise InputError(f"{source}, {place}: {reason}.") from reason
            issues.add_skipped(f"{source}, {place}: {reason}")
        else:
            is_first = False
            yield replace_surrogates(text, f"{source}, {place}", issues)


def _text(record: dict[str, Any] | str, field: str) -> str:
    if isinstance(record, str):
        raise InvalidRecord(record)
    if field not in record:
        raise InvalidRecord(_missing_field(field, list(record)))
    value = record[field]
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    raise InvalidRecord(
        f"the field {field} holds {json.dumps(value, default=str)[:50]}, which is neither text nor a list of lines"
    )


def _missing_field(field: str, names: list[str]) -> str:
    known = ", ".join(names[:20]) or "none"
    return f"there is no field {field}, only {known}.{did_you_mean(field, names)}".rstrip(".?")


@dataclass(kw_only=True)
class JsonLines(RecordFiles):
    """A JSON object per line."""

    suffixes: ClassVar[tuple[str, ...]] = SUFFIXES

    def records(self, path: Path) -> Records:
        """Return the objects of a file."""
        return read_json_lines(path, self.issues)


@dataclass
class QuotedLines:
    """Lines in the form that `csv` reads, with a count of their quotes."""

    lines: Iterator[str]
    n_quotes: int = 0

    def __iter__(self) -> Iterator[str]:
        for line in self.lines:
            self.n_quotes += line.count('"')
            yield f"{line}\n"


@dataclass(kw_only=True)
class CsvText(RecordFiles):
    """Values separated by commas, or by another character, under a header; a quoted field may span lines."""

    suffixes: ClassVar[tuple[str, ...]] = (".csv", ".tsv")

    delimiter: Annotated[Delimiter, "what separates the fields: one character, or tab"]

    def records(self, path: Path) -> Records:
        """Yield the records of a file. Raises InputError if its header or its quotes are wrong."""
        lines = QuotedLines(split_text(read_text(path, self.issues), LINE, self.issues, MAX_LINE_CHARS))
        reader = csv.reader(lines, delimiter="\t" if self.delimiter in TAB else self.delimiter)
        start = end = 0
        try:
            names = next(reader, [])
            self._check_delimiter(path, names)
            self._check_unique_field(path, names)
            end = reader.line_num
            for row in reader:
                start, end = end, reader.line_num
                if row:
                    yield f"line {start + 1:,}", dict(zip(names, row, strict=False))
        except csv.Error as error:
            raise InputError(f"{path}, line {end + 1:,}: {error}; is there a quote that isn't closed?") from error
        if lines.n_quotes % 2 and end - start > 1:
            raise InputError(f"{path}, line {start + 1:,}: a quote is opened there and not closed.")

    def _check_unique_field(self, path: Path, names: list[str]) -> None:
        if names.count(self.field) > 1:
            raise InputError(f"{path} has {names.count(self.field)} columns called {self.field}: rename all but one.")

    def _check_delimiter(self, path: Path, names: list[str]) -> None:
        other = next((sign for sign in ";\t|," if sign in names[0]), None) if len(names) == 1 else None
        if other and self.field not in names:
            shown = "tab" if other == "\t" else f"'{other}'"
            raise InputError(f"{path}: its fields seem to be separated by {shown}; set data.delimiter={shown}.")

    def version(self) -> list[object]:
        """Return the options and the versions of the files."""
        return [self.delimiter, *super().version()]


@dataclass(kw_only=True)
class ParquetText(RecordFiles):
    """A column of texts in Parquet files."""

    suffixes: ClassVar[tuple[str, ...]] = (".parquet",)

    def records(self, path: Path) -> Records:
        """Return the rows of a file, the text column alone."""
        return parquet_rows(path, self.field)


def parquet_rows(path: Path, field: str) -> Records:
    """Yield the rows of one column. Raises InputError if the file can't be read or lacks the column."""
    row = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            if field not in file.schema_arrow.names:
                raise InputError(f"{path}: {_missing_field(field, file.schema_arrow.names)}.")
            for batch in file.iter_batches(PARQUET_BATCH_ROWS, columns=[field]):
                for value in _to_python(batch.column(0)):
                    row += 1
                    yield f"row {row:,}", {field: value}
    except (pa.ArrowException, OSError) as error:
        reason = (str(error).splitlines() or ["it is damaged"])[0].rstrip(".")
        raise InputError(f"{path} can't be read: {reason}.") from error


def _to_python(column: pa.Array) -> list[Any]:
    """Return the values of a column; bytes that are not UTF-8 become surrogates."""
    try:
        return column.to_pylist()
    except UnicodeDecodeError:
        contents = column.cast(pa.binary()).to_pylist()
        return [None if content is None else content.decode(errors="surrogateescape") for content in contents]
