"""Conformal p-values of anomaly scores, and the procedures that control the false discovery rate with them.

A row's p-value is (1 + c) / (n + 1), c the number of n calibration scores that are at least as large. All procedures
work on counts of rows with c = 0 ... n, so that files can be of any size.
"""

from typing import Literal

import numpy as np

FdrMethod = Literal["storey", "bh"]


def p_values(calibration: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return conformal p-values, (N,): the share of calibration scores (and the row's own) at least as large.

    For a normal row exchangeable with held-out calibration rows, P(p <= a) <= a for every a (Vovk et al., 2005;
    Bates et al., arXiv 2104.08279, eq. 1).
    """
    return (1 + counts_above(np.sort(calibration), scores)) / (1 + len(calibration))


def counts_above(ordered: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return how many of the calibration scores are at least as large as each score, (N,).

    `ordered` (n,) are the calibration scores in ascending order.
    """
    return len(ordered) - np.searchsorted(ordered, scores, side="left")


def flagged_by_fdr(calibration: np.ndarray, scores: np.ndarray, fdr: float, method: FdrMethod) -> np.ndarray:
    """Return which of the rows are flagged when they are judged together, (N,) bool."""
    above = counts_above(np.sort(calibration), scores)
    return above <= max_above(np.bincount(above, minlength=len(calibration) + 1), fdr, method)


def max_above(counts: np.ndarray, fdr: float, method: FdrMethod) -> int:
    """Return how many calibration scores may be at least as large as a flagged row's; -1 if no row is flagged.

    `counts` (n + 1,): how many rows have c = 0 ... n of them. Both methods keep the expected share of normal rows among
    the flagged ones at `fdr` or below if the normal rows are exchangeable with the calibration rows: `bh` at `fdr`
    times the share of normal rows (Bates et al., arXiv 2104.08279, section 2.3); `storey` makes up for that factor by
    an estimate of it, and flags only p-values up to 1/2 (section 2.4; Storey, Taylor and Siegmund, 2004, theorem 3;
    Marandon et al., arXiv 2208.06685).
    """
    if method == "bh" or not counts.sum():
        return benjamini_hochberg(counts, fdr)
    return benjamini_hochberg(counts[: len(counts) // 2], fdr / normal_share(counts), len(counts), counts.sum())


def benjamini_hochberg(counts: np.ndarray, fdr: float, n_levels: int = 0, n_rows: int = 0) -> int:
    """Return the largest c of a row that Benjamini and Hochberg's procedure flags, -1 if it flags none.

    Rows are flagged up to the largest p-value that is at most `fdr` times the share of rows at or below it (Benjamini
    and Hochberg, 1995, eq. 1). If `counts` has the smallest p-values only, the others are never flagged, and there are
    `n_levels` p-values and `n_rows` rows in all.
    """
    rejected = np.cumsum(counts)
    p = np.arange(1, len(counts) + 1) / (n_levels or len(counts))
    holds = np.flatnonzero((counts > 0) & (p * (n_rows or rejected[-1]) <= fdr * rejected * (1 + 1e-12)))
    return int(holds[-1]) if len(holds) else -1


def normal_share(counts: np.ndarray) -> float:
    """Return Storey's estimate of the share of normal rows: (1 + #{p > l}) / (N (1 - l)), which may exceed 1.

    `counts` (n + 1,) as above, of N > 0 rows. The level l is the largest multiple of 1 / (n + 1) up to 1/2 (Storey,
    2002, eq. 6; with the 1 it is estimated too large rather than too small).
    """
    k = len(counts) // 2
    return float((1 + counts[k:].sum()) / (counts.sum() * (1 - k / len(counts))))
