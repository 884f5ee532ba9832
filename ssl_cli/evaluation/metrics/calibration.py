"""Whether a model is right as often as it says: reliability diagram and expected calibration error. arXiv 1706.04599"""

from dataclasses import dataclass

import numpy as np

BINS = 15


@dataclass(frozen=True)
class Reliability:
    """Answers in bins of equal width by their confidence, the first from 0: each array (M,), zero in an empty bin."""

    count: np.ndarray
    confidence: np.ndarray  # the mean of the bin's answers
    accuracy: np.ndarray

    @property
    def error(self) -> float:
        """The expected calibration error, equation 3: by how much the two differ in the mean over answers."""
        gap = np.abs(self.accuracy - self.confidence)
        return float((self.count * gap).sum() / self.count.sum())


def reliability(confidence: np.ndarray, right: np.ndarray, bins: int = BINS) -> Reliability:
    """Of the probabilities (N,) that a model gave to its answers, and whether each was right (N,).

    Bin m holds those from (m - 1) / M, exclusive, to m / M; a confidence of 0 belongs to the first.
    """
    upper = np.arange(1, bins) / bins
    which = np.searchsorted(upper, confidence, side="left")  # (N,)
    count = np.bincount(which, minlength=bins)
    some = np.maximum(count, 1)
    return Reliability(
        count,
        np.bincount(which, weights=confidence, minlength=bins) / some,
        np.bincount(which, weights=right, minlength=bins) / some,
    )
