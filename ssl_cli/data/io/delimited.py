"""Parsing of TSV and CSV lines into records by column name. A malformed line spoils only its own record."""

import csv
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from ssl_cli.data.io.arrow import TAB_NAMES
from ssl_cli.data.io.csv_stream import OPEN_QUOTE
from ssl_cli.errors import InputError

MAX_RECORD_CHARS = 1 << 20  # a quoted field over more characters of several lines counts as a quote never closed
DELIMITERS = ",;\t"  # those that are recognized in a .csv

NumberedLines = Iterator[tuple[int, str, str]]  # line number, text, and what is wrong with it
RawRecords = Iterator[tuple[int | None, dict[str, Any] | str, str | None]]  # line, record or reason, text in the file
Row = tuple[int, list[str], str, str]  # line number, fields, what is wrong, text


@dataclass(frozen=True)
class CsvDialect:
    """Format of TSV and CSV files. `delimiter` and `quoting` of None follow from the file's suffix.

    `columns`: names for a file without a header. `text_columns`: names that identify a header even so.
    """

    delimiter: str | None = None
    quoting: bool | None = None
    columns: tuple[str, ...] | None = None
    text_columns: tuple[str, ...] = ()

    def delimiter_for(self, suffix: str, first: str) -> str:
        """Return the delimiter. If it is not set, the first line decides for a .csv, and all else has tabs."""
        if self.delimiter is not None:
            return "\t" if self.delimiter in TAB_NAMES else self.delimiter
        return max(DELIMITERS, key=first.count) if suffix == ".csv" else "\t"

    def uses_quotes(self, suffix: str) -> bool:
        """Return whether fields may be quoted. In a TSV a quote is an ordinary character by default, as in GLUE."""
        return suffix == ".csv" if self.quoting is None else self.quoting

    def is_header(self, first: list[str]) -> bool:
        """Return whether the first row is a header. With `columns` it still may be, as in CoLA's test file."""
        return self.columns is None or not set(self.text_columns).isdisjoint(first)

    def matches_first_line(self, line: str) -> bool:
        """Return whether a file that may be plain text begins like a table of this dialect."""
        fields = line.split(self.delimiter_for("", line))
        is_known = not set(self.text_columns).isdisjoint(fields) or len(fields) == len(self.columns or ())
        return len(fields) > 1 and is_known


def parse_table(path: Path, lines: NumberedLines, dialect: CsvDialect, suffix: str) -> RawRecords:
    """Yield the records of a table's lines. In a table of one column the delimiter is an ordinary character.

    Raises InputError if the table is empty or its header cannot be read.
    """
    first = next((line for line in lines if line[1].strip()), None)
    if first is None:
        hint = "" if dialect.columns else ": its first line must name its columns"
        raise InputError(f"{path} is empty{hint}.")
    if "\r" in first[1] and '"' not in first[1]:
        raise InputError(f"{path} ends its lines with carriage returns alone: save it with line feeds.")
    split = _split_quoted if dialect.uses_quotes(suffix) else _split_plain
    rows = split(chain([first], lines), dialect.delimiter_for(suffix, first[1]))
    first_row = next(rows)
    is_header = dialect.is_header(first_row[1])
    names = first_row[1] if is_header or dialect.columns is None else list(dialect.columns)
    if is_header:
        _check_header(path, first_row)
    for number, fields, reason, text in rows if is_header else chain([first_row], rows):
        if len(names) == 1 and len(fields) > 1:
            fields = [text]
        if not reason and len(fields) != len(names):
            reason = f"it has {len(fields)} field(s) instead of {len(names)} ({', '.join(names)})"
        yield number, reason or dict(zip(names, fields, strict=True)), text


def _check_header(path: Path, header: Row) -> None:
    number, names, error, _ = header
    if error:
        raise InputError(f"{path}, line {number:,}: its header can't be read: {error}.")
    check_unique_columns(path, names)


def check_unique_columns(path: Path, names: list[str]) -> None:
    """Raise InputError if two columns have the same name."""
    if duplicates := [name for name in names if name and names.count(name) > 1]:
        name = duplicates[0]
        raise InputError(f"{path} has {names.count(name)} columns called {name}: rename all but one.")


def _split_plain(lines: NumberedLines, delimiter: str) -> Iterator[Row]:
    return ((number, text.split(delimiter), error, text) for number, text, error in lines if text)


def _split_quoted(lines: NumberedLines, delimiter: str) -> Iterator[Row]:
    """Yield rows whose quoted fields may hold the delimiter and line feeds. A quote that never closes is a typo."""
    ahead: deque[tuple[int, str, str]] = deque()  # lines that were read in search of a closing quote
    while line := ahead.popleft() if ahead else next(lines, None):
        number, text, error = line
        fields = None if error else _parse_quoted(text, delimiter)
        if fields is not None or error:
            if text.strip():
                yield number, fields or [], error, text
            continue
        record = _read_until_closed(text, ahead, lines)
        fields = _parse_quoted(record, delimiter)
        if fields is None:
            yield number, [], OPEN_QUOTE, text
            continue
        yield number, fields, "", record
        for _ in range(record.count("\n")):
            ahead.popleft()


def _read_until_closed(text: str, ahead: deque[tuple[int, str, str]], lines: NumberedLines) -> str:
    """Join a line with those after it until the number of quotes is even. The added lines are left in `ahead`."""
    record, quotes, n_added = [text], text.count('"'), 0
    size = len(text)
    while quotes % 2 and size < MAX_RECORD_CHARS:
        if n_added == len(ahead) and (following := next(lines, None)):
            ahead.append(following)
        if n_added == len(ahead) or ahead[n_added][2]:
            break
        line = ahead[n_added][1]
        record.append(line)
        quotes, size, n_added = quotes + line.count('"'), size + len(line) + 1, n_added + 1
    return "\n".join(record)


def _parse_quoted(text: str, delimiter: str) -> list[str] | None:
    """Return the fields of a record, or None if a quote is not closed or the record ends before the text does."""
    if '"' not in text:
        return text.split(delimiter)
    reader = csv.reader([f"{line}\n" for line in text.split("\n")], delimiter=delimiter, strict=True)
    try:
        fields = next(reader)
    except csv.Error:
        return None
    return fields if reader.line_num == text.count("\n") + 1 else None
