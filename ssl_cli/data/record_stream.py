"""A file of records of any size, one by one: lines of text, CSV, TSV, JSON, Parquet; plain or packed.

What can't be read comes as the reason, with its place, and what follows it is read on: an open quote ends with its
line, and a byte that is no UTF-8 spoils its line alone.
"""

import csv
import json
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from ssl_cli.data.csv_stream import LONGEST_RECORD, OPEN_QUOTE
from ssl_cli.data.text_files import blocks, plain_name
from ssl_cli.errors import InputError

LONGEST_LINE = 1 << 24  # bytes; of a longer one the rest is skipped
AT_ONCE = 256  # records of a Parquet file
SIGNS = ",;\t"  # what may part the fields of a .csv
TOO_LONG = f"a line of more than {LONGEST_LINE >> 20} MB"
SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".txt")


@dataclass(frozen=True)
class Entry:
    """`record`, or where it can't be read the reason; `row` counts from 0, `line` from 1; `text` as it stands there."""

    row: int
    line: int | None
    record: dict[str, Any] | str
    text: str


Found = Iterator[tuple[int | None, dict[str, Any] | str, str]]  # line, record or reason, text
Lines = Iterator[tuple[int, str, str]]  # number, text, and what is wrong with it


def entries(path: Path) -> Iterator[Entry]:
    """All records of a file; a line of a .txt is one with a `text`. Raises InputError where it can't be read at all."""
    for row, (line, record, text) in enumerate(reader_of(path)(path)):
        yield Entry(row, line, record, text)


def reader_of(path: Path) -> Callable[[Path], Found]:
    """Raises InputError for a name that doesn't say how the file is read."""
    readers: dict[str, Callable[[Path], Found]] = {
        **dict.fromkeys((".csv", ".tsv"), _table),
        **dict.fromkeys((".jsonl", ".ndjson"), _json_lines),
        **{".json": _json, ".parquet": _parquet, ".txt": _texts},
    }
    suffix = Path(plain_name(path.name)).suffix
    if suffix not in readers:
        raise InputError(
            f"{path}: its name must end in one of {', '.join(SUFFIXES)} (or then in .gz), which says how it is read."
        )
    return readers[suffix]


# --- lines --------------------------------------------------------------------------------------------------


def _lines(path: Path) -> Lines:
    for number, raw in enumerate(_parted(path), 1):
        raw = raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw
        try:
            text, fault = raw.removesuffix(b"\r").decode(), TOO_LONG if len(raw) > LONGEST_LINE else ""
        except UnicodeDecodeError:
            text, fault = raw.decode(errors="replace"), "it holds bytes that are no UTF-8 text"
        yield number, text, fault


def _filled(path: Path) -> Lines:
    """Those that aren't blank"""
    return (line for line in _lines(path) if line[1].strip())


def _parted(path: Path) -> Iterator[bytes]:
    """Lines; of one that is too long its beginning."""
    rest = b""
    for block in blocks(path):
        *whole, rest = (rest + block).split(b"\n")
        yield from whole
        rest = rest[: LONGEST_LINE + 1]
    yield rest


def _texts(path: Path) -> Found:
    for number, text, fault in _filled(path):
        yield number, fault or {"text": text}, text


def _json_lines(path: Path) -> Found:
    for number, text, fault in _filled(path):
        yield number, fault or _object(text), text


def _object(text: str) -> dict[str, Any] | str:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        return f"it is no JSON ({getattr(error, 'msg', error)})"
    return record if isinstance(record, dict) else "it is no JSON object: each line must be one, {...}"


# --- tables -------------------------------------------------------------------------------------------------


def _table(path: Path) -> Found:
    """Under a header. In a TSV a quote is a letter like any other, as GLUE has it; so is a comma in a single column."""
    lines, is_csv = _lines(path), Path(plain_name(path.name)).suffix == ".csv"
    first = next((line for line in lines if line[1].strip()), None)
    if first is None:
        raise InputError(f"{path} is empty: its first line must name its columns.")
    sign = max(SIGNS, key=first[1].count) if is_csv else "\t"
    rows = (_quoted if is_csv else _plain)(chain([first], lines), sign)
    _, names, fault, _ = next(rows)
    if fault or len(set(names)) < len(names):
        raise InputError(f"{path}: its header can't be read: {fault or 'a column is named twice'}.")
    for number, fields, reason, text in rows:
        if len(names) == 1 and len(fields) > 1:
            fields = [text]
        if not reason and len(fields) != len(names):
            reason = f"it has {len(fields)} field(s) instead of {len(names)} ({', '.join(names)})"
        yield number, reason or dict(zip(names, fields, strict=True)), text


