"""Random subsample of the training rows, for detectors that keep or use only some of them."""

import numpy as np


def subsample(x: np.ndarray, max_rows: int | None, seed: int) -> np.ndarray:
    """Return all rows of x (N, D), or `max_rows` of them in their order, drawn without replacement."""
    if max_rows is None or len(x) <= max_rows:
        return x
    return x[np.sort(np.random.default_rng([seed, 2]).choice(len(x), max_rows, replace=False))]
