"""Bootstrap confidence intervals: how a metric varies over resamples of the examples (Efron, 1979)."""

from collections.abc import Callable

import numpy as np

LEVELS = (0.025, 0.975)  # the ends of a 95 % interval


def percentile_interval(values: np.ndarray) -> tuple[float, float]:
    """Return the 95 % percentile interval of a metric's values (R,) on bootstrap samples."""
    low, high = np.quantile(values, LEVELS)
    return float(low), float(high)


def bootstrap_intervals(
    compute_metrics: Callable[[np.ndarray], dict[str, float]], n: int, bootstrap_samples: int, seed: int
) -> dict[str, tuple[float, float]]:
    """Return the 95 % interval of each metric that `compute_metrics` returns for examples by index (n,).

    There are no intervals without bootstrap samples, nor for a single example, which would be drawn every time.
    Samples on which a metric is undefined (NaN: a correlation of constant values) are left out of its interval.
    """
    if n < 2:
        return {}
    rng = np.random.default_rng([seed, 9])
    samples = [compute_metrics(rng.integers(n, size=n)) for _ in range(bootstrap_samples)]
    values = {name: np.array([sample[name] for sample in samples]) for name in (samples[0] if samples else ())}
    defined = {name: each[np.isfinite(each)] for name, each in values.items()}
    return {name: percentile_interval(each) for name, each in defined.items() if len(each)}
