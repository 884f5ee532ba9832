"""Streaming of records from a file of any size: text lines, CSV, TSV, JSON or Parquet; plain or compressed.

A record that cannot be read comes as the reason, with its place, so that the caller decides. Reading continues after
it: an open quote ends with its line, and a byte that is not UTF-8 spoils only its own line.
"""

import codecs
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from ssl_cli.data.io.delimited import CsvDialect, NumberedLines, RawRecords, check_unique_columns, parse_table
from ssl_cli.data.io.files import read_blocks, uncompressed_name
from ssl_cli.data.io.text import CONVERT, NOT_TEXT
from ssl_cli.errors import InputError

MAX_LINE_BYTES = 1 << 24  # the rest of a longer line is skipped
PARQUET_BATCH = 256  # records of a Parquet file
LINE_TOO_LONG = f"a line of more than {MAX_LINE_BYTES >> 20} MB"
PARQUET, TEXT = ".parquet", ".txt"
JSON_LINES = (".jsonl", ".ndjson")
SUFFIXES = (".csv", ".tsv", *JSON_LINES, ".json", PARQUET, TEXT)

# The records of a JSON document, or None if it is a plain list of records.
Unpack = Callable[[Path, Any], Iterator[dict[str, Any]] | None]


@dataclass(frozen=True)
class Record:
    """A record, or the reason why it cannot be read; `row` counts from 0, `line` from 1. `raw`: its text in the file.

    `line` and `raw` are None for a record that does not stand on lines of its own.
    """

    row: int
    line: int | None
    record: dict[str, Any] | str
    raw: str | None = None

    @property
    def place(self) -> str:
        """The record's place in its file: `line 3`, or `record 3`."""
        return f"record {self.row + 1:,}" if self.line is None else f"line {self.line:,}"

    @property
    def text(self) -> str:
        """The record's text in the file, or as JSON if it has no lines of its own."""
        return json.dumps(self.record, ensure_ascii=False, default=str) if self.raw is None else self.raw


def read_records(
    path: Path, dialect: CsvDialect | None = None, is_table: bool = False, unpack: Unpack | None = None
) -> Iterator[Record]:
    """Yield all records of a file.

    A line of a .txt is a record with the field `text`, unless `is_table` or the file begins like a table of the
    `dialect`. `unpack` yields the records of a JSON document that is not a list of them. Raises InputError if the file
    cannot be read at all.
    """
    raw_records = _raw_records(path, dialect or CsvDialect(), is_table, unpack)
    return (Record(row, line, record, raw) for row, (line, record, raw) in enumerate(raw_records))


def suffix_of(path: Path) -> str:
    """Return the suffix that decides the file's format. Raises InputError if it is not one of SUFFIXES."""
    suffix = Path(uncompressed_name(path.name)).suffix
    if suffix not in SUFFIXES:
        raise InputError(
            f"{path}: its name must end in one of {', '.join(SUFFIXES)} (optionally with .gz): it decides the format."
        )
    return suffix


def _raw_records(path: Path, dialect: CsvDialect, is_table: bool, unpack: Unpack | None) -> RawRecords:
    suffix = suffix_of(path)
    if suffix == PARQUET:
        return _read_parquet(path)
    if suffix in (*JSON_LINES, ".json"):
        return _read_json(path, unpack) if _is_json_document(path, suffix) else _read_json_lines(path)
    if suffix == TEXT and not (is_table or dialect.matches_first_line(_first_line(path))):
        return ((number, error or {"text": text}, text) for number, text, error in _filled_lines(path))
    return parse_table(path, decode_lines(path), dialect, suffix)


# --- lines --------------------------------------------------------------------------------------------------


def decode_lines(path: Path) -> NumberedLines:
    """Yield all lines of a text file or table, with their numbers and errors. Raises InputError if it is not text."""
    for number, raw in enumerate(_split_lines(path), 1):
        if number == 1:
            if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                raise InputError(f"{path} {NOT_TEXT}: it begins like UTF-16; {CONVERT.format('UTF-16')}.")
            raw = raw.removeprefix(codecs.BOM_UTF8)
        try:
            text, error = raw.removesuffix(b"\r").decode(), LINE_TOO_LONG if len(raw) > MAX_LINE_BYTES else ""
        except UnicodeDecodeError:
            text, error = raw.decode(errors="replace"), "it contains bytes that are not valid UTF-8"
        yield number, text, error


def _split_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file; only the beginning of a line that is too long."""
    rest = b""
    for block in read_blocks(path):
        *whole, rest = (rest + block).split(b"\n")
        yield from whole
        rest = rest[: MAX_LINE_BYTES + 1]
    yield rest


def _filled_lines(path: Path) -> NumberedLines:
    return (line for line in decode_lines(path) if line[1].strip())


def _first_line(path: Path) -> str:
    return next(_filled_lines(path), (0, "", ""))[1]


# --- JSON, Parquet ------------------------------------------------------------------------------------------


def _is_json_document(path: Path, suffix: str) -> bool:
    """Return whether a file is one list of records, or SQuAD's articles, and not one record per line."""
    first = _first_line(path)
    if suffix in JSON_LINES:
        return first.lstrip().startswith("[")
    record = _parse_object(first)
    return isinstance(record, str) or isinstance(record.get("data"), list)


def _read_json_lines(path: Path) -> RawRecords:
    for number, text, error in _filled_lines(path):
        yield number, error or _parse_object(text), text


def _parse_object(text: str) -> dict[str, Any] | str:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        return f"it is not JSON ({getattr(error, 'msg', error)})"
    return record if isinstance(record, dict) else "it is not a JSON object: each line must be one, {...}"


def _read_json(path: Path, unpack: Unpack | None) -> RawRecords:
    try:
        content = json.loads(b"".join(read_blocks(path)))
    except (ValueError, RecursionError) as error:
        place = f", line {error.lineno:,}" if isinstance(error, json.JSONDecodeError) else ""
        raise InputError(f"{path}{place}: it is not JSON ({getattr(error, 'msg', error)}).") from error
    if isinstance(content, dict) and (unpack is None or not isinstance(content.get("data"), list)):
        raise InputError(f"{path} is not a list of records{', nor of articles' if unpack else ''}.")
    if unpack is not None and (unpacked := unpack(path, content)) is not None:
        yield from ((None, record, None) for record in unpacked)
        return
    for item in content if isinstance(content, list) else [content]:
        is_object = isinstance(item, dict)
        yield None, item if is_object else "it is not a JSON object, {...}", None if is_object else json.dumps(item)


def _read_parquet(path: Path) -> RawRecords:
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            check_unique_columns(path, file.schema_arrow.names)
            for batch in file.iter_batches(PARQUET_BATCH):
                for record in batch.to_pylist():
                    yield None, record, None
    except InputError:
        raise
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:  # a date may be outside Python's range
        reason = (str(error).splitlines() or ["it is damaged"])[0].rstrip(".")
        raise InputError(f"{path} can't be read: {reason}.") from error
