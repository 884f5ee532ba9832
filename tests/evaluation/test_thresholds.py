"""Thresholds keep to their targets."""

import re

import numpy as np
import pytest
from sklearn.metrics import f1_score

from ssl_cli.errors import InputError
from ssl_cli.evaluation.conformal import FdrMethod, flagged_by_fdr, p_values
from ssl_cli.evaluation.thresholds import Calibration, check_scores, choose_threshold, min_calibration_rows

NONE = np.empty(0)  # test scores, for the rules that do not use them


@pytest.mark.parametrize(("n", "fpr"), [(99, 0.01), (150, 0.01), (500, 0.05), (37, 0.1)])
def test_auto_flags_exactly_the_small_p_values(n: int, fpr: float) -> None:
    rng = np.random.default_rng(n)
    calibration, scores = rng.normal(size=n), rng.normal(1, 2, size=1000)
    threshold = choose_threshold("auto", Calibration(calibration), scores, fpr)
    np.testing.assert_array_equal(scores > threshold.value, p_values(calibration, scores) <= fpr + 1e-12)
    assert (threshold.target_fpr, threshold.guaranteed, threshold.warning) == (fpr, True, None)


def test_auto_holds_its_rate_and_its_interval_over_draws() -> None:
    # 2,000 draws of calibration rows: the mean rate is k / (n + 1), and 95 % lie in the Beta interval it states.
    rng, n, fpr = np.random.default_rng(0), 200, 0.05
    rates = []
    for _ in range(2000):
        threshold = choose_threshold("auto", Calibration(rng.uniform(size=n)), NONE, fpr)
        rates.append(1 - threshold.value)  # of uniform scores, the share above it
    assert np.mean(rates) == pytest.approx(10 / 201, abs=0.001)
    low, high = stated_interval(threshold.promise)
    assert np.mean([low <= rate <= high for rate in rates]) == pytest.approx(0.95, abs=0.02)


def stated_interval(promise: str) -> tuple[float, float]:
    low, high = re.findall(r"([\d.]+)%", promise)[-2:]
    return float(low) / 100, float(high) / 100


def test_auto_warns_about_too_few_rows() -> None:
    threshold = choose_threshold("auto", Calibration(np.arange(18.0)), NONE)
    assert threshold.value == 17
    assert threshold.target_fpr == pytest.approx(1 / 19)
    assert "18 calibration rows can't hold a false-positive rate of 1.00%: that takes 99" in threshold.warning


@pytest.mark.parametrize("rule", ["auto", "fdr"])
def test_what_guarantees_nothing_says_why(rule: str) -> None:
    scores = np.arange(500.0)
    assert choose_threshold(rule, Calibration(scores), scores).guaranteed
    for calibration, why in [
        (Calibration(scores, held_out=False, folds=5), "since the 500 calibration scores are of 5 other models"),
        (Calibration(scores, clean=False), "since there are anomalies among the calibration rows"),
    ]:
        threshold = choose_threshold(rule, calibration, scores)
        assert not threshold.guaranteed
        assert f"not guaranteed, {why}" in threshold.promise


@pytest.mark.parametrize("method", ["bh", "storey"])
def test_fdr_flags_as_the_procedure_does(method: FdrMethod) -> None:
    rng = np.random.default_rng(0)
    calibration, test = rng.normal(size=300), rng.normal(np.repeat([0, 3], [300, 100]))
    threshold = choose_threshold("fdr", Calibration(calibration), test, fdr=0.2, fdr_method=method)
    expected = flagged_by_fdr(calibration, test, 0.2, method)
    np.testing.assert_array_equal(test > threshold.value, expected)
    assert 50 < expected.sum() < 400
    assert (threshold.target_fdr, threshold.warning) == (0.2, None)
    assert (threshold.normal_share is None) == (method == "bh")


def test_fdr_warns_about_too_few_rows_if_none_is_flagged() -> None:
    calibration, test = np.arange(99.0), np.append(np.arange(999) / 10, 1000.0)
    threshold = choose_threshold("fdr", Calibration(calibration), test, fdr=0.1, fdr_method="bh")
    assert not (test > threshold.value).any()
    assert "with 99 calibration rows, threshold=fdr can flag 100 of 1,000 test rows or more" in threshold.warning


@pytest.mark.parametrize(
    ("rule", "fpr", "fdr", "n"),
    [
        *[("auto", 0.01, 0.1, 99), ("auto", 0.07, 0.1, 14), ("auto", 1e-6, 0.1, 999_999)],
        *[("fdr", 0.01, 0.1, 999), ("fdr", 0.01, 0.3, 333), ("q0.9", 0.01, 0.1, 10), ("q0.995", 0.01, 0.1, 200)],
    ],
)
def test_as_many_calibration_rows_as_a_rule_needs(rule: str, fpr: float, fdr: float, n: int) -> None:
    assert min_calibration_rows(rule, fpr, fdr) == n
    test = np.append(np.zeros(99), n + 1.0)  # one row in a hundred is abnormal
    enough, too_few = (
        choose_threshold(rule, Calibration(np.arange(float(size))), test, fpr, fdr, fdr_method="bh")
        for size in (n, n - 1)
    )
    assert enough.warning is None
    assert too_few.warning
    assert rule != "fdr" or (test > enough.value).sum() == 1


def test_f1_is_the_best_threshold_and_states_that_it_used_labels() -> None:
    rng = np.random.default_rng(0)
    anomaly = rng.random(200) < 0.2
    scores = np.round(rng.normal(2 * anomaly, 1), 1)  # with ties
    threshold = choose_threshold("f1", Calibration(scores), NONE, dev=(scores, anomaly))
    best = max(f1_score(anomaly, scores > value) for value in [scores.min() - 1, *np.unique(scores)])
    assert f1_score(anomaly, scores > threshold.value) == pytest.approx(best)
    assert "Labels were used" in threshold.promise


def test_quantile_and_number() -> None:
    calibration = np.arange(1000.0)
    assert choose_threshold("q0.995", Calibration(calibration), NONE).value == np.quantile(
        calibration, 0.995, method="higher"
    )
    given = choose_threshold(3.5, Calibration(calibration), NONE)
    assert (given.value, given.target_fpr) == (3.5, None)


def test_degenerate_scores_are_rejected() -> None:
    with pytest.raises(InputError, match=r"2 of 3 calibration scores are NaN"):
        choose_threshold("auto", Calibration(np.array([1, np.nan, np.inf])), NONE)
    with pytest.raises(InputError, match=r"All 50 test scores are 2: .* or they are all the same"):
        check_scores("test", np.full(50, 2.0))


@pytest.mark.parametrize("rule", ["auto", "fdr", "q0.9"])
def test_calibration_rows_that_repeat_let_any_other_row_be_flagged(rule: str) -> None:
    test = np.repeat([0.0, 1e-3], 10)
    threshold = choose_threshold(rule, Calibration(np.zeros(150)), test)
    np.testing.assert_array_equal(test > threshold.value, test > 0)


def test_f1_without_labels_is_rejected() -> None:
    with pytest.raises(InputError, match="without labels use threshold=auto"):
        choose_threshold("f1", Calibration(np.arange(10.0)), NONE)
