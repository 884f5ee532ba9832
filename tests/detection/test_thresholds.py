"""Thresholds keep what they promise."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from ssl_cli.detection.thresholds import choose_threshold, p_values
from ssl_cli.errors import InputError


def test_p_values_against_their_definition() -> None:
    calibration, scores = np.array([1.0, 2.0, 2.0, 5.0]), np.array([0.0, 2.0, 3.0, 9.0])
    naive = [(1 + sum(c >= s for c in calibration)) / 5 for s in scores]
    np.testing.assert_allclose(p_values(calibration, scores), naive)


@pytest.mark.parametrize(("n", "fpr"), [(99, 0.01), (150, 0.01), (500, 0.05), (37, 0.1)])
def test_auto_flags_exactly_the_small_p_values(n: int, fpr: float) -> None:
    rng = np.random.default_rng(n)
    calibration, scores = rng.normal(size=n), rng.normal(1, 2, size=1000)
    threshold = choose_threshold("auto", fpr, calibration)
    np.testing.assert_array_equal(scores > threshold.value, p_values(calibration, scores) <= fpr + 1e-12)
    assert threshold.promised_fpr <= fpr
    assert threshold.warning is None


def test_auto_holds_its_rate_over_draws_and_its_interval() -> None:
    # 2,000 draws of calibration rows: the mean rate is k / (n + 1), and 95 % lie in the Beta interval it states.
    rng, n, fpr = np.random.default_rng(0), 200, 0.05
    rates = []
    for _ in range(2000):
        threshold = choose_threshold("auto", fpr, rng.uniform(size=n))
        rates.append(1 - threshold.value)  # of uniform scores, the share above it
    assert np.mean(rates) == pytest.approx(threshold.promised_fpr, abs=0.001)
    low, high = stated_interval(threshold.promise)
    assert np.mean([low <= rate <= high for rate in rates]) == pytest.approx(0.95, abs=0.02)


def stated_interval(promise: str) -> tuple[float, float]:
    shares = [float(word.rstrip("%")) / 100 for word in promise.split() if word.endswith("%") and word != "%"]
    return shares[-2], shares[-1]


def test_auto_says_when_the_rows_are_too_few() -> None:
    threshold = choose_threshold("auto", 0.01, np.arange(18.0))
    assert threshold.value == 17
    assert threshold.promised_fpr == pytest.approx(1 / 19)
    assert "18 calibration rows can't hold a false-positive rate of 1.00%: that takes 99" in threshold.warning


def test_f1_is_the_best_of_all_thresholds_and_says_it_used_labels() -> None:
    rng = np.random.default_rng(0)
    anomaly = rng.random(200) < 0.2
    scores = np.round(rng.normal(2 * anomaly, 1), 1)  # with ties
    threshold = choose_threshold("f1", 0.01, scores, (scores, anomaly))
    best = max(f1_score(anomaly, scores > value) for value in [scores.min() - 1, *np.unique(scores)])
    assert f1_score(anomaly, scores > threshold.value) == pytest.approx(best)
    assert "labels were used" in threshold.promise


def test_quantile_and_number() -> None:
    calibration = np.arange(1000.0)
    assert choose_threshold("q0.995", 0.01, calibration).value == np.quantile(calibration, 0.995, method="higher")
    given = choose_threshold(3.5, 0.01, calibration)
    assert (given.value, given.promised_fpr) == (3.5, None)


@pytest.mark.parametrize(
    ("calibration", "sentence"),
    [
        (np.full(50, 2.0), "All 50 calibration scores are 2"),
        (np.array([1, np.nan, np.inf]), "2 of 3 calibration scores are NaN"),
    ],
)
def test_degenerate_scores_are_refused(calibration: np.ndarray, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        choose_threshold("auto", 0.01, calibration)


def test_f1_without_labels_is_refused() -> None:
    with pytest.raises(InputError, match="without labels use threshold=auto"):
        choose_threshold("f1", 0.01, np.arange(10.0))
