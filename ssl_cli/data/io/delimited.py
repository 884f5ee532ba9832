"""Lines of a TSV or CSV -> records by the names of its columns. A slip spoils its own line alone."""

import csv
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from ssl_cli.data.io.arrow import TAB
from ssl_cli.data.io.csv_stream import OPEN_QUOTE
from ssl_cli.errors import InputError

LONGEST_RECORD = 1 << 20  # characters: what a quoted field over several lines may take before its quote is a slip
SIGNS = ",;\t"  # what may part the fields of a .csv

Lines = Iterator[tuple[int, str, str]]  # number, text, and what is wrong with it
Found = Iterator[tuple[int | None, dict[str, Any] | str, str | None]]  # line, record or reason, text as it stands there
Row = tuple[int, list[str], str, str]  # line, fields, what is wrong, text


@dataclass(frozen=True)
class CsvDialect:
    """How TSV and CSV are written; None: as the name's ending says. `columns`: names, where a file has no header;
    `texts`: names by which a header is known nevertheless."""

    delimiter: str | None = None
    quoting: bool | None = None
    columns: tuple[str, ...] | None = None
    texts: tuple[str, ...] = ()

    def sign(self, suffix: str, first: str) -> str:
        """What parts the fields, by the first line where nobody says."""
        if self.delimiter is not None:
            return "\t" if self.delimiter in TAB else self.delimiter
        return max(SIGNS, key=first.count) if suffix == ".csv" else "\t"

    def is_quoted(self, suffix: str) -> bool:
        """In a TSV a quote is a letter like any other, as GLUE has it."""
        return suffix == ".csv" if self.quoting is None else self.quoting

    def is_header(self, first: list[str]) -> bool:
        """CoLA: only its test file has one."""
        return self.columns is None or not set(self.texts).isdisjoint(first)

    def begins(self, line: str) -> bool:
        """Whether a file that may be mere text begins as a table of this kind."""
        fields = line.split(self.sign("", line))
        is_known = not set(self.texts).isdisjoint(fields) or len(fields) == len(self.columns or ())
        return len(fields) > 1 and is_known


def table(path: Path, lines: Lines, sheet: CsvDialect, suffix: str) -> Found:
    """A comma in a single column is a letter. Raises InputError where there is no header, or one that can't be read."""
    first = next((line for line in lines if line[1].strip()), None)
    if first is None:
        raise InputError(f"{path} is empty" + (": its first line must name its columns." * (not sheet.columns) or "."))
    if "\r" in first[1] and '"' not in first[1]:
        raise InputError(f"{path} ends its lines with carriage returns alone: save it with line feeds.")
    read = _quoted if sheet.is_quoted(suffix) else _plain
    rows = read(chain([first], lines), sheet.sign(suffix, first[1]))
    begin = next(rows)
    is_header = sheet.is_header(begin[1])
    names = begin[1] if is_header or sheet.columns is None else list(sheet.columns)
    if is_header:
        _refuse_header(path, begin)
    for number, fields, reason, text in rows if is_header else chain([begin], rows):
        if len(names) == 1 and len(fields) > 1:
            fields = [text]
        if not reason and len(fields) != len(names):
            reason = f"it has {len(fields)} field(s) instead of {len(names)} ({', '.join(names)})"
        yield number, reason or dict(zip(names, fields, strict=True)), text


def _refuse_header(path: Path, begin: Row) -> None:
    number, names, fault, _ = begin
    if fault:
        raise InputError(f"{path}, line {number:,}: its header can't be read: {fault}.")
    refuse_twins(path, names)


def refuse_twins(path: Path, names: list[str]) -> None:
    """Raise InputError where two columns have one name."""
    if twins := [name for name in names if name and names.count(name) > 1]:
        raise InputError(f"{path} has {names.count(twins[0])} columns called {twins[0]}: rename all but one.")


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
