"""Names of the columns of a CSV that is streamed: from its header, or from the training file."""

from collections import Counter
from itertools import islice
from pathlib import Path

from ssl_cli.data.io.arrow import FileLayout
from ssl_cli.data.io.chunks import check_columns
from ssl_cli.data.io.delimited import check_delimiter, column_names, row_fault, split_rows
from ssl_cli.errors import InputError


def read_header(
    path: Path, block: bytes, wanted: list[str], layout: FileLayout, delimiter: str, number: int = 0
) -> tuple[list[str], int]:
    """Return the names of a file's columns, and the number of bytes of its first block before the first row.

    `number`: lines of the file before the block. Raises InputError if the header cannot be read or lacks a wanted
    column.
    """
    if not layout.header:
        return _names_without_header(path, block, wanted, layout, delimiter), 0
    first, end = None, 0
    while first is None:  # a quoted name may span lines
        end = end_of_line(block, 2 * end)
        start = block[:end].decode(errors="surrogateescape")
        first = next(split_rows(start, delimiter, is_last=end == len(block)), None)
    empty_lines, header, _, text = first
    if fault := row_fault(first, header, range(len(header))):
        raise InputError(f"{path}, line {number + empty_lines + 1:,}: its header can't be read: {fault}.")
    names = column_names(header)
    if len(wanted) > 1:
        check_delimiter(path, names, "delimiter")
    check_columns(path, wanted, names)
    end = 0
    for _ in range(empty_lines + text.count("\n") + 1):
        end = end_of_line(block, end)
    return names, end


def end_of_line(block: bytes, start: int) -> int:
    """Return where the line ends that a position is in."""
    return block.find(b"\n", start) + 1 or len(block)


def _names_without_header(
    path: Path, block: bytes, wanted: list[str], layout: FileLayout, delimiter: str
) -> list[str]:
    """Return the training file's columns, with or without the label, to match the field count of most first rows."""
    lines = block[:1_000_000].decode(errors="replace").split("\n")
    filled = (line.rstrip("\r") for line in lines if line.rstrip("\r"))
    first = [line.split(delimiter) for line in islice(filled, 50)]
    if set(wanted) <= set(first[0]):
        raise InputError(f"{path} begins with the names of its columns: set header=true.")
    n_fields = Counter(len(fields) for fields in first).most_common(1)[0][0]
    for names in (layout.columns, layout.unlabelled):
        if len(names) == n_fields:
            return names
    raise InputError(
        f"{path} has {n_fields} fields in its first rows and is read without a header; the training file had "
        f"{len(layout.columns)} ({', '.join(layout.columns[:50])}), or {len(layout.unlabelled)} without its label. "
        "Use the same columns, or add a header."
    )
