"""Drift: whether p-values say that rows are unlike the calibration rows."""

import numpy as np
from scipy.stats import beta

ERROR = 0.025  # of each of the two bounds that a bound of 95 % combines


def least_share_unlike(counts: np.ndarray) -> float:
    """Return a lower bound (95 %) on the share of rows that are not distributed as the calibration rows.

    `counts` (n + 1,): how many rows have c = 0 ... n calibration scores at least as large, that is, the conformal
    p-value (1 + c) / (n + 1). Of rows like the n calibration rows about half have a p-value above a half: for given
    calibration rows a share that is 1 - Beta(k, n + 1 - k) distributed, k = floor((n + 1) / 2) (Vovk, 2012). What
    others there are can only add to it, so that the rows above a half bound the share of such rows from above, as in
    Storey's estimate (2002).
    """
    n, n_rows = len(counts) - 1, int(counts.sum())
    k = (n + 1) // 2
    if not n_rows or not k:
        return 0.0
    n_above = int(counts[k:].sum())
    most_above = 1.0 if n_above == n_rows else float(beta.ppf(1 - ERROR, n_above + 1, n_rows - n_above))  # exact
    least_of_alike = 1 - float(beta.ppf(1 - ERROR, k, n + 1 - k))
    return max(0.0, 1 - most_above / least_of_alike)
