"""The way back from features: what they stand for in a column's own units, for people to read."""

from datetime import datetime, timedelta
from typing import Any

import numpy as np


def format_value(column: dict[str, Any], features: np.ndarray) -> str:
    """What the features (W,) of a column stand for, in the column's own units: a number, a date, a symbol."""
    if column["kind"] == "symbol":
        best = int(features.argmax())
        return column["values"][best] if best < len(column["values"]) else "(another)"
    if column["missing"] and features[1] > 0.5:
        return "(missing)"
    return shown(column, column["mean"] + column["std"] * _unpowered(column, float(features[0])))


def _unpowered(column: dict[str, Any], scaled: float) -> float:
    """A scaled number in standard deviations from the mean: the inverse of Yeo-Johnson, where it was used."""
    if not (power := column.get("power")):
        return scaled
    value, exponent = power["mean"] + power["std"] * scaled, power["lambda"]
    sign, exponent = (1, exponent) if value >= 0 else (-1, 2 - exponent)
    if abs(exponent) < 1e-9:
        return sign * float(np.expm1(abs(value)))
    # Beyond the largest value that the transform can give there is none to go back to: it is the bound itself.
    grown = max(1 + exponent * abs(value), 1e-12)
    return sign * (float(np.float64(grown) ** (1 / exponent)) - 1)


def shown(column: dict[str, Any], value: float) -> str:
    """A number of a column as text; of a date or time column the number is seconds."""
    if column["type"] in ("number", "truth") or not np.isfinite(value):
        return f"{value:.6g}"
    try:
        if column["type"] == "time":
            return str(timedelta(seconds=round(value)))
        moment = datetime(1970, 1, 1) + timedelta(seconds=value)
    except OverflowError:  # before the year 1 or after 9999
        return f"{value:.6g} s"
    return moment.date().isoformat() if column["type"] == "date" else moment.isoformat(" ", "seconds")
