"""Figures of answers against scikit-learn's and scipy's, on whole data, on bootstrap_samples, and at the edges."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as reference

from ssl_cli.evaluation.metrics.classification import OF_CLASSES, OF_NUMBERS, ClassScores, NumberScores


@pytest.mark.parametrize("n_classes", [2, 5])
def test_classes_as_scikit_learn(n_classes: int) -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(0, n_classes, 300)
    answer = np.where(rng.random(300) < 0.6, label, rng.integers(0, n_classes, 300))
    names = OF_CLASSES if n_classes == 2 else ("macro_f1", "matthews", "accuracy")
    tally = ClassScores(label, answer, n_classes, names)
    for which in (None, rng.integers(0, 300, 300), np.arange(7)):
        true, said = (label, answer) if which is None else (label[which], answer[which])
        expected = {
            "accuracy": reference.accuracy_score(true, said),
            "macro_f1": reference.f1_score(true, said, average="macro"),
            "matthews": reference.matthews_corrcoef(true, said),
        }
        expected |= {"f1": reference.f1_score(true, said)} if n_classes == 2 else {}
        assert tally.metrics(which) == pytest.approx(expected)
        assert list(tally.metrics(which)) == list(names)


def test_thousands_of_classes_take_no_square_of_them() -> None:
    """A matrix of a million classes would be 8 TB."""
    label = np.array([0, 5, 999_999, 5])
    tally = ClassScores(label, np.array([0, 5, 5, 999_999]), 10**6, ("accuracy", "macro_f1", "matthews"))
    found = tally.metrics(np.array([0, 1, 2, 3]))
    assert found == pytest.approx({"accuracy": 0.5, "macro_f1": 0.5, "matthews": 0.2})


def test_numbers_as_scipy() -> None:
    rng = np.random.default_rng(1)
    label = rng.integers(0, 26, 400) / 5  # with ties, as STS-B has them
    answer = label + rng.normal(size=400).round(1)
    tally = NumberScores(label, answer, OF_NUMBERS)
    for which in (None, rng.integers(0, 400, 400), np.arange(5)):
        true, said = (label, answer) if which is None else (label[which], answer[which])
        expected = {"pearson": stats.pearsonr(true, said)[0], "spearman": stats.spearmanr(true, said)[0]}
        assert tally.metrics(which) == pytest.approx(expected)


def test_constant_answers_are_worth_nothing_and_no_nan() -> None:
    label, constant = np.array([0, 1, 1, 0]), np.ones(4, int)
    assert ClassScores(label, constant, 2, ("matthews",)).metrics() == {"matthews": 0.0}
    assert ClassScores(constant, label, 2, ("matthews",)).metrics() == {"matthews": 0.0}
    assert ClassScores(label, 1 - label, 2, ("f1", "accuracy")).metrics() == {"f1": 0.0, "accuracy": 0.0}
    assert ClassScores(label * 0, label * 0, 2, ("f1",)).metrics() == {"f1": 0.0}
    assert NumberScores(label, np.full(4, 0.1), OF_NUMBERS).metrics() == {"pearson": 0.0, "spearman": 0.0}
    one = NumberScores(label, label, OF_NUMBERS).metrics(np.array([2]))
    assert one == {"pearson": 0.0, "spearman": 0.0}
