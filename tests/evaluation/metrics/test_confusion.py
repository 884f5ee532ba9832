"""A class's report is scikit-learn's; the commonest mistakes come first."""

import numpy as np
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from ssl_cli.evaluation.metrics.confusion import by_class, confusion, most_confused


def test_a_class_is_reported_as_by_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth, answer = rng.integers(0, 4, 60), rng.integers(1, 6, 60)  # never answered, never true, neither
    matrix = confusion(truth, answer, 7)
    found = by_class(matrix)
    assert (matrix == confusion_matrix(truth, answer, labels=range(7))).all()
    expected = precision_recall_fscore_support(truth, answer, labels=range(7), zero_division=0)
    np.testing.assert_allclose([found.precision, found.recall, found.f1, found.support], expected)


def test_the_commonest_mistakes_come_first() -> None:
    matrix = np.array([[50, 2, 0], [3, 40, 2], [0, 0, 9]])
    assert most_confused(matrix, 2) == [(1, 0, 3), (0, 1, 2)]
    assert most_confused(matrix, 20) == [(1, 0, 3), (0, 1, 2), (1, 2, 2)]
    assert most_confused(np.diag([5, 6]), 3) == []
