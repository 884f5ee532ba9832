"""How far a metric may lie from what another draw of as many examples would have given. (Efron, 1979)"""

from collections.abc import Callable

import numpy as np

LEVELS = (0.025, 0.975)  # the ends of a 95 % interval


def interval(values: np.ndarray) -> tuple[float, float]:
    """The 95 % percentile interval of a metric's values (R,) on bootstrap_samples."""
    low, high = np.quantile(values, LEVELS)
    return float(low), float(high)


def intervals(
    measure: Callable[[np.ndarray], dict[str, float]], n: int, bootstrap_samples: int, seed: int
) -> dict[str, tuple[float, float]]:
    """Return the 95 % interval of each metric that `measure` computes on examples by index (n,).

    There is none without bootstrap samples, nor for a single example, which is drawn every time.

    Resamples on which a metric is undefined (NaN: a correlation where all are the same) are left out of its interval.
    """
    if n < 2:
        return {}
    rng = np.random.default_rng([seed, 9])
    drawn = [measure(rng.integers(n, size=n)) for _ in range(bootstrap_samples)]
    values = {name: np.array([each[name] for each in drawn]) for name in (drawn[0] if drawn else ())}
    defined = {name: every[np.isfinite(every)] for name, every in values.items()}
    return {name: interval(every) for name, every in defined.items() if len(every)}
