"""Text in a field of records: JSON lines, CSV, Parquet. Records that can't be read are skipped, counted and named."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from ssl_cli.config.choices import did_you_mean
from ssl_cli.config.types import Delimiter
from ssl_cli.data.io.delimited import OPEN_QUOTE, CsvDialect
from ssl_cli.data.io.files import file_versions, list_files
from ssl_cli.data.io.records import JSON, Record, read_records
from ssl_cli.data.io.text import ReadIssues, replace_surrogates
from ssl_cli.data.text.sources import Files, TextSource
from ssl_cli.errors import InputError

Field = Annotated[str, "the field that holds the text: a string, or a list of lines"]


class InvalidRecord(Exception):
    """A record without text; the message is the reason alone."""


@dataclass(kw_only=True)
class RecordFiles(TextSource):
    """Files of records, one field of which is the document. The first suffix is that of the format."""

    suffixes: ClassVar[tuple[str, ...]]

    files: Files
    field: Field

    def records(self, path: Path) -> Iterator[Record]:
        """Return the records of a file."""
        return read_records(path, columns=[self.field], issues=self.issues, suffix=self.suffixes[0])

    def read(self) -> Iterator[str]:
        """Yield the text of each record."""
        for path in list_files(self.files, self.suffixes):
            yield from extract_texts(path, self.records(path), self.field, self.issues)

    def version(self) -> list[object]:
        """Return the field and the versions of the files."""
        return [self.field, *file_versions(list_files(self.files, self.suffixes))]


def extract_texts(path: Path, records: Iterable[Record], field: str, issues: ReadIssues) -> Iterator[str]:
    """Yield the text of each record. Raises InputError if the first has none: then the options don't fit the file.

    An open quote is a typo of its own line, whichever that is.
    """
    is_first = True
    for record in records:
        try:
            text = _text(record.record, field)
        except InvalidRecord as reason:
            if is_first and record.record != OPEN_QUOTE:
                raise InputError(f"{path}, {record.place}: {reason}.") from reason
            issues.add_skipped(f"{path}, {record.place}: {reason}")
        else:
            is_first = False
            yield text if text.isascii() else replace_surrogates(text, f"{path}, {record.place}", issues)


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
    """A JSON object per line, or one list of objects."""

    suffixes: ClassVar[tuple[str, ...]] = JSON


@dataclass(kw_only=True)
class CsvText(RecordFiles):
    """Values separated by commas, or by another character, under a header; a quoted field may span lines."""

    suffixes: ClassVar[tuple[str, ...]] = (".csv", ".tsv")

    delimiter: Annotated[Delimiter, "what separates the fields: one character, or tab"]

    def records(self, path: Path) -> Iterator[Record]:
        """Return the records of a file. Columns beside the field are not checked."""
        dialect = CsvDialect(self.delimiter, quoting=True, text_columns=(self.field,), ragged=True, loose_quotes=True)
        return read_records(path, dialect, issues=self.issues, suffix=self.suffixes[0])

    def version(self) -> list[object]:
        """Return the options and the versions of the files."""
        return [self.delimiter, *super().version()]


@dataclass(kw_only=True)
class ParquetText(RecordFiles):
    """A column of texts in Parquet files."""

    suffixes: ClassVar[tuple[str, ...]] = (".parquet",)
