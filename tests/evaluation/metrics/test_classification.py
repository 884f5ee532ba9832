"""Metrics equal scikit-learn's and scipy's, on all examples, on bootstrap samples and in edge cases."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as reference

from ssl_cli.evaluation.metrics.classification import (
    CLASSIFICATION_METRICS,
    REGRESSION_METRICS,
    ClassScores,
    NumberScores,
)


@pytest.mark.parametrize("n_classes", [2, 5])
def test_classification_metrics_equal_scikit_learns(n_classes: int) -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(0, n_classes, 300)
    prediction = np.where(rng.random(300) < 0.6, label, rng.integers(0, n_classes, 300))
    names = CLASSIFICATION_METRICS if n_classes == 2 else ("macro_f1", "matthews", "accuracy")
    scores = ClassScores(label, prediction, n_classes, names)
    for index in (None, rng.integers(0, 300, 300), np.arange(7)):
        true, predicted = (label, prediction) if index is None else (label[index], prediction[index])
        expected = {
            "accuracy": reference.accuracy_score(true, predicted),
            "macro_f1": reference.f1_score(true, predicted, average="macro"),
            "matthews": reference.matthews_corrcoef(true, predicted),
        }
        expected |= {"f1": reference.f1_score(true, predicted)} if n_classes == 2 else {}
        assert scores.metrics(index) == pytest.approx(expected)
        assert list(scores.metrics(index)) == list(names)


def test_many_classes_need_no_square_matrix() -> None:
    """A matrix of a million classes would be 8 TB."""
    label = np.array([0, 5, 999_999, 5])
    scores = ClassScores(label, np.array([0, 5, 5, 999_999]), 10**6, ("accuracy", "macro_f1", "matthews"))
    found = scores.metrics(np.array([0, 1, 2, 3]))
    assert found == pytest.approx({"accuracy": 0.5, "macro_f1": 0.5, "matthews": 0.2})


def test_regression_metrics_equal_scipys() -> None:
    rng = np.random.default_rng(1)
    label = rng.integers(0, 26, 400) / 5  # with ties, as STS-B has them
    prediction = label + rng.normal(size=400).round(1)
    scores = NumberScores(label, prediction, REGRESSION_METRICS)
    for index in (None, rng.integers(0, 400, 400), np.arange(5)):
        true, predicted = (label, prediction) if index is None else (label[index], prediction[index])
        expected = {"pearson": stats.pearsonr(true, predicted)[0], "spearman": stats.spearmanr(true, predicted)[0]}
        assert scores.metrics(index) == pytest.approx(expected)


def test_constant_predictions_score_zero_and_not_nan() -> None:
    label, constant = np.array([0, 1, 1, 0]), np.ones(4, int)
    assert ClassScores(label, constant, 2, ("matthews",)).metrics() == {"matthews": 0.0}
    assert ClassScores(constant, label, 2, ("matthews",)).metrics() == {"matthews": 0.0}
    assert ClassScores(label, 1 - label, 2, ("f1", "accuracy")).metrics() == {"f1": 0.0, "accuracy": 0.0}
    assert ClassScores(label * 0, label * 0, 2, ("f1",)).metrics() == {"f1": 0.0}
    assert NumberScores(label, np.full(4, 0.1), REGRESSION_METRICS).metrics() == {"pearson": 0.0, "spearman": 0.0}
    one = NumberScores(label, label, REGRESSION_METRICS).metrics(np.array([2]))
    assert one == {"pearson": 0.0, "spearman": 0.0}
