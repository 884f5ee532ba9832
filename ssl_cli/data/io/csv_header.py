"""Header of a CSV: leading blank lines, and the names of the columns, or none; splitting of a record into fields."""

import csv
from collections import Counter
from pathlib import Path

from ssl_cli.data.io.arrow import FileLayout
from ssl_cli.data.io.chunks import ColumnTypes, check_columns
from ssl_cli.errors import InputError

MAX_RECORD_BYTES = 1 << 17  # a quoted field over more bytes of several lines counts as a quote that was never closed


def may_continue(line: bytes, delimiter: str) -> bool:
    """Return whether a line may leave a quoted field open. A quote inside a field is an ordinary character."""
    opens = line.startswith(b'"') or delimiter.encode() + b'"' in line
    return opens and bool(line.count(b'"') % 2)


def split_fields(text: str, delimiter: str, strict: bool = False) -> list[str]:
    """Return the fields of a record. `strict`: raise csv.Error unless a quoted field ends where its quote closes."""
    return next(csv.reader([text], delimiter=delimiter, strict=strict)) if '"' in text else text.split(delimiter)


def read_header(
    path: Path, block: bytes, wanted: ColumnTypes, layout: FileLayout, delimiter: str
) -> tuple[list[str], bytes, int]:
    """Return the names of a file's columns, the rest of its first block, and the number of lines before that.

    Raises InputError if the header cannot be read or lacks a wanted column.
    """
    block, n_lines = _skip_blank_lines(block.removeprefix(b"\xef\xbb\xbf"))
    if b"\n" not in block and block.count(b"\r") > 1:
        raise InputError(f"{path} ends its lines with carriage returns alone: save it with line feeds.")
    if not layout.header:
        return _names_without_header(path, block, wanted, layout, delimiter), block, n_lines
    header, end = b"", 0
    while not header or (may_continue(header, delimiter) and end < min(len(block), MAX_RECORD_BYTES)):
        # A quoted name may span lines.
        end = 1 + (block.find(b"\n", end) if b"\n" in block[end:] else len(block))
        header = block[:end]
    fields = _header_fields(path, header.rstrip(b"\r\n"), delimiter, len(wanted))
    check_columns(path, list(wanted), fields)
    return fields, block[end:], n_lines + header.count(b"\n")


def _skip_blank_lines(block: bytes) -> tuple[bytes, int]:
    n_lines = 0
    while block[:2] == b"\r\n" or block[:1] == b"\n":
        block = block[2:] if block[:1] == b"\r" else block[1:]
        n_lines += 1
    return block, n_lines


def _header_fields(path: Path, header: bytes, delimiter: str, n_wanted: int) -> list[str]:
    """Return the names in a header. Raises InputError if it is malformed or has another delimiter."""
    try:
        fields = split_fields(header.decode(), delimiter)
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not in UTF-8: save it as UTF-8.") from error
    except csv.Error as error:
        raise InputError(f"{path}: its header can't be read: {error}.") from error
    if len(fields) == 1 and n_wanted > 1 and (other := next((char for char in ";\t|," if char in fields[0]), None)):
        name = "tab" if other == "\t" else f"'{other}'"
        raise InputError(
            f"{path} has the single column {fields[0][:80]!r}: its fields seem to be separated by {name}; "
            f"set delimiter={name}."
        )
    return fields


def _names_without_header(
    path: Path, block: bytes, wanted: ColumnTypes, layout: FileLayout, delimiter: str
) -> list[str]:
    """Return the training file's columns, with or without the label, to match the field count of most first rows."""
    first = [line.rstrip("\r").split(delimiter) for line in block[:1_000_000].decode(errors="replace").split("\n")[:50]]
    if set(wanted) <= set(first[0]):
        raise InputError(f"{path} begins with the names of its columns: set header=true.")
    n_fields = Counter(len(fields) for fields in first if fields != [""]).most_common(1)[0][0]
    for names in (layout.columns, layout.unlabelled):
        if len(names) == n_fields:
            return names
    raise InputError(
        f"{path} has {n_fields} fields in its first rows and is read without a header; the training file had "
        f"{len(layout.columns)} ({', '.join(layout.columns[:50])}), or {len(layout.unlabelled)} without its label. "
        "Use the same columns, or add a header."
    )
