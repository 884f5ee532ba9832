"""Chunks of a streamed table file: valid rows, and rejected rows, each with the reason."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ssl_cli.config.choices import did_you_mean
from ssl_cli.data.io.columns import is_categorical, is_temporal, missing_to_null, trimmed
from ssl_cli.data.io.delimited import check_unique_columns
from ssl_cli.data.io.notation import Notation
from ssl_cli.errors import InputError

PARSED_ROWS = 1 << 14  # after which a fault of a column is reported
ColumnTypes = dict[str, pa.DataType | Notation]  # a column in a notation becomes float64


@dataclass(frozen=True)
class RejectedRow:
    """A row that cannot be read: its number (from 0, without blank lines), its line (from 1), the reason, its text."""

    row: int
    line: int | None
    reason: str
    text: str


@dataclass
class Chunk:
    """The valid rows of a part of a file, and its rejected rows.

    `table` has the requested columns, with their types, and `kept` those to copy, as they are in the file: the texts of
    a CSV, the values of a Parquet file. `row` (N,) are the rows' numbers in the file. `bytes_read` counts from the
    file's beginning to the end of the chunk.
    """

    table: pa.Table
    kept: dict[str, Any]  # column -> (N,) values
    row: np.ndarray
    rejects: list[RejectedRow] = field(default_factory=list)
    bytes_read: int = 0


def check_columns(path: Path, wanted: list[str], names: list[str]) -> None:
    """Raise InputError if a wanted column is missing from the names in a file, or occurs more than once."""
    if absent := [name for name in wanted if name not in names]:
        all_absent = len(absent) == len(wanted)
        hint = " If the file has no header, set header=false." if all_absent else did_you_mean(absent[0], names)
        raise InputError(f"{path} lacks the column {', '.join(absent[:10])}; it has {', '.join(names[:20])}.{hint}")
    check_unique_columns(path, wanted, names)


class RowErrors:
    """Which of N rows are valid (`valid`, (N,) bool), and the first reason why each of the others is not."""

    def __init__(self, n_rows: int):
        self.valid = np.ones(n_rows, bool)
        self.reasons: dict[int, str] = {}

    def add(self, row: int, reason: str) -> None:
        """Mark a row as invalid. Only the first reason of a row is kept."""
        self.valid[row] = False
        self.reasons.setdefault(row, reason)

    def sorted_reasons(self) -> list[tuple[int, str]]:
        """Return the invalid rows with their reasons, in order."""
        return sorted(self.reasons.items())


TYPE_NAMES = {
    "double": "number",
    "bool": "truth value",
    "date32[day]": "date",
    "time64[ns]": "time",
    "timestamp[us]": "timestamp",
    "timestamp[ns]": "timestamp",
    "timestamp[us, tz=UTC]": "timestamp with a time zone",
    "timestamp[ns, tz=UTC]": "timestamp with a time zone",
}


def text_type(dtype: pa.DataType | Notation) -> pa.DataType:
    """Return the Arrow type as which a CSV's field is read: numbers in a notation are texts at first."""
    return pa.string() if isinstance(dtype, Notation) else dtype


def parsed_type(dtype: pa.DataType | Notation) -> pa.DataType:
    """Return the Arrow type of a wanted column in a chunk."""
    return pa.float64() if isinstance(dtype, Notation) else dtype


def parse_texts(texts: pa.Array, dtype: pa.DataType | Notation, name: str, errors: RowErrors) -> pa.Array:
    """Convert (N,) texts to values of a type. A text that does not fit becomes null, and its row an error.

    Texts that fail are halved until the faulty ones are found.
    """
    if isinstance(dtype, Notation):
        return _parse_notation(missing_to_null(texts), dtype, name, errors)
    if dtype == pa.string():
        return missing_to_null(texts)
    texts = missing_to_null(trimmed(texts))
    converted: list[pa.Array] = []

    def convert(start: int, end: int) -> None:
        try:
            converted.append(_cast(texts[start:end], dtype))
        except pa.ArrowInvalid:
            if end - start > 1:
                middle = (start + end) // 2
                convert(start, middle)
                convert(middle, end)
                return
            converted.append(pa.nulls(1, dtype))
            value = texts[start].as_py()[:100]
            errors.add(start, f"the column {name} holds {value!r}, which is not a {TYPE_NAMES[str(dtype)]}")

    convert(0, len(texts))
    return pa.concat_arrays(converted)


def parse_column(name: str, values: pa.ChunkedArray, dtype: pa.DataType) -> pa.ChunkedArray:
    """Return a column as a type that it had in training; numbers and dates may have any numeric or date type.

    Raises InputError for a text that is no such value, as a file's row would be rejected.
    """
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if not is_categorical(values.type):
        if is_temporal(values.type) != is_temporal(dtype) and not pa.types.is_null(values.type):
            raise InputError(f"The column {name} holds {values.type}; it must hold {TYPE_NAMES[str(dtype)]}s.")
        return values
    texts, parsed = values.cast(pa.string()).combine_chunks(), list[pa.Array]()
    for start in range(0, len(texts), PARSED_ROWS):
        part = texts[start : start + PARSED_ROWS]
        errors = RowErrors(len(part))
        parsed.append(parse_texts(part, dtype, name, errors))
        for _, reason in errors.sorted_reasons():
            raise InputError(f"{reason[0].upper()}{reason[1:]}, as it was in training.")
    return pa.chunked_array(parsed, dtype)


def _parse_notation(texts: pa.Array, notation: Notation, name: str, errors: RowErrors) -> pa.Array:
    numbers = notation.parse(texts)
    faulty = pc.and_(pc.is_null(numbers), pc.is_valid(texts)).to_numpy(zero_copy_only=False)
    for row in np.flatnonzero(faulty):
        value = texts[row].as_py()[:100]
        errors.add(int(row), f"the column {name} holds {value!r}, which is not a number ({notation})")
    return numbers


def _cast(texts: pa.Array, dtype: pa.DataType) -> pa.Array:
    if pa.types.is_time(dtype):  # Arrow parses a time only as part of a timestamp
        timestamps = pc.binary_join_element_wise(pa.scalar("1970-01-01"), texts, " ")
        return pc.cast(pc.cast(timestamps, pa.timestamp(dtype.unit)), dtype)
    return pc.cast(texts, dtype)
