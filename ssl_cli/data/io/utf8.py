"""Bytes of text files as UTF-8: UTF-16 (Excel's "Unicode text") is converted, other encodings are named."""

import codecs
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from ssl_cli.data.io.content import SNIFFED_BYTES, content_kind
from ssl_cli.data.io.files import read_blocks_with_progress
from ssl_cli.errors import InputError

UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
UTF32_MARKS = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
CONVERT = "convert it, for example with iconv -f {} -t UTF-8"

Blocks = Iterator[tuple[bytes, int]]  # each with the number of bytes of the file itself that are read so far


def read_utf8_blocks(path: Path, size: int | None = None) -> Blocks:
    """Yield the decompressed bytes of a text file in blocks, converted from UTF-16 if it begins with that's mark.

    Raises InputError if it cannot be read, is no text but a sound or a picture, is damaged UTF-16, or in UTF-32.
    """
    blocks = read_blocks_with_progress(path, size)
    start, first = b"", list[tuple[bytes, int]]()
    for block in blocks:
        first.append(block)
        start += block[0]
        if len(start) >= SNIFFED_BYTES:
            break
    if (kind := content_kind(start)) is not None:
        raise InputError(f"{path} is {kind}, not text.")
    if start.startswith(UTF32_MARKS):
        raise InputError(f"{path} is in UTF-32, not UTF-8: {CONVERT.format('UTF-32')}.")
    if not start.startswith(UTF16_MARKS):
        return chain(first, blocks)
    return _convert(path, chain(first, blocks))


def _convert(path: Path, blocks: Blocks) -> Blocks:
    decoder = codecs.getincrementaldecoder("utf-16")()
    try:
        for block, n_read in blocks:
            if text := decoder.decode(block):
                yield text.encode(), n_read
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} begins like UTF-16 and then has bytes that are not ({error.reason}): save it as UTF-8."
        ) from error


def skip_byte_order_mark(start: bytes) -> bytes:
    """Return the bytes at a file's beginning without the mark of UTF-8."""
    return start.removeprefix(codecs.BOM_UTF8)
