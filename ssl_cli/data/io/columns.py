"""Conversion of one column's values, as read from a file, to numbers or categories."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ssl_cli.data.io.arrow import NULL_TEXTS
from ssl_cli.errors import InputError

MAX_FINITE = 1e100  # a larger value counts as infinite: its square would overflow
MISSING_CATEGORY = "(missing)"

# What a quantity may be in a file, and the Arrow type as which the texts of a CSV are parsed.
QUANTITIES = {
    "number": pa.float64(),
    "truth": pa.bool_(),
    "date": pa.date32(),
    "time": pa.time64("ns"),
    # Nanoseconds reach from 1678 to 2262 only, and "valid until" is often 9999.
    "moment": pa.timestamp("us"),
    "moment to the ns": pa.timestamp("ns"),
    "moment with zone": pa.timestamp("us", tz="UTC"),
    "moment with zone to the ns": pa.timestamp("ns", tz="UTC"),
}


def quantity_name(dtype: pa.DataType) -> str:
    """Return the key of QUANTITIES for an Arrow type. Texts that stand for numbers are numbers."""
    if pa.types.is_timestamp(dtype):
        return "moment" + " with zone" * (dtype.tz is not None) + " to the ns" * (dtype.unit == "ns")
    special = {"truth": pa.types.is_boolean, "date": pa.types.is_date, "time": pa.types.is_time}
    return next((name for name, test in special.items() if test(dtype)), "number")


def is_number(dtype: pa.DataType) -> bool:
    """Return whether a column of this Arrow type is numeric; dates and times count as seconds."""
    types = pa.types
    quantities = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal, types.is_null)
    times = (types.is_timestamp, types.is_date, types.is_time, types.is_duration)
    return any(test(dtype) for test in (*quantities, *times))


def is_temporal(dtype: pa.DataType) -> bool:
    """Return whether a column of this Arrow type holds dates or times of day; a duration is a number of seconds."""
    return pa.types.is_timestamp(dtype) or pa.types.is_date(dtype) or pa.types.is_time(dtype)


def is_categorical(dtype: pa.DataType) -> bool:
    """Return whether a column of this Arrow type is text, plain or dictionary-encoded."""
    return pa.types.is_string(dtype) or pa.types.is_large_string(dtype) or pa.types.is_dictionary(dtype)


UNITS_PER_S = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def as_numbers(name: str, values: pa.ChunkedArray) -> np.ndarray:
    """Return (N,) float64: NaN for missing values, infinite beyond MAX_FINITE, seconds for dates and times.

    Raises InputError, with the column's `name`, if a value is not a number.
    """
    if is_categorical(values.type):
        values = _parse_numbers(values)
    dtype, scale = values.type, 1.0
    if pa.types.is_date(dtype):
        values, scale = pc.cast(values, pa.date32()), 86_400.0
        values = pc.cast(values, pa.int32())
    elif pa.types.is_timestamp(dtype) or pa.types.is_time(dtype) or pa.types.is_duration(dtype):
        bits = pa.int32() if pa.types.is_time32(dtype) else pa.int64()
        values, scale = pc.cast(values, bits), 1 / UNITS_PER_S[dtype.unit]
    try:
        # Not safe: an integer beyond 2^53 loses its last digits.
        numbers = pc.cast(values, pa.float64(), safe=False).to_numpy(zero_copy_only=False) * scale
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"The column {name} must hold numbers, as it did in training: {reason}.") from error
    return np.where(np.abs(numbers) > MAX_FINITE, np.copysign(np.inf, numbers), numbers)


def _parse_numbers(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Parse texts that stand for numbers or dates; a reader of CSV may leave such columns as text."""
    values = missing_to_null(trimmed(values))
    for dtype in (pa.float64(), pa.timestamp("us")):
        try:
            return pc.cast(values, dtype)
        except pa.ArrowInvalid:
            continue
    return values


def trimmed(texts: Any) -> Any:
    """Return texts, in a plain or chunked array, without the blanks around them, as in `1, 2026-03-28`."""
    return pc.utf8_trim(texts, " \t")


def missing_to_null(texts: Any) -> Any:
    """Replace the texts that mean a missing value by null, in a plain or chunked array."""
    return pc.if_else(pc.is_in(texts, pa.array(NULL_TEXTS, texts.type)), pa.scalar(None, texts.type), texts)


def as_categories(values: pa.ChunkedArray) -> pa.Array:
    """Return (N,) texts, with MISSING_CATEGORY for missing values.

    Texts such as `NA` are missing, in a file of any kind. A number, a date or a time has one text, whatever its width
    or unit: 1.50 is `1.5`, and midnight is the day.
    """
    dtype = values.type
    if pa.types.is_dictionary(dtype):
        values = pc.cast(values, dtype.value_type)
    elif pa.types.is_decimal(dtype) and dtype.scale > 0:
        values = pc.cast(pc.cast(values, pa.string()), pa.float64())  # directly it isn't exact: 0.29000000000000004
    elif is_temporal(dtype):
        values = _moments_as_texts(values)
    texts = pc.cast(values, pa.string())
    if is_categorical(dtype):
        texts = missing_to_null(texts)
    texts = pc.fill_null(texts, MISSING_CATEGORY)
    return texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts


def _moments_as_texts(values: pa.ChunkedArray) -> pa.ChunkedArray:
    zone = "UTC" if pa.types.is_timestamp(values.type) and values.type.tz else None
    unit = pa.time64("us") if pa.types.is_time(values.type) else pa.timestamp("us", zone)
    texts = pc.cast(pc.cast(values, unit, safe=False), pa.string())
    return pc.replace_substring_regex(texts, r"( 00:00:00)?\.0+Z?$", "")


def as_categories_of(texts: list[str], dtype: pa.DataType) -> list[str]:
    """Return what `as_categories` makes of texts once they are values of a type: of `5.0`, `5` as a whole number.

    A text that is no such value stays as it is.
    """
    wanted = (dtype, pa.float64()) if pa.types.is_integer(dtype) or pa.types.is_decimal(dtype) else (dtype,)
    return [_as_category_of(text, wanted) for text in texts]


def _as_category_of(text: str, wanted: tuple[pa.DataType, ...]) -> str:
    for dtype in wanted:
        try:
            return str(as_categories(pc.cast(pa.array([text.strip()]), dtype))[0])
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            continue
    return text
