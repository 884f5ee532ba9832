"""Ticks of an axis that is not linear: few round numbers, written plainly."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.axis import Axis
from matplotlib.ticker import MaxNLocator

MAX_TICKS = 6
MIN_GAP = 0.14  # between two ticks, as a share of the axis: labels don't touch


def set_plain_ticks(axis: Axis, low: float, high: float) -> None:
    """Put plain ticks on an axis with values from `low` to `high`."""
    ticks = plain_ticks(low, high, axis.get_transform())
    axis.set_ticks(ticks, [plain_number(tick) for tick in ticks])
    axis.set_ticks([], minor=True)


def plain_ticks(low: float, high: float, scale: Any) -> list[float]:
    """Return at most MAX_TICKS round numbers from `low` to `high` that are far enough apart on a `scale`.

    They are multiples of a step, or powers of ten, whichever gives more; where neither fits, some of the powers of ten
    and 2 and 5 times these, the largest first.
    """

    def are_apart(values: list[float]) -> bool:
        places = scale.transform(np.array([low, high, *values], float))
        return bool((np.diff(np.sort(places[2:])) >= MIN_GAP * (places[1] - places[0])).all())

    def inside(values: Iterable[float]) -> list[float]:
        return [float(value) for value in values if low <= value <= high]

    regular = [inside(values) for values in _regular_numbers(low, high)]
    fitting = [values for values in regular if 3 <= len(values) <= MAX_TICKS and are_apart(values)]
    if fitting:
        return max(fitting, key=len)
    kept: list[float] = []
    for value in inside(_numbers_by_size(low, high)):
        if len(kept) < MAX_TICKS and are_apart([*kept, value]):
            kept.append(value)
    return sorted(kept) or [low]


def _regular_numbers(low: float, high: float) -> list[np.ndarray]:
    """Return multiples of a step, for several steps, and powers of ten, for several steps of the exponent."""
    multiples = [MaxNLocator(n, steps=[1, 2, 5, 10]).tick_values(low, high) for n in (3, 4, 5, 6)]
    top = int(np.floor(np.log10(max(abs(low), abs(high), 1e-300))))
    powers = [10.0 ** np.arange(top // step * step, top - 15, -step)[::-1] for step in (1, 2, 3)] if low > 0 else []
    return [*map(np.asarray, multiples), *powers]


def _numbers_by_size(low: float, high: float) -> list[float]:
    """Return 0, and 5, 2 and 1 times the powers of ten up to the largest value, of both signs, in descending size."""
    top = int(np.floor(np.log10(max(abs(low), abs(high), 1e-300))))
    sizes = [factor * 10.0**exponent for exponent in range(top, top - 15, -1) for factor in (1, 5, 2)]
    return [0.0, *(sign * size for size in sizes for sign in (1, -1))]


def plain_number(value: float) -> str:
    """Return a number as the label of a tick: 0.001, 20, 5,000, 2e6."""
    if value == 0 or 1e-4 <= abs(value) < 1e6:
        return f"{value:,.10g}"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"
