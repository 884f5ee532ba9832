"""The calibration error against a naive transcription of arXiv 1706.04599."""

import numpy as np
import pytest

from ssl_cli.evaluation.metrics.calibration import BINS, reliability


def calibration_error(confidence: np.ndarray, correct: np.ndarray, bins: int) -> float:
    """Equations 1 to 3, literally: I_m = ((m - 1) / M, m / M]."""
    error = 0.0
    for m in range(1, bins + 1):
        members = [i for i, p in enumerate(confidence) if (m - 1) / bins < p <= m / bins]
        if members:
            accuracy = sum(correct[i] for i in members) / len(members)
            mean_confidence = sum(confidence[i] for i in members) / len(members)
            error += len(members) / len(confidence) * abs(accuracy - mean_confidence)
    return error


@pytest.mark.parametrize("bins", [1, 10, BINS])
@pytest.mark.parametrize("n", [1, 7, 400])
def test_the_error_equals_the_papers(bins: int, n: int) -> None:
    rng = np.random.default_rng(n)
    confidence = rng.uniform(0.01, 1, n)
    confidence[::3] = np.ceil(confidence[::3] * bins) / bins  # on the edges too
    correct = rng.random(n) < confidence**2
    assert reliability(confidence, correct, bins).calibration_error == pytest.approx(
        calibration_error(confidence, correct, bins)
    )


def test_bins_of_the_diagram() -> None:
    found = reliability(np.array([0.0, 0.5, 0.6, 0.9, 1.0]), np.array([False, True, False, True, True]), 2)
    assert found.count.tolist() == [2, 3]
    assert found.confidence == pytest.approx([0.25, 2.5 / 3])
    assert found.accuracy == pytest.approx([1 / 2, 2 / 3])
    assert found.calibration_error == pytest.approx((2 * 0.25 + 3 * 0.5 / 3) / 5)
