"""Confusion matrix, and the metrics of each class that follow from it."""

from dataclasses import dataclass

import numpy as np

from ssl_cli.evaluation.metrics.classification import ClassCounts, f1_by_class


@dataclass(frozen=True)
class PerClassMetrics:
    """Metrics of each class, (K,); 0 if the divisor is 0. `support` is the number of examples of the class."""

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    support: np.ndarray


def confusion_matrix(truth: np.ndarray, prediction: np.ndarray, n_classes: int) -> np.ndarray:
    """Return counts (K, K) of class indices (N,) and (N,): a row for each true class, a column for each predicted."""
    return np.bincount(truth * n_classes + prediction, minlength=n_classes * n_classes).reshape(n_classes, n_classes)


def per_class_metrics(matrix: np.ndarray) -> PerClassMetrics:
    """Return the metrics of each class from a confusion matrix (K, K)."""
    correct, support, predicted = np.diag(matrix), matrix.sum(1), matrix.sum(0)
    return PerClassMetrics(
        correct / np.maximum(predicted, 1),
        correct / np.maximum(support, 1),
        f1_by_class(ClassCounts(support, predicted, correct)),
        support,
    )


def most_confused(matrix: np.ndarray, n: int) -> list[tuple[int, int, int]]:
    """Return the `n` most frequent mistakes as (true class, predicted class, count), the most frequent first."""
    mistakes = matrix - np.diag(np.diag(matrix))
    order = np.argsort(-mistakes, axis=None, kind="stable")[:n]
    pairs = [divmod(int(index), len(matrix)) for index in order]
    return [
        (truth, predicted, int(mistakes[truth, predicted])) for truth, predicted in pairs if mistakes[truth, predicted]
    ]
