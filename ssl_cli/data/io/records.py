"""A file of records of any size, one by one: lines of text, CSV, TSV, JSON, Parquet; plain or packed.

What can't be read comes as the reason, with its place, so that who reads decides; and what follows it is read on: an
open quote ends with its line, and a byte that is no UTF-8 spoils its line alone.
"""

import codecs
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from ssl_cli.data.io.delimited import CsvDialect, Found, Lines, refuse_twins, table
from ssl_cli.data.io.files import blocks, plain_name
from ssl_cli.data.io.text import CONVERT, NOT_TEXT
from ssl_cli.errors import InputError

LONGEST_LINE = 1 << 24  # bytes; of a longer one the rest is skipped
AT_ONCE = 256  # records of a Parquet file
TOO_LONG = f"a line of more than {LONGEST_LINE >> 20} MB"
PARQUET, TEXT = ".parquet", ".txt"
JSON_LINES = (".jsonl", ".ndjson")
SUFFIXES = (".csv", ".tsv", *JSON_LINES, ".json", PARQUET, TEXT)

# Records of a JSON document; None where it is a plain list of them.
Unpack = Callable[[Path, Any], Iterator[dict[str, Any]] | None]


@dataclass(frozen=True)
class Record:
    """`record`, or where it can't be read the reason; `row` counts from 0, `line` from 1."""

    row: int
    line: int | None
    record: dict[str, Any] | str
    raw: str | None = None

    @property
    def place(self) -> str:
        return f"record {self.row + 1:,}" if self.line is None else f"line {self.line:,}"

    @property
    def text(self) -> str:
        """As it stands there; what is no line of its own as JSON."""
        return json.dumps(self.record, ensure_ascii=False, default=str) if self.raw is None else self.raw


def read_records(
    path: Path, sheet: CsvDialect | None = None, is_table: bool = False, unpack: Unpack | None = None
) -> Iterator[Record]:
    """All records of a file. A line of a .txt is one with a `text`, but where the file begins as a table as the sheet
    has them, or `is_table`. `unpack` yields the records of a JSON document that is no list of them.

    Raises InputError where the file can't be read at all."""
    found = _found(path, sheet or CsvDialect(), is_table, unpack)
    return (Record(row, line, record, raw) for row, (line, record, raw) in enumerate(found))


def suffix_of(path: Path) -> str:
    """Raises InputError for a name that doesn't say how the file is read."""
    suffix = Path(plain_name(path.name)).suffix
    if suffix not in SUFFIXES:
        raise InputError(
            f"{path}: its name must end in one of {', '.join(SUFFIXES)} (or then in .gz), which says how it is read."
        )
    return suffix


def _found(path: Path, sheet: CsvDialect, is_table: bool, unpack: Unpack | None) -> Found:
    suffix = suffix_of(path)
    if suffix == PARQUET:
        return _parquet(path)
    if suffix in (*JSON_LINES, ".json"):
        return _json(path, unpack) if _is_whole(path, suffix) else _json_lines(path)
    if suffix == TEXT and not (is_table or sheet.begins(_first(path))):
        return ((number, fault or {"text": text}, text) for number, text, fault in _filled(path))
    return table(path, lines(path), sheet, suffix)


# --- lines --------------------------------------------------------------------------------------------------


def lines(path: Path) -> Lines:
    """All of a file's lines, those of a .txt and a table. Raises InputError where it is no text at all."""
    for number, raw in enumerate(_parted(path), 1):
        if number == 1:
            if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                raise InputError(f"{path} {NOT_TEXT}: it begins as UTF-16 does; {CONVERT.format('UTF-16')}.")
            raw = raw.removeprefix(codecs.BOM_UTF8)
        try:
            text, fault = raw.removesuffix(b"\r").decode(), TOO_LONG if len(raw) > LONGEST_LINE else ""
        except UnicodeDecodeError:
            text, fault = raw.decode(errors="replace"), "it holds bytes that are no UTF-8 text"
        yield number, text, fault


def _parted(path: Path) -> Iterator[bytes]:
    """Lines; of one that is too long its beginning."""
    rest = b""
    for block in blocks(path):
        *whole, rest = (rest + block).split(b"\n")
        yield from whole
        rest = rest[: LONGEST_LINE + 1]
    yield rest


def _filled(path: Path) -> Lines:
    """Those that aren't blank"""
    return (line for line in lines(path) if line[1].strip())


def _first(path: Path) -> str:
    return next(_filled(path), (0, "", ""))[1]


# --- JSON, Parquet ------------------------------------------------------------------------------------------


def _is_whole(path: Path, suffix: str) -> bool:
    """Whether it is a list of records, or SQuAD's articles, and not a record a line."""
    first = _first(path)
    if suffix in JSON_LINES:
        return first.lstrip().startswith("[")
    record = _object(first)
    return isinstance(record, str) or isinstance(record.get("data"), list)


def _json_lines(path: Path) -> Found:
    for number, text, fault in _filled(path):
        yield number, fault or _object(text), text


def _object(text: str) -> dict[str, Any] | str:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        return f"it is no JSON ({getattr(error, 'msg', error)})"
    return record if isinstance(record, dict) else "it is no JSON object: each line must be one, {...}"


def _json(path: Path, unpack: Unpack | None) -> Found:
    try:
        content = json.loads(b"".join(blocks(path)))
    except (ValueError, RecursionError) as error:
        place = f", line {error.lineno:,}" if isinstance(error, json.JSONDecodeError) else ""
        raise InputError(f"{path}{place}: it is no JSON ({getattr(error, 'msg', error)}).") from error
    if isinstance(content, dict) and (unpack is None or not isinstance(content.get("data"), list)):
        raise InputError(f"{path} is no list of records{', nor one of articles' if unpack else ''}.")
    if unpack is not None and (unpacked := unpack(path, content)) is not None:
        yield from ((None, record, None) for record in unpacked)
        return
    for item in content if isinstance(content, list) else [content]:
        is_object = isinstance(item, dict)
        yield None, item if is_object else "it is no JSON object, {...}", None if is_object else json.dumps(item)


def _parquet(path: Path) -> Found:
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            refuse_twins(path, file.schema_arrow.names)
            for batch in file.iter_batches(AT_ONCE):
                for record in batch.to_pylist():
                    yield None, record, None
    except InputError:
        raise
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:  # a date may be none of Python's
        reason = (str(error).splitlines() or ["it is damaged"])[0].rstrip(".")
        raise InputError(f"{path} can't be read: {reason}.") from error
