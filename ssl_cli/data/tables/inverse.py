"""Inverse of the preprocessing, for display: features formatted in a column's own units."""

from datetime import datetime, timedelta
from typing import Any

import numpy as np

from ssl_cli.data.io.notation import Notation
from ssl_cli.data.tables.dates import GAP, format_clock, format_gap


def format_value(column: dict[str, Any], features: np.ndarray) -> str:
    """Return the features (W,) of a column in the column's own units: a number, a date or a category."""
    if column["kind"] == "symbol":
        best = int(features.argmax())
        return column["values"][best] if best < len(column["values"]) else "(other)"
    if column["missing"] and features[-1] > 0.5:
        return "(missing)"
    if column["kind"] == "clock":
        return format_clock(features)
    return format_number(column, column["mean"] + column["std"] * _invert_power(column, float(features[0])))


def _invert_power(column: dict[str, Any], scaled: float) -> float:
    """Return a scaled number in standard deviations from the mean: undo Yeo-Johnson, if it was applied."""
    if not (power := column.get("power")):
        return scaled
    value, exponent = power["mean"] + power["std"] * scaled, power["lambda"]
    sign, exponent = (1, exponent) if value >= 0 else (-1, 2 - exponent)
    if abs(exponent) < 1e-9:
        return sign * float(np.expm1(abs(value)))
    # Values beyond the transform's bound have no inverse: they become the bound.
    base = max(1 + exponent * abs(value), 1e-12)
    return sign * (float(np.float64(base) ** (1 / exponent)) - 1)


def significant_digits(value: float) -> int:
    """Return how many digits of an expected number are worth reading: four, or all before the decimal point."""
    return max(4, min(len(f"{abs(value):.0f}"), 15)) if np.isfinite(value) else 4


def format_number(column: dict[str, Any], value: float) -> str:
    """Return a column's number as text. The number of a date or time column is in seconds."""
    if column.get("part") == GAP:
        return format_gap(value)
    if notation := column.get("notation"):
        return Notation(**notation).format(value, significant_digits(value))
    if column["type"] in ("number", "truth") or not np.isfinite(value):
        return f"{value:.{significant_digits(value)}g}"
    try:
        if column["type"] == "time":
            return str(timedelta(seconds=round(value)))
        moment = datetime(1970, 1, 1) + timedelta(seconds=value)
    except OverflowError:  # before the year 1 or after 9999
        return f"{value:.6g} s"
    return moment.date().isoformat() if column["type"] == "date" else moment.isoformat(" ", "seconds")
