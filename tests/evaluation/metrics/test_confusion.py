"""Per-class metrics equal scikit-learn's; the most frequent mistakes come first."""

import numpy as np
from sklearn import metrics as reference

from ssl_cli.evaluation.metrics.confusion import confusion_matrix, most_confused, per_class_metrics


def test_per_class_metrics_equal_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    truth, prediction = rng.integers(0, 4, 60), rng.integers(1, 6, 60)  # never predicted, never true, neither
    matrix = confusion_matrix(truth, prediction, 7)
    metrics = per_class_metrics(matrix)
    assert (matrix == reference.confusion_matrix(truth, prediction, labels=range(7))).all()
    expected = reference.precision_recall_fscore_support(truth, prediction, labels=range(7), zero_division=0)
    np.testing.assert_allclose([metrics.precision, metrics.recall, metrics.f1, metrics.support], expected)


def test_the_most_frequent_mistakes_come_first() -> None:
    matrix = np.array([[50, 2, 0], [3, 40, 2], [0, 0, 9]])
    assert most_confused(matrix, 2) == [(1, 0, 3), (0, 1, 2)]
    assert most_confused(matrix, 20) == [(1, 0, 3), (0, 1, 2), (1, 2, 2)]
    assert most_confused(np.diag([5, 6]), 3) == []
