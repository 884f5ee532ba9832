"""The values of one column, as files have them -> numbers or symbols."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ssl_cli.data.io.arrow import MISSING
from ssl_cli.errors import InputError

BEYOND = 1e100  # as good as infinite: its square would be
MISSING_SYMBOL = "(missing)"

# What a quantity may be in a file, and the Arrow type that a CSV's text is read as.
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


def quantity(kind: pa.DataType) -> str:
    """Which of the QUANTITIES an Arrow type is. Texts that stand for numbers are numbers."""
    if pa.types.is_timestamp(kind):
        return "moment" + " with zone" * (kind.tz is not None) + " to the ns" * (kind.unit == "ns")
    special = {"truth": pa.types.is_boolean, "date": pa.types.is_date, "time": pa.types.is_time}
    return next((name for name, test in special.items() if test(kind)), "number")


def is_number(kind: pa.DataType) -> bool:
    """Whether a column of this Arrow type is a quantity; dates and times count as seconds."""
    types = pa.types
    quantities = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal, types.is_null)
    times = (types.is_timestamp, types.is_date, types.is_time, types.is_duration)
    return any(test(kind) for test in (*quantities, *times))


def is_symbol(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind)


UNITS_PER_S = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def as_numbers(name: str, values: pa.ChunkedArray) -> np.ndarray:
    """(N,) float64, NaN where missing, infinite beyond BEYOND. Raises InputError where a value is no number."""
    if is_symbol(values.type):
        values = _parsed(values)
    kind, per_unit = values.type, 1.0
    if pa.types.is_date(kind):
        values, per_unit = pc.cast(values, pa.date32()), 86_400.0
        values = pc.cast(values, pa.int32())
    elif pa.types.is_timestamp(kind) or pa.types.is_time(kind) or pa.types.is_duration(kind):
        bits = pa.int32() if pa.types.is_time32(kind) else pa.int64()
        values, per_unit = pc.cast(values, bits), 1 / UNITS_PER_S[kind.unit]
    try:
        # Not safe: of a whole number beyond 2^53 the last digits go.
        numbers = pc.cast(values, pa.float64(), safe=False).to_numpy(zero_copy_only=False) * per_unit
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"The column {name} must hold numbers, as it did in training: {reason}.") from error
    return np.where(np.abs(numbers) > BEYOND, np.copysign(np.inf, numbers), numbers)


def _parsed(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Texts that stand for numbers or dates, as a CSV gives them to a reader that keeps its columns as texts."""
    values = nulled(values)
    for kind in (pa.float64(), pa.timestamp("us")):
        try:
            return pc.cast(values, kind)
        except pa.ArrowInvalid:
            continue
    return values


def nulled(texts: Any) -> Any:
    """Texts (an array, plain or chunked), with null for those that stand for a missing value."""
    return pc.if_else(pc.is_in(texts, pa.array(MISSING, texts.type)), pa.scalar(None, texts.type), texts)


def as_symbols(values: pa.ChunkedArray) -> pa.Array:
    """(N,) texts, with a text of its own where missing."""
    if pa.types.is_dictionary(values.type):
        values = pc.cast(values, values.type.value_type)
    texts = pc.fill_null(pc.cast(values, pa.string()), MISSING_SYMBOL)
    return texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
