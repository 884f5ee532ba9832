"""Records of files with labelled examples: TSV, CSV, JSON lines, a JSON array, Parquet; plain or packed.

Each comes with its place in the file. What can't be read comes as the reason, in words, so that who reads decides.
"""

import csv
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from ssl_cli.data.documents import LINE, Faults, parted, pieces
from ssl_cli.data.text_files import plain_name
from ssl_cli.data.text_records import AT_ONCE, LONGEST_LINE, TAB, QuotedLines, Records, json_lines
from ssl_cli.errors import InputError

TABLES = {".tsv": "\t", ".txt": "\t", ".csv": ","}
JSONS = (".json", ".jsonl", ".ndjson")
PARQUET = ".parquet"
SIGNS = ",;\t"  # what may part the fields of a .csv
Rows = Iterator[tuple[int, list[str]]]  # the line that a row begins in, and its fields


@dataclass(frozen=True)
class Sheet:
    """How TSV and CSV are written; None: as the name's ending says. `columns`: names, where a file has no header."""

    delimiter: str | None = None
    quoting: bool | None = None
    columns: tuple[str, ...] | None = None


def records(path: Path, sheet: Sheet, texts: Collection[str], faults: Faults) -> Records:
    """Place and record of each, in order; `texts`: columns of text, by which a header is known beside `sheet.columns`.

    A field of TSV or CSV is a text. Raises InputError where the file can't be read as what its name says.
    """
    suffix = Path(plain_name(path.name)).suffix
    if suffix in TABLES:
        return _table(path, sheet, suffix, texts, faults)
    if suffix in JSONS:
        return _array(path, faults) if _is_array(path) else json_lines(path, faults)
    if suffix == PARQUET:
        return _parquet(path)
    known = ", ".join([*TABLES, *JSONS, PARQUET])
    raise InputError(f"{path}: its name must end in one of {known} (or then in .gz), which says how it is read.")


# --- TSV, CSV -----------------------------------------------------------------------------------------------


def _table(path: Path, sheet: Sheet, suffix: str, texts: Collection[str], faults: Faults) -> Records:
    lines = parted(pieces(path, faults), LINE, faults, LONGEST_LINE)
    first = next(lines, "")
    sign = "\t" if sheet.delimiter in TAB else sheet.delimiter
    if sign is None:
        sign = max(SIGNS, key=first.count) if suffix == ".csv" else TABLES[suffix]
    is_quoted = suffix == ".csv" if sheet.quoting is None else sheet.quoting
    rows = (_quoted if is_quoted else _plain)(path, chain([first], lines), sign)
    return _named(path, rows, sheet.columns, texts)


def _plain(path: Path, lines: Iterator[str], sign: str) -> Rows:
    """A quote is a letter like any other, as GLUE has it."""
    return ((number, line.split(sign)) for number, line in enumerate(lines, 1) if line)


def _quoted(path: Path, lines: Iterator[str], sign: str) -> Rows:
    """A field in quotes may hold the sign, and line feeds."""
    counted = QuotedLines(lines)
    reader = csv.reader(counted, delimiter=sign)
    start = end = 0
    try:
        for row in reader:
            start, end = end, reader.line_num
            if row:
                yield start + 1, row
    except csv.Error as error:
        raise InputError(f"{path}, line {end + 1:,}: {error}; is there a quote that isn't closed?") from error
    if counted.n_quotes % 2 and end - start > 1:
        raise InputError(
            f"{path}, line {start + 1:,}: a quote is opened there and not closed; where quotes are letters, say "
            "task.quoting=false."
        )


def _named(path: Path, rows: Rows, columns: tuple[str, ...] | None, texts: Collection[str]) -> Records:
    number, first = next(rows, (1, []))
    is_header = columns is None or not set(texts).isdisjoint(first)  # CoLA: only its test file has a header
    names = first if is_header or columns is None else list(columns)
    if twins := [name for name in texts if names.count(name) > 1]:
        raise InputError(f"{path} has {names.count(twins[0])} columns called {twins[0]}: rename all but one.")
    for line, fields in rows if is_header else chain([(number, first)], rows):
        if len(fields) == len(names):
            yield f"line {line:,}", dict(zip(names, fields, strict=True))
        else:
            yield f"line {line:,}", f"it has {len(fields)} field(s) instead of {len(names)} ({', '.join(names)})"


# --- JSON, Parquet ------------------------------------------------------------------------------------------


def _is_array(path: Path) -> bool:
    text = (piece.lstrip() for piece in pieces(path, Faults()))
    return next((piece for piece in text if piece), "").startswith("[")


def _array(path: Path, faults: Faults) -> Records:
    try:
        items = json.loads("".join(pieces(path, faults)))
    except (ValueError, RecursionError) as error:
        place = f", line {error.lineno:,}" if isinstance(error, json.JSONDecodeError) else ""
        raise InputError(f"{path}{place}: it is no JSON ({getattr(error, 'msg', error)}).") from error
    for number, item in enumerate(items, 1):
        yield f"item {number:,}", item if isinstance(item, dict) else "it is no JSON object, {...}"


def _parquet(path: Path) -> Records:
    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(AT_ONCE):
                for record in batch.to_pylist():
                    number += 1
                    yield f"row {number:,}", record
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = (str(error).splitlines() or ["it is damaged"])[0].rstrip(".")
        raise InputError(f"{path} can't be read: {reason}.") from error
