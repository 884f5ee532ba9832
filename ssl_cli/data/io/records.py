"""Streaming of records from a file of any size: text lines, CSV, TSV, JSON or Parquet; plain or compressed.

The one reader of records, for text corpora and labelled tasks. A record that cannot be read comes as the reason, with
its place, so that the caller decides. Reading continues after it: an open quote ends with its line, and a byte that is
not UTF-8 spoils only its own line, or with `issues` is replaced and counted.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet

from ssl_cli.data.io.content import check_is_table
from ssl_cli.data.io.delimited import CsvDialect, RawRecords, check_unique_columns, parse_table
from ssl_cli.data.io.files import read_blocks, uncompressed_name
from ssl_cli.data.io.lines import filled_lines, read_first_line, read_text_blocks
from ssl_cli.data.io.text import ReadIssues
from ssl_cli.errors import InputError

PARQUET_BATCH = 256  # records of a Parquet file
PARQUET, TEXT = ".parquet", ".txt"
JSON_LINES = (".jsonl", ".ndjson")
JSON = (*JSON_LINES, ".json")
SUFFIXES = (".csv", ".tsv", *JSON, PARQUET, TEXT)

# The place of each record in its file, and its fields; or the reason why it cannot be read.
Records = Iterable[tuple[str, dict[str, Any] | str]]
# The records of a JSON document, or None if it is a plain list of records.
Unpack = Callable[[Path, Any], Iterator[dict[str, Any]] | None]


class Record(NamedTuple):
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
    path: Path,
    dialect: CsvDialect | None = None,
    is_table: bool = False,
    unpack: Unpack | None = None,
    columns: list[str] | None = None,
    issues: ReadIssues | None = None,
    suffix: str | None = None,
) -> Iterator[Record]:
    """Yield all records of a file.

    A line of a .txt is a record with the field `text`, unless `is_table` or the file begins like a table of the
    `dialect`. `unpack` yields the records of a JSON document that is not a list of them. `columns`: those to read of a
    Parquet file. With `issues`, as for a text, invalid UTF-8 is replaced and counted, and each carriage return ends a
    line. `suffix`: that of the format, if the name does not decide. Raises InputError if the file can't be read at all.
    """
    suffix = suffix or suffix_of(path)
    raw_records: RawRecords
    if suffix == PARQUET:
        raw_records = _read_parquet(path, columns)
    elif suffix in JSON:
        is_document = _is_json_document(path, suffix, unpack is not None)
        raw_records = _read_json(path, unpack) if is_document else _read_json_lines(path, issues)
    elif suffix == TEXT and not is_table and not (dialect and dialect.matches_first_line(read_first_line(path))):
        lines = filled_lines(path, issues)
        raw_records = ((number, error or {"text": text}, text) for number, text, error in lines)
    else:
        raw_records = parse_table(path, read_text_blocks(path, issues), dialect or CsvDialect(), suffix)
    return (Record(row, line, record, raw) for row, (line, record, raw) in enumerate(raw_records))


def suffix_of(path: Path) -> str:
    """Return the suffix that decides the file's format. Raises InputError if it is not one of SUFFIXES."""
    suffix = Path(uncompressed_name(path.name)).suffix
    if suffix not in SUFFIXES:
        raise InputError(
            f"{path}: its name must end in one of {', '.join(SUFFIXES)} (optionally with .gz): it decides the format."
        )
    return suffix


# --- JSON ---------------------------------------------------------------------------------------------------


def _is_json_document(path: Path, suffix: str, has_articles: bool) -> bool:
    """Return whether a file is one list of records, or SQuAD's articles, and not one record per line."""
    first = read_first_line(path)
    if suffix in JSON_LINES:
        return first.lstrip().startswith("[")
    record = _parse_object(first)
    return isinstance(record, str) or (has_articles and isinstance(record.get("data"), list))


def _read_json_lines(path: Path, issues: ReadIssues | None) -> RawRecords:
    for number, text, error in filled_lines(path, issues):
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


# --- Parquet ------------------------------------------------------------------------------------------------


def _read_parquet(path: Path, wanted: list[str] | None) -> RawRecords:
    """Yield the rows of a file, all columns or some. Columns that it lacks are left out."""
    check_is_table(path)
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            wanted = names if wanted is None else [name for name in wanted if name in names]
            check_unique_columns(path, wanted, names)
            for batch in file.iter_batches(PARQUET_BATCH, columns=wanted or None):
                columns, names = [_to_python(column) for column in batch.columns], batch.schema.names
                for record in map(dict, map(zip, repeat(names), zip(*columns, strict=True))):
                    yield None, record, None
    except InputError:
        raise
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:  # a date may be outside Python's range
        reason = (str(error).splitlines() or ["it is damaged"])[0].rstrip(".")
        raise InputError(f"{path} can't be read: {reason}.") from error


def _to_python(column: pa.Array) -> list[Any]:
    """Return the values of a column; bytes of a text that are not UTF-8 become surrogates."""
    try:
        return column.to_pylist()
    except UnicodeDecodeError:
        if pa.types.is_nested(column.type):
            raise
        contents = column.cast(pa.binary()).to_pylist()
        return [None if content is None else content.decode(errors="surrogateescape") for content in contents]
