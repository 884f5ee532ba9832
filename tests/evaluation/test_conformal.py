"""Conformal p-values, and the false discovery rate that is controlled with them."""

import numpy as np
import pytest
from scipy.stats import false_discovery_control

from ssl_cli.evaluation.conformal import FdrMethod, counts_above, flagged_by_fdr, max_above, normal_share, p_values


def test_p_values_equal_their_definition() -> None:
    calibration, scores = np.array([1.0, 2.0, 2.0, 5.0]), np.array([0.0, 2.0, 3.0, 9.0])
    naive = [(1 + sum(c >= s for c in calibration)) / 5 for s in scores]
    np.testing.assert_allclose(p_values(calibration, scores), naive)


def made(n: int, shift: float, n_normal: int = 300, n_anomalies: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """Calibration and test scores, with ties."""
    rng = np.random.default_rng(n)
    return rng.normal(size=n).round(1), rng.normal(np.repeat([0, shift], [n_normal, n_anomalies])).round(1)


@pytest.mark.parametrize(
    ("n", "shift", "fdr"), [(400, 4, 0.1), (1000, 2, 0.2), (50, 3, 0.1), (400, 0, 0.1), (1, 3, 0.6)]
)
def test_bh_equals_scipy(n: int, shift: float, fdr: float) -> None:
    calibration, test = made(n, shift)
    adjusted = false_discovery_control(p_values(calibration, test), method="bh")
    np.testing.assert_array_equal(flagged_by_fdr(calibration, test, fdr, "bh"), adjusted <= fdr)


def naive_storey(p: np.ndarray, fdr: float, level: float) -> np.ndarray:
    """Flag up to the largest t <= level with pi0 N t / #{p <= t} <= fdr (Storey, Taylor and Siegmund, 2004, eq. 3)."""
    pi0 = (1 + sum(value > level + 1e-12 for value in p)) / (len(p) * (1 - level))
    largest = 0.0
    for t in p:
        if t <= level + 1e-12 and pi0 * len(p) * t / sum(value <= t for value in p) <= fdr * (1 + 1e-12):
            largest = max(largest, t)
    return p <= largest


@pytest.mark.parametrize(
    ("n", "shift", "anomalies", "fdr"),
    [(400, 4, 100, 0.1), (399, 2, 600, 0.2), (50, 3, 900, 0.1), (400, 0, 100, 0.1), (99, 5, 900, 0.3), (1, 3, 90, 0.6)],
)
def test_storey_equals_its_definition(n: int, shift: float, anomalies: int, fdr: float) -> None:
    calibration, test = made(n, shift, n_anomalies=anomalies)
    expected = naive_storey(p_values(calibration, test), fdr, (n + 1) // 2 / (n + 1))
    np.testing.assert_array_equal(flagged_by_fdr(calibration, test, fdr, "storey"), expected)


def test_the_share_of_normal_rows_is_estimated() -> None:
    calibration, test = made(1999, 4, n_normal=400, n_anomalies=600)
    counts = np.bincount(counts_above(np.sort(calibration), test), minlength=2000)
    assert normal_share(counts) == pytest.approx(0.4, abs=0.06)


@pytest.mark.parametrize("method", ["bh", "storey"])
def test_no_rows(method: FdrMethod) -> None:
    assert max_above(np.zeros(100, int), 0.1, method) == -1


@pytest.mark.parametrize(
    ("n", "n_normal", "n_anomalies"), [(999, 320, 80), (199, 100, 300), (59, 40, 0), (999, 20, 380)]
)
@pytest.mark.parametrize("method", ["bh", "storey"])
def test_the_rate_is_held_over_draws(method: FdrMethod, n: int, n_normal: int, n_anomalies: int) -> None:
    rng, false, true = np.random.default_rng(0), [], []
    for _ in range(600):
        calibration = rng.normal(size=n)
        test = rng.normal(np.repeat([0, 3.5], [n_normal, n_anomalies]))
        flagged = flagged_by_fdr(calibration, test, 0.1, method)
        false.append(flagged[:n_normal].sum() / max(flagged.sum(), 1))
        true.append(flagged[n_normal:].sum())
    error = np.std(false) / np.sqrt(len(false))
    assert np.mean(false) < 0.1 + 3 * error
    if n_normal >= 100:
        expected = 0.1 * (n_normal / (n_normal + n_anomalies) if method == "bh" else 1)
        assert np.mean(false) == pytest.approx(expected, abs=0.012)  # a row more or less, of few
        assert np.mean(true) > 0.75 * n_anomalies
