"""Bytes of text files as UTF-8: UTF-16 (Excel's "Unicode text") is converted, other encodings are named."""

import codecs
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from ssl_cli.data.io.content import SNIFFED_BYTES, content_kind
from ssl_cli.data.io.files import read_blocks_with_progress
from ssl_cli.data.io.remedies import remedy_of_kind
from ssl_cli.errors import InputError

UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
UTF32_MARKS = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
# Which of four bytes in a row are NUL in most characters of English, without a mark.
NUL_PATTERNS: dict[tuple[bool, ...], str] = {
    (False, True, False, True): "UTF-16LE",
    (True, False, True, False): "UTF-16BE",
    (False, True, True, True): "UTF-32LE",
    (True, True, True, False): "UTF-32BE",
}
MIN_UNMARKED_BYTES = 8  # to recognize them
CONVERT = "convert it, for example with iconv -f {} -t UTF-8"

Blocks = Iterator[tuple[bytes, int]]  # each with the number of bytes of the file itself that are read so far


def read_utf8_blocks(path: Path, size: int | None = None) -> Blocks:
    """Yield the decompressed bytes of a text file in blocks, converted from UTF-16 if it begins with that's mark.

    Raises InputError if it cannot be read, is no text but a sound or a picture, is damaged UTF-16, UTF-16 without
    its mark, or in UTF-32.
    """
    blocks = read_blocks_with_progress(path, size)
    start, first = b"", list[tuple[bytes, int]]()
    for block in blocks:
        first.append(block)
        start += block[0]
        if len(start) >= SNIFFED_BYTES:
            break
    if (kind := content_kind(start)) is not None:
        raise InputError(f"{path} is {kind}, not text.{remedy_of_kind(kind)}")
    if start.startswith(UTF32_MARKS):
        raise InputError(f"{path} is in UTF-32, not UTF-8: {CONVERT.format('UTF-32')}.")
    if not start.startswith(UTF16_MARKS):
        if (encoding := unmarked_encoding(start)) is not None:
            raise InputError(f"{path} seems to be in {encoding}, not UTF-8: {CONVERT.format(encoding)}.")
        return chain(first, blocks)
    return _convert(path, chain(first, blocks))


def unmarked_encoding(start: bytes) -> str | None:
    """Return UTF-16LE and the like if a file begins so without its mark, by where its NUL bytes are; None otherwise.

    Each of its bytes is valid UTF-8: it would be read as a text half of whose characters are NUL.
    """
    if len(start) < MIN_UNMARKED_BYTES:
        return None
    return NUL_PATTERNS.get(tuple(start[k::4].count(0) > len(start[k::4]) / 2 for k in range(4)))


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
