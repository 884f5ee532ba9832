r"""Lines of a file of any size, plain or compressed: what all readers of records agree on.

A line ends in \n or \r\n; in a file without any \n it ends in \r. A byte order mark is skipped. A line beyond the limit
is cut, so that memory stays bounded.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ssl_cli.data.io.text import ReadIssues, decode_block
from ssl_cli.data.io.utf8 import read_utf8_blocks, skip_byte_order_mark
from ssl_cli.errors import InputError

MAX_LINE_BYTES = 1 << 27  # the rest of a longer line is skipped
MAX_SHOWN = 10_000  # bytes that are kept of a line that is too long
SNIFFED_BYTES = 1 << 20  # at the beginning of a file, to recognize its line ends
LINE_TOO_LONG = "a line of more than {} MB"
NOT_UTF8 = "contains bytes that are not valid UTF-8"
SURROGATE = re.compile("[\udc80-\udcff]")  # what Python's surrogateescape makes of a byte that is not UTF-8

NumberedLines = Iterator[tuple[int, str, str]]  # line number, text, and what is wrong with it


class LineBlock(NamedTuple):
    """Consecutive whole lines of a file; or, if `fault` says so, the beginning of one line that is too long.

    `offset`: where it begins in the decompressed file. `bytes_read`: bytes of the file itself up to its end.
    """

    content: bytes
    offset: int
    fault: str
    bytes_read: int


def read_line_blocks(path: Path, size: int | None = None) -> Iterator[LineBlock]:
    """Yield the blocks of a file that is read `size` bytes at a time."""
    blocks = _group_lines(path, size)
    for first in blocks:
        content = skip_byte_order_mark(first.content)
        yield first._replace(content=content, offset=len(first.content) - len(content))
        break
    yield from blocks


def _group_lines(path: Path, size: int | None) -> Iterator[LineBlock]:
    parts, offset, is_cut, returns = [b""], 0, False, None  # `parts`: of the line that begins at `offset`
    n_bytes = bytes_read = 0  # of the parts, and of the file
    for block, bytes_read in read_utf8_blocks(path, size):
        if returns is None:
            returns = ends_in_returns(block[:SNIFFED_BYTES])
        if returns:
            block = block.replace(b"\r", b"\n")
        if is_cut:  # skip the rest of a line that was too long
            end = block.find(b"\n") + 1
            offset += end or len(block)
            block, is_cut = block[end:], not end
            if is_cut:
                continue
        end = block.rfind(b"\n") + 1
        if end:
            content = b"".join([*parts, memoryview(block)[:end]])
            yield LineBlock(content, offset, "", bytes_read)
            parts, n_bytes, offset = [], 0, offset + len(content)
        parts.append(block[end:])
        n_bytes += len(block) - end
        if n_bytes > MAX_LINE_BYTES:
            yield LineBlock(b"".join(parts)[:MAX_SHOWN], offset, LINE_TOO_LONG.format(MAX_LINE_BYTES >> 20), bytes_read)
            parts, n_bytes, offset, is_cut = [], 0, offset + n_bytes, True
    if n_bytes:
        yield LineBlock(b"".join(parts), offset, "", bytes_read)


def ends_in_returns(start: bytes) -> bool:
    """Return whether the lines of a file end in \\r alone, given its start. A last \\r may belong to \\r\\n."""
    return b"\r" in start[:-1] and b"\n" not in start


class TextBlock(NamedTuple):
    """A LineBlock as text, with \\n at the ends of lines. With `has_bytes` it has surrogates for bytes not in UTF-8."""

    text: str
    fault: str
    has_bytes: bool


def read_text_blocks(path: Path, issues: ReadIssues | None = None) -> Iterator[TextBlock]:
    r"""Yield the blocks of a file as text.

    With `issues`, as for a text, invalid UTF-8 is replaced and counted, and each \r ends a line.
    """
    for content, offset, fault, _ in read_line_blocks(path):
        has_bytes = False
        if issues is not None:
            text = decode_block(content, path, offset, issues)
        else:
            try:
                text = content.decode()
            except UnicodeDecodeError:
                text, has_bytes = content.decode(errors="surrogateescape"), True
        if "\r" in text:
            text = text.replace("\r\n", "\n")
            text = text if issues is None else text.replace("\r", "\n")
        yield TextBlock(text, fault, has_bytes)


def replace_bytes(text: str) -> str:
    """Return a text with U+FFFD in place of the surrogates for bytes that are not UTF-8."""
    return text.encode(errors="surrogateescape").decode(errors="replace")


def decode_lines(path: Path, issues: ReadIssues | None = None) -> NumberedLines:
    """Yield all lines of a file, with their numbers and errors. `issues` are those of `read_text_blocks`."""
    number = 0
    for text, fault, has_bytes in read_text_blocks(path, issues):
        for line in text.removesuffix("\n").split("\n"):
            number += 1
            if has_bytes and SURROGATE.search(line):
                yield number, replace_bytes(line), f"it {NOT_UTF8}"
            else:
                yield number, line, fault


def filled_lines(path: Path, issues: ReadIssues | None = None) -> NumberedLines:
    """Yield the lines of `decode_lines` that are not blank."""
    return (line for line in decode_lines(path, issues) if line[1] and not line[1].isspace())


def read_first_line(path: Path) -> str:
    """Return the first line of a file that is not blank, or an empty text."""
    return next(filled_lines(path), (0, "", ""))[1]


# --- files that a user writes for a verb, with one text per line ----------------------------------------------


def read_lines(option: str, name: str) -> list[str]:
    """Return the lines of a UTF-8 file that are not blank. Raises InputError if it cannot be read, or has none."""
    return list(read_numbered_lines(option, name).values())


def read_numbered_lines(option: str, name: str) -> dict[int, str]:
    """Return the lines of a UTF-8 file that are not blank, by their line numbers, which count from 1.

    Raises InputError if the file cannot be read, or has no such line.
    """
    issues = ReadIssues()
    try:
        filled = {number: text for number, text, _ in filled_lines(Path(name).expanduser(), issues)}
    except InputError as error:
        raise InputError(f"{option}={error}") from error
    if issues.n_invalid:
        raise InputError(f"{option}={name} is not UTF-8 text: {issues.messages()[0]} Convert it.")
    if not filled:
        raise InputError(f"{option}={name} has no text: write one per line.")
    return filled