Row = tuple[int, list[str], str, str]  # line, fields, what is wrong, text


def _plain(lines: Lines, sign: str) -> Iterator[Row]:
    return ((number, text.split(sign), fault, text) for number, text, fault in lines if text)


def _quoted(lines: Lines, sign: str) -> Iterator[Row]:
    """A field in quotes may hold the sign, and line feeds. Where it never ends, its quote was a slip."""
    ahead: deque[tuple[int, str, str]] = deque()
    while taken := ahead.popleft() if ahead else next(lines, None):
        number, text, fault = taken
        fields = None if fault else _fields(text, sign)
        if fields is not None or fault:
            if text.strip():
                yield number, fields or [], fault, text
            continue
        whole = _closed(text, ahead, lines)
        fields = _fields(whole, sign)
        if fields is None:
            yield number, [], OPEN_QUOTE, text
            continue
        yield number, fields, "", whole
        for _ in range(whole.count("\n")):
            ahead.popleft()


def _closed(text: str, ahead: deque[tuple[int, str, str]], lines: Lines) -> str:
    """A line, and those after it until there are as many quotes that open as close. They are left in `ahead`."""
    whole, quotes, more = [text], text.count('"'), 0
    size = len(text)
    while quotes % 2 and size < LONGEST_RECORD:
        if more == len(ahead) and (following := next(lines, None)):
            ahead.append(following)
        if more == len(ahead) or ahead[more][2]:
            break
        line = ahead[more][1]
        whole.append(line)
        quotes, size, more = quotes + line.count('"'), size + len(line) + 1, more + 1
    return "\n".join(whole)


def _fields(text: str, sign: str) -> list[str] | None:
    """None where a quote isn't closed, or the record ends before the text does."""
    if '"' not in text:
        return text.split(sign)
    reader = csv.reader([f"{line}\n" for line in text.split("\n")], delimiter=sign, strict=True)
    try:
        fields = next(reader)
    except csv.Error:
        return None
    return fields if reader.line_num == text.count("\n") + 1 else None


# --- JSON as a whole, Parquet -------------------------------------------------------------------------------


def _json(path: Path) -> Found:
    """Lines of objects; or a list of them, or SQuAD's articles: these are read as a whole."""
    _, first, _ = next(_filled(path), (0, "", ""))
    if isinstance(record := _object(first), dict) and "data" not in record:
        yield from _json_lines(path)
        return
    try:
        content = json.loads(b"".join(blocks(path)))
    except (ValueError, RecursionError) as error:
        place = f", line {error.lineno:,}" if isinstance(error, json.JSONDecodeError) else ""
        raise InputError(f"{path}{place}: it is no JSON ({getattr(error, 'msg', error)}).") from error
    if isinstance(content, dict):
        yield from ((None, record, json.dumps(record, ensure_ascii=False)) for record in _questions(path, content))
        return
    for item in content if isinstance(content, list) else [content]:
        text = json.dumps(item, ensure_ascii=False)
        yield None, item if isinstance(item, dict) else "it is no JSON object, {...}", text


def _questions(path: Path, content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Of SQuAD's JSON, each with its passage."""
    try:
        for article in content["data"]:
            for paragraph in article["paragraphs"]:
                for asked in paragraph["qas"]:
                    yield {"id": asked.get("id"), "question": asked["question"], "context": paragraph["context"]}
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is no list of records, nor SQuAD's JSON: it lacks data, paragraphs, qas, question or context."
        ) from error


def _parquet(path: Path) -> Found:
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(AT_ONCE):
                for record in batch.to_pylist():
                    yield None, record, json.dumps(record, ensure_ascii=False, default=str)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = (str(error).splitlines() or ["it is damaged"])[0].rstrip(".")
        raise InputError(f"{path} can't be read: {reason}.") from error
