"""Thresholds keep their promises."""

import numpy as np
import pytest
from scipy.stats import false_discovery_control
from sklearn.metrics import f1_score

from ssl_cli.errors import InputError
from ssl_cli.evaluation.thresholds import Calibration, choose_threshold, p_values

NONE = np.empty(0)  # test scores, for the rules that do not use them


def test_p_values_equal_their_definition() -> None:
    calibration, scores = np.array([1.0, 2.0, 2.0, 5.0]), np.array([0.0, 2.0, 3.0, 9.0])
    naive = [(1 + sum(c >= s for c in calibration)) / 5 for s in scores]
    np.testing.assert_allclose(p_values(calibration, scores), naive)


@pytest.mark.parametrize(("n", "fpr"), [(99, 0.01), (150, 0.01), (500, 0.05), (37, 0.1)])
def test_auto_flags_exactly_the_small_p_values(n: int, fpr: float) -> None:
    rng = np.random.default_rng(n)
    calibration, scores = rng.normal(size=n), rng.normal(1, 2, size=1000)
    threshold = choose_threshold("auto", Calibration(calibration), scores, fpr)
    np.testing.assert_array_equal(scores > threshold.value, p_values(calibration, scores) <= fpr + 1e-12)
    assert threshold.nominal_fpr <= fpr
    assert threshold.warning is None


def test_auto_holds_its_rate_and_its_interval_over_draws() -> None:
    # 2,000 draws of calibration rows: the mean rate is k / (n + 1), and 95 % lie in the Beta interval it states.
    rng, n, fpr = np.random.default_rng(0), 200, 0.05
    rates = []
    for _ in range(2000):
        threshold = choose_threshold("auto", Calibration(rng.uniform(size=n)), NONE, fpr)
        rates.append(1 - threshold.value)  # of uniform scores, the share above it
    assert np.mean(rates) == pytest.approx(threshold.nominal_fpr, abs=0.001)
    low, high = stated_interval(threshold.promise)
    assert np.mean([low <= rate <= high for rate in rates]) == pytest.approx(0.95, abs=0.02)


def stated_interval(promise: str) -> tuple[float, float]:
    shares = [float(word.rstrip("%")) / 100 for word in promise.split() if word.endswith("%") and word != "%"]
    return shares[-2], shares[-1]


def test_auto_warns_about_too_few_rows() -> None:
    threshold = choose_threshold("auto", Calibration(np.arange(18.0)), NONE)
    assert threshold.value == 17
    assert threshold.nominal_fpr == pytest.approx(1 / 19)
    assert "18 calibration rows can't hold a false-positive rate of 1.00%: that takes 99" in threshold.warning


def test_cross_fitted_scores_state_that_they_have_no_guarantee() -> None:
    for rule in ("auto", "fdr"):
        threshold = choose_threshold(rule, Calibration(np.arange(500.0), held_out=False, folds=5), np.arange(500.0))
        assert not threshold.guaranteed
        assert "500 out-of-fold scores (5 folds)" in threshold.promise
        assert "does not carry over" in threshold.promise


@pytest.mark.parametrize(("n", "shift", "fdr"), [(400, 4, 0.1), (1000, 2, 0.2), (50, 3, 0.1), (400, 0, 0.1)])
def test_fdr_equals_benjamini_and_hochberg_on_the_p_values(n: int, shift: float, fdr: float) -> None:
    rng = np.random.default_rng(n)
    calibration = rng.normal(size=n).round(1)  # with ties
    test = rng.normal(np.repeat([0, shift], [300, 100])).round(1)
    threshold = choose_threshold("fdr", Calibration(calibration), test, fdr=fdr)
    adjusted = false_discovery_control(p_values(calibration, test), method="bh")
    np.testing.assert_array_equal(test > threshold.value, adjusted <= fdr)
    assert threshold.guaranteed
    assert threshold.nominal_fdr == fdr


def test_fdr_holds_its_rate_over_draws() -> None:
    # Of 400 test rows 320 are normal: the expected share of false alarms is at most 0.8 times the nominal one.
    rng, found = np.random.default_rng(0), []
    for _ in range(600):
        calibration, test = rng.normal(size=999), rng.normal(np.repeat([0, 3.5], [320, 80]))
        flagged = test > choose_threshold("fdr", Calibration(calibration), test, fdr=0.2).value
        found.append(flagged[:320].sum() / max(flagged.sum(), 1))
    error = np.std(found) / np.sqrt(len(found))
    assert np.mean(found) == pytest.approx(0.8 * 0.2, abs=4 * error)


def test_fdr_warns_about_too_few_rows() -> None:
    threshold = choose_threshold("fdr", Calibration(np.arange(99.0)), np.arange(1000.0), fdr=0.1)
    assert "can flag at fdr=0.1 only 100 rows or more at once" in threshold.warning


def test_f1_is_the_best_threshold_and_states_that_it_used_labels() -> None:
    rng = np.random.default_rng(0)
    anomaly = rng.random(200) < 0.2
    scores = np.round(rng.normal(2 * anomaly, 1), 1)  # with ties
    threshold = choose_threshold("f1", Calibration(scores), NONE, dev=(scores, anomaly))
    best = max(f1_score(anomaly, scores > value) for value in [scores.min() - 1, *np.unique(scores)])
    assert f1_score(anomaly, scores > threshold.value) == pytest.approx(best)
    assert "labels were used" in threshold.promise


def test_quantile_and_number() -> None:
    calibration = np.arange(1000.0)
    assert choose_threshold("q0.995", Calibration(calibration), NONE).value == np.quantile(
        calibration, 0.995, method="higher"
    )
    given = choose_threshold(3.5, Calibration(calibration), NONE)
    assert (given.value, given.nominal_fpr) == (3.5, None)


@pytest.mark.parametrize(
    ("calibration", "message"),
    [
        (np.full(50, 2.0), "All 50 calibration scores are 2"),
        (np.array([1, np.nan, np.inf]), "2 of 3 calibration scores are NaN"),
    ],
)
def test_degenerate_scores_are_rejected(calibration: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        choose_threshold("auto", Calibration(calibration), NONE)


def test_f1_without_labels_is_rejected() -> None:
    with pytest.raises(InputError, match="without labels use threshold=auto"):
        choose_threshold("f1", Calibration(np.arange(10.0)), NONE)
