"""Bytes of a CSV for Arrow's reader, whatever the file begins with."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ssl_cli.data.io.delimited import declared_delimiter
from ssl_cli.data.io.files import READ_BYTES, read_blocks
from ssl_cli.data.io.lines import ends_in_returns, read_line_blocks
from ssl_cli.data.io.utf8 import UTF16_MARKS, read_utf8_blocks, skip_byte_order_mark
from ssl_cli.errors import InputError


def open_csv(path: Path) -> tuple[Any, str | None]:
    """Return what Arrow's reader of CSV takes, and the delimiter that the file declares (`sep=;`), or None.

    That is the path, which is the fastest; or a stream of UTF-8 if the file is in UTF-16, declares a delimiter, ends
    its lines in carriage returns alone, or is compressed in a way that Arrow does not open by itself.
    """
    start = next(read_blocks(path), b"")
    is_odd = start.startswith(UTF16_MARKS) or ends_in_returns(start) or path.suffix.lower() == ".xz"
    declared = declared_delimiter_of(path)
    if not is_odd and declared is None:
        return path, None
    return io.BufferedReader(_ByteStream(_contents(path, skip_line=declared is not None)), READ_BYTES), declared


def is_beyond_block(error: Exception) -> bool:
    """Return whether Arrow failed because a row is longer than a block that it reads."""
    return "straddling object" in str(error)


def declared_delimiter_of(path: Path) -> str | None:
    """Return the delimiter that the first line of a CSV file declares, or None."""
    start = skip_byte_order_mark(next(read_utf8_blocks(path), (b"", 0))[0])
    lines = start.decode(errors="replace").lstrip("\r\n")[:10].splitlines()
    return declared_delimiter(lines[0]) if lines else None


def _contents(path: Path, skip_line: bool) -> Iterator[bytes]:
    for block in read_line_blocks(path):
        if block.fault:
            raise InputError(f"{path} has {block.fault}: it is not a CSV.")
        content = block.content
        if skip_line:
            content = content.lstrip(b"\n")
            content, skip_line = content[content.find(b"\n") + 1 :], False
        yield content


class _ByteStream(io.RawIOBase):
    """A file to read, made of blocks of bytes."""

    def __init__(self, blocks: Iterator[bytes]):
        self.blocks, self.rest = blocks, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self.rest and (block := next(self.blocks, None)) is not None:
            self.rest = memoryview(block)
        n = min(len(buffer), len(self.rest))
        buffer[:n], self.rest = self.rest[:n], self.rest[n:]
        return n
