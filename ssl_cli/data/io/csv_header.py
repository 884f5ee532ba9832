"""How a CSV begins: blank lines, the names of its columns or none; and what the fields of a record are."""

import csv
from collections import Counter
from pathlib import Path

from ssl_cli.data.io.arrow import FileLayout
from ssl_cli.data.io.chunks import Types, refuse_missing
from ssl_cli.errors import InputError

LONGEST_RECORD = 1 << 17  # bytes: what a quoted field over several lines may take before its quote counts as a slip


def may_go_on(line: bytes, delimiter: str) -> bool:
    """Whether a quote that begins a field may be left open. One amid a field is a letter like any other."""
    opens = line.startswith(b'"') or delimiter.encode() + b'"' in line
    return opens and bool(line.count(b'"') % 2)


def fields_of(text: str, delimiter: str, strict: bool = False) -> list[str]:
    return next(csv.reader([text], delimiter=delimiter, strict=strict)) if '"' in text else text.split(delimiter)


def read_header(
    path: Path, block: bytes, wanted: Types, layout: FileLayout, delimiter: str
) -> tuple[list[str], bytes, int]:
    """The names of the file's columns, the rest of its first block, and the number of lines before that."""
    block = block.removeprefix(b"\xef\xbb\xbf")
    lines = 0
    while block[:2] == b"\r\n" or block[:1] == b"\n":
        block = block[2:] if block[:1] == b"\r" else block[1:]
        lines += 1
    if b"\n" not in block and block.count(b"\r") > 1:
        raise InputError(f"{path} ends its lines with carriage returns alone: save it with line feeds.")
    if not layout.header:
        return _names_without_header(path, block, wanted, layout, delimiter), block, lines
    header, end = b"", 0
    while not header or (may_go_on(header, delimiter) and end < min(len(block), LONGEST_RECORD)):
        # A quoted name may span lines.
        end = 1 + (block.find(b"\n", end) if b"\n" in block[end:] else len(block))
        header = block[:end]
    try:
        fields = fields_of(header.rstrip(b"\r\n").decode(), delimiter)
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not in UTF-8: save it so.") from error
    except csv.Error as error:
        raise InputError(f"{path}: its header can't be read: {error}.") from error
    if len(fields) == 1 and len(wanted) > 1 and (other := next((sign for sign in ";\t|," if sign in fields[0]), None)):
        said = "tab" if other == "\t" else f"'{other}'"
        raise InputError(
            f"{path} has the single column {fields[0][:80]!r}: its fields seem parted by {said}; say delimiter={said}."
        )
    refuse_missing(path, list(wanted), fields)
    return fields, block[end:], lines + header.count(b"\n")


def _names_without_header(path: Path, block: bytes, wanted: Types, layout: FileLayout, delimiter: str) -> list[str]:
    """The training file's columns, with its label or without, whichever are as many as most first rows' fields."""
    first = [line.rstrip("\r").split(delimiter) for line in block[:1_000_000].decode(errors="replace").split("\n")[:50]]
    if set(wanted) <= set(first[0]):
        raise InputError(f"{path} begins with the names of its columns: say header=true.")
    n_fields = Counter(len(fields) for fields in first if fields != [""]).most_common(1)[0][0]
    for names in (layout.columns, layout.unlabelled):
        if len(names) == n_fields:
            return names
    raise InputError(
        f"{path} has {n_fields} fields in its first rows and is read without a header; the training file had "
        f"{len(layout.columns)} ({', '.join(layout.columns[:50])}), or {len(layout.unlabelled)} without its label. "
        "Write it so, or name its columns in a header."
    )
