"""Parts of a column of dates or times as features: hour of day, weekday, and the time since the previous row.

Times with a zone are taken in UTC, in every file alike.
"""

from typing import Any, Literal

import numpy as np
import pyarrow as pa

from ssl_cli.data.io.columns import as_numbers

Part = Literal["hour of day", "weekday", "time since the previous row"]
HOUR, WEEKDAY, GAP = "hour of day", "weekday", "time since the previous row"
WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
DAY_S = 86_400
MISSING = "(missing)"  # how a missing value is shown
ORDERED_SHARE = 0.9  # of the steps from row to row that go one way, in a file in the order of time


def part_name(source: str, part: str) -> str:
    """Return the name of a part of a column."""
    return f"{source}, {part}"


def part_values(name: str, part: str, values: pa.ChunkedArray, before: pa.ChunkedArray | None = None) -> pa.Array:
    """Return a part (N,) of the dates of a column: seconds of the day, the weekday's name, or seconds.

    `before` has the rows that come before `values`, as far as they are known: only the last matters. Raises InputError,
    with the column's `name`, if a value is not a date.
    """
    seconds = as_numbers(name, values)  # (N,)
    seconds = np.where(np.isfinite(seconds), seconds, np.nan)
    if part == HOUR:
        return pa.array(seconds % DAY_S, from_pandas=True)
    if part == WEEKDAY:
        # The days count from a Thursday.
        days = np.where(np.isnan(seconds), 0, seconds // DAY_S + 3).astype(np.int64) % 7
        return pa.array(np.array(WEEKDAYS, object)[days], pa.string(), mask=np.isnan(seconds))
    last = as_numbers(name, before)[-1:] if before is not None and len(before) else np.array([np.nan])
    return pa.array(np.diff(seconds, prepend=last), from_pandas=True)


def is_in_order(seconds: np.ndarray) -> bool:
    """Return whether the rows of a file, with their times in seconds (N,), are in the order of time, either way."""
    steps = np.diff(seconds[np.isfinite(seconds)])
    return bool(len(steps) and max((steps >= 0).mean(), (steps <= 0).mean()) >= ORDERED_SHARE)


def clock_features(seconds: np.ndarray) -> np.ndarray:
    """Return the sine and cosine (N, 2) of seconds of the day (N,), on a circle of 24 hours: 23:59 is near 00:00."""
    angle = 2 * np.pi * seconds / DAY_S
    return np.stack([np.sin(angle), np.cos(angle)], 1)


def format_clock(features: np.ndarray) -> str:
    """Return the time of day that a sine and a cosine (2,) point to, as `14:05`."""
    seconds = float(np.arctan2(features[0], features[1]) / (2 * np.pi) * DAY_S) % DAY_S
    return format_time_of_day(seconds)


def format_time_of_day(seconds: float) -> str:
    """Return seconds of the day as `14:05`."""
    minutes = round(seconds / 60) % (24 * 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def format_gap(seconds: float) -> str:
    """Return a number of seconds in readable units, such as `2.5 s`, `37 min`, `3.2 h` or `12 days`."""
    size = abs(seconds)
    for unit, length in (("days", 2 * DAY_S), ("h", 7200), ("min", 120)):
        if size >= length:
            return f"{seconds / {'days': DAY_S, 'h': 3600, 'min': 60}[unit]:.3g} {unit}"
    return f"{seconds:.3g} s"


def format_part(part: str, value: Any) -> str:
    """Return a part's value, as `part_values` gives it, in readable units."""
    if value is None or value != value:
        return MISSING
    return str(value) if part == WEEKDAY else format_time_of_day(value) if part == HOUR else format_gap(value)
