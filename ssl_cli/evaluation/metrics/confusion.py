"""Which classes are taken for which. Arrays -> numbers."""

from dataclasses import dataclass

import numpy as np

from ssl_cli.evaluation.metrics.classification import Counts, f1_by_class


@dataclass(frozen=True)
class ByClass:
    """Each class's figures, (K,); 0 where there is nothing to divide by. `support`: how many are of the class."""

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    support: np.ndarray


def confusion(truth: np.ndarray, answer: np.ndarray, classes: int) -> np.ndarray:
    """(N,), (N,) -> counts (K, K): a row each true class, a column each class answered."""
    return np.bincount(truth * classes + answer, minlength=classes * classes).reshape(classes, classes)


def by_class(matrix: np.ndarray) -> ByClass:
    right, support, answered = np.diag(matrix), matrix.sum(1), matrix.sum(0)
    return ByClass(
        right / np.maximum(answered, 1),
        right / np.maximum(support, 1),
        f1_by_class(Counts(support, answered, right)),
        support,
    )


def most_confused(matrix: np.ndarray, most: int) -> list[tuple[int, int, int]]:
    """The commonest mistakes: true class, class answered, how often; the commonest first, in order where equal."""
    mistakes = matrix - np.diag(np.diag(matrix))
    order = np.argsort(-mistakes, axis=None, kind="stable")[:most]
    pairs = [divmod(int(place), len(matrix)) for place in order]
    return [(truth, answer, int(mistakes[truth, answer])) for truth, answer in pairs if mistakes[truth, answer]]
