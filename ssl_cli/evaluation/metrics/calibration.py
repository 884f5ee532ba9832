"""Calibration of probabilities: reliability diagram and expected calibration error (arXiv 1706.04599)."""

from dataclasses import dataclass

import numpy as np

BINS = 15


@dataclass(frozen=True)
class Reliability:
    """Predictions in bins of equal width by confidence: each array (M,), zero in an empty bin."""

    count: np.ndarray
    confidence: np.ndarray  # the bin's mean
    accuracy: np.ndarray

    @property
    def calibration_error(self) -> float:
        """Expected calibration error (equation 3): the mean gap between accuracy and confidence over predictions."""
        gap = np.abs(self.accuracy - self.confidence)
        return float((self.count * gap).sum() / self.count.sum())


def reliability(confidence: np.ndarray, correct: np.ndarray, bins: int = BINS) -> Reliability:
    """Bin the probabilities (N,) of predictions, with whether each was correct (N,).

    Bin m holds those from (m - 1) / M, exclusive, to m / M; a confidence of 0 belongs to the first bin.
    """
    upper = np.arange(1, bins) / bins
    bin_index = np.searchsorted(upper, confidence, side="left")  # (N,)
    count = np.bincount(bin_index, minlength=bins)
    divisor = np.maximum(count, 1)
    return Reliability(
        count,
        np.bincount(bin_index, weights=confidence, minlength=bins) / divisor,
        np.bincount(bin_index, weights=correct, minlength=bins) / divisor,
    )
