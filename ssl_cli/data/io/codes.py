"""Columns of a CSV that look like numbers and are codes: a number would lose leading zeros or the last digits."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ssl_cli.data.io.csv_source import open_csv

BLOCK_BYTES = 1 << 24
EXACT = 2**53  # up to here a float64 holds every whole number
LEADING_ZERO = "^0[0-9]+$"
HEXADECIMAL = "^-?0[xX]"  # Arrow reads 0x1F as a whole number where all values of a column are whole
LONG = r"^-?[0-9]{16,}$"


def columns_to_check(path: Path, table: pa.Table, delimiter: str) -> list[str]:
    """Return the numeric columns of a CSV that may be codes: only their texts can say."""
    zeros = _has_leading_zeros(path, delimiter)
    return [
        name
        for name, values in zip(table.column_names, table.columns, strict=True)
        if (zeros and pa.types.is_integer(values.type))
        or (pa.types.is_floating(values.type) and mostly_inexact(values.drop_null().to_numpy()))
    ]


def is_code(texts: pa.ChunkedArray) -> bool:
    """Return whether a column of whole numbers, as texts, has leading zeros, or mostly more digits than a float64.

    Hexadecimal numbers, such as 0x1F, are codes, too.
    """
    texts = pc.utf8_trim(texts.drop_null(), " \t")
    if pc.any(pc.match_substring_regex(texts, HEXADECIMAL)).as_py():
        return True
    if pc.any(pc.match_substring_regex(texts, LEADING_ZERO)).as_py():
        return pc.all(pc.match_substring_regex(texts, "^-?[0-9]+$")).as_py()
    return (pc.mean(pc.match_substring_regex(texts, LONG)).as_py() or 0.0) > 0.5


def mostly_inexact(numbers: np.ndarray) -> bool:
    """Return whether most of the numbers (N,) are whole and beyond 2^53, where a float64 loses digits."""
    whole = np.abs(numbers) >= EXACT  # a float64 beyond it is whole, and 2^53 may have been one more
    return bool(whole.mean() > 0.5) if len(numbers) else False


def _has_leading_zeros(path: Path, delimiter: str) -> bool:
    """Return whether any field of a CSV begins with a zero and another digit, or the x of a hexadecimal number."""
    before = np.frombuffer(f'\n\r" {delimiter}'.encode(), np.uint8)
    starts = np.zeros(256, bool)
    starts[before] = True
    follows = np.zeros(256, bool)
    follows[np.frombuffer(b"0123456789xX", np.uint8)] = True
    return any(
        bool(((raw[1:-1] == ord("0")) & follows[raw[2:]] & starts[raw[:-2]]).any())
        for raw in _overlapping_blocks(path)
    )


def _overlapping_blocks(path: Path) -> Iterator[np.ndarray]:
    """Yield the bytes of a file in blocks; each begins with the last two bytes of the block before."""
    end, (source, _) = b"\n\n", open_csv(path)
    with pa.input_stream(str(path)) if source == path else source as file:
        while block := file.read(BLOCK_BYTES):
            yield np.frombuffer(end + block, np.uint8)
            end = (end + block)[-2:]
