"""The one parser of CSV and TSV: blocks of text -> rows of fields -> records by column name.

A row that cannot be read comes with the reason, and spoils only itself: an open quote ends with its line.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from ssl_cli.data.io.lines import MAX_LINE_BYTES, NOT_UTF8, SURROGATE, TextBlock, read_first_line, replace_bytes
from ssl_cli.errors import InputError

TAB_NAMES = ("tab", "\\t")
DELIMITERS = ",;\t"  # those that are recognized in a .csv
MAX_RECORD_CHARS = 1 << 25  # a quoted field over more characters of several lines counts as a quote never closed
OPEN_QUOTE = "a quote is opened and not closed"
END = "the end of the file"  # in place of a fault, of a block that ends an open row
CARRIAGE_RETURN = "the line contains a carriage return"
QUOTED = re.compile('"[^"]*"')
DECLARATION = re.compile(r'"?sep=(.)"?', re.IGNORECASE)  # Excel's first line of a CSV, such as sep=;
RETURN_STAND_IN = "\udc0d"  # for \r within a line, which csv takes for a line end; text read from a file has none
csv.field_size_limit(MAX_LINE_BYTES)

RawRecords = Iterator[tuple[int | None, dict[str, Any] | str, str | None]]  # line, record or reason, text in the file
Row = tuple[int, list[str], str, str]  # line, fields, what is wrong, text in the file


@dataclass(frozen=True)
class CsvDialect:
    """Format of TSV and CSV files. `delimiter` and `quoting` of None follow from the file's suffix.

    `columns`: names for a file without a header. `text_columns`: names that identify a header even so.
    `ragged`: a file may be empty, and a row may have fewer or more fields than the header. `loose_quotes`: a field may
    go on after its closing quote.
    """

    delimiter: str | None = None
    quoting: bool | None = None
    columns: tuple[str, ...] | None = None
    text_columns: tuple[str, ...] = ()
    ragged: bool = False
    loose_quotes: bool = False

    def delimiter_for(self, suffix: str, first: str) -> str:
        """Return the delimiter. If it is not set, the first line decides for a .csv, and all else has tabs."""
        if self.delimiter is not None:
            return delimiter_character(self.delimiter)
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


def delimiter_character(name: str) -> str:
    """Return the character that an option names, which may be spelled `tab`."""
    return "\t" if name in TAB_NAMES else name


def declared_delimiter(first_line: str) -> str | None:
    """Return the delimiter that a CSV's first line declares, as Excel's `sep=;` does; None if it is no such line."""
    match = DECLARATION.fullmatch(first_line.rstrip("\r\n"))
    return match and match[1]


def column_names(header: Sequence[str]) -> list[str]:
    """Return the names in a header without blanks around them, as in `amount, ratio`."""
    return [name.strip(" \t") for name in header]


# --- text -> rows -------------------------------------------------------------------------------------------


def split_rows(
    text: str,
    delimiter: str,
    quoted: bool = True,
    loose_quotes: bool = True,
    is_last: bool = True,
    number: int = 0,
    max_lines: int | None = None,
) -> Generator[Row, None, str]:
    r"""Yield the rows of whole lines, without empty lines. Return the rest, which begins with a row that is still open.

    Lines end in \n or \r\n, and the first has the `number`. A quoted field may hold the delimiter and line ends. A
    quote was a typo of its line if it is not closed, in the `is_last` text or within MAX_RECORD_CHARS, or if the field
    goes on after the quote that closes it; but not in the same line with `loose_quotes`. If the text has quotes, the
    rest may also be what comes after the first `max_lines`.
    """
    if not quoted or '"' not in text:
        lines = text.split("\n") if "\r" not in text else [line.removesuffix("\r") for line in text.split("\n")]
        yield from ((k, line.split(delimiter), "", line) for k, line in enumerate(lines, number) if line)
        return ""
    lines = io.StringIO(text, newline="\n").readlines()
    first, limit = 0, len(lines) if max_lines is None else max_lines  # `first`: where the current row begins
    while first < min(limit, len(lines)):
        start = first
        reader = csv.reader(map(lines.__getitem__, range(start, len(lines))), delimiter=delimiter, strict=True)
        try:
            for fields in reader:
                end = start + reader.line_num
                if fields:
                    line = lines[first] if end == first + 1 else "".join(lines[first:end])
                    yield number + first, fields, "", line.rstrip("\r\n")
                first = end
                if first >= limit:
                    break
        except csv.Error as error:
            is_open = "unexpected end" in str(error)
            if is_open and not is_last and sum(map(len, lines[first:])) < MAX_RECORD_CHARS:
                break
            n_lines = start + reader.line_num - first
            fields, fault = [], OPEN_QUOTE
            if "new-line" in str(error) or (loose_quotes and not is_open and n_lines == 1):
                fields, fault = _parse_loosely(lines[first : first + n_lines], delimiter)
            n_lines = 1 if fault else n_lines
            yield number + first, fields, fault, "".join(lines[first : first + n_lines]).rstrip("\r\n")
            first += n_lines
    return "".join(lines[first:])


def _parse_loosely(lines: list[str], delimiter: str) -> tuple[list[str], str]:
    r"""Return the fields of a row, and what is wrong with it.

    A field may go on after its closing quote, and a \r within a line is an ordinary character.
    """
    text = "".join(lines).rstrip("\r\n").replace("\r", RETURN_STAND_IN)
    # The last line is read only by a field that is open.
    reader = csv.reader([*io.StringIO(f"{text}\n", newline="\n"), '"\n'], delimiter=delimiter)
    try:
        fields = next(reader)
    except csv.Error as error:
        return [], str(error)
    if reader.line_num != len(lines):
        return [], OPEN_QUOTE
    return [field.replace(RETURN_STAND_IN, "\r") for field in fields], ""


def field_count_fault(fields: Sequence[str], names: Sequence[str]) -> str:
    """Return what is wrong with a row that has another number of fields than there are columns; or an empty text."""
    n_fields = len(fields)
    return "" if n_fields == len(names) else f"{n_fields} field{'s' * (n_fields != 1)} instead of {len(names)}"


def row_fault(row: Row, names: Sequence[str], wanted: Sequence[int]) -> str:
    r"""Return what is wrong with a row of a table of numbers and categories, or an empty text.

    It may have no \r outside of quotes, and in its wanted columns no bytes that are not UTF-8.
    """
    _, fields, fault, text = row
    if not fault and "\r" in text and "\r" in QUOTED.sub("", text):
        return CARRIAGE_RETURN
    if fault or len(fields) != len(names):
        return fault or field_count_fault(fields, names)
    for index in () if text.isascii() else wanted:
        if SURROGATE.search(fields[index]):
            return f"the column {replace_bytes(names[index])} {NOT_UTF8}"
    return ""


def _rows_of_file(
    blocks: Iterable[TextBlock], delimiter: str, quoted: bool, loose_quotes: bool
) -> Iterator[Row]:
    """Yield the rows of all blocks, with their lines from 1. A quote that a block leaves open waits for the next."""
    buffer, number, n_open, has_bytes = "", 1, 0, False  # `n_open`: length of a row that is open
    for text, fault, block_has_bytes in chain(blocks, [TextBlock("", END, False)]):
        has_bytes = block_has_bytes or (has_bytes and n_open > 0)
        if not fault:
            buffer += text
            if len(buffer) < 2 * n_open:  # so that a long row is not searched again for each block
                continue
        rows = split_rows(buffer, delimiter, quoted, loose_quotes, fault != "", number)
        rest = yield from _reject_bytes(rows) if has_bytes else rows
        number += buffer.count("\n") - rest.count("\n")
        buffer, n_open = rest, len(rest)
        if fault and fault != END:
            yield number, [], fault, text
            number += 1


def _reject_bytes(rows: Generator[Row, None, str]) -> Generator[Row, None, str]:
    rest = ""

    def tracked() -> Iterator[Row]:
        nonlocal rest
        rest = yield from rows

    for number, fields, fault, text in tracked():
        if SURROGATE.search(text):
            yield number, [], f"it {NOT_UTF8}", replace_bytes(text)
        else:
            yield number, fields, fault, text
    return rest


# --- rows -> records ----------------------------------------------------------------------------------------


def parse_table(path: Path, blocks: Iterable[TextBlock], dialect: CsvDialect, suffix: str) -> RawRecords:
    """Yield the records of a table's blocks. In a table of one column the delimiter is an ordinary character.

    Raises InputError if the table is empty or its header cannot be read.
    """
    first_line = read_first_line(path)
    if not first_line:
        if dialect.ragged:
            return
        hint = "" if dialect.columns else ": its first line must name its columns"
        raise InputError(f"{path} is empty{hint}.")
    quoted = dialect.uses_quotes(suffix)
    declared = declared_delimiter(first_line) if quoted else None
    delimiter = declared or dialect.delimiter_for(suffix, first_line)
    rows = _rows_of_file(blocks, delimiter, quoted, dialect.loose_quotes)
    filled = (row for row in rows if not row[3].isspace())
    if declared:
        next(filled)
    if (first := next(filled, None)) is None:
        raise InputError(f"{path} is empty but for its first line, {first_line.strip()}.")
    number, header, fault, _ = first
    is_header = dialect.is_header(names := column_names(header))
    if is_header:
        _check_header(path, number, names, fault, dialect)
    elif dialect.columns is not None:
        names = list(dialect.columns)
    n_names = len(names)
    for number, fields, fault, text in rows if is_header else chain([first], rows):
        if quoted and text.isspace():
            continue
        if n_names == 1 and len(fields) > 1:
            fields = [text]
        if len(fields) != n_names and not dialect.ragged:
            fault = fault or field_count_fault(fields, names)
        yield number, fault or dict(zip(names, fields, strict=False)), text


def _check_header(path: Path, number: int, names: list[str], fault: str, dialect: CsvDialect) -> None:
    if fault:
        raise InputError(f"{path}, line {number:,}: its header can't be read: {fault}.")
    check_unique_columns(path, dialect.text_columns if dialect.ragged else names, names)
    if dialect.ragged and set(names).isdisjoint(dialect.text_columns):
        check_delimiter(path, names, "data.delimiter")


def check_unique_columns(path: Path, wanted: Sequence[str], names: Sequence[str]) -> None:
    """Raise InputError if a wanted column occurs more than once in a file."""
    counts = Counter(names)
    if duplicates := [name for name in dict.fromkeys(wanted) if name and counts[name] > 1]:
        raise InputError(f"{path} has more than one column called {', '.join(duplicates)}: rename them.")


def check_delimiter(path: Path, names: Sequence[str], option: str, signs: str = ";\t|,") -> None:
    """Raise InputError if a single name of a column seems to be several; `option` sets what separates them."""
    if len(names) == 1 and (sign := next((sign for sign in signs if sign in names[0]), None)):
        shown = "tab" if sign == "\t" else f"'{sign}'"
        raise InputError(
            f"{path} has the single column {names[0][:80]!r}: its fields seem to be separated by {shown}; "
            f"set {option}={shown}."
        )
