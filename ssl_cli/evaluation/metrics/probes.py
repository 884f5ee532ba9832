"""What a code knows of labels it was not taught: simple classifiers on it. Arrays -> numbers."""

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

STRENGTHS = (0.001, 0.01, 0.1, 1.0)  # scikit-learn's C: the inverse of the regularisation
HELD_OUT = 0.2  # of the labelled rows, to choose C on
FEW, MANY = 200, 50  # iterations of L-BFGS on few rows, and on all
NEIGHBORS = 5


@dataclass
class Features:
    """What a probe sees: training and test rows, (N, D) and (M, D) float32, and their labels, (N,) and (M,)."""

    train: np.ndarray
    test: np.ndarray
    train_label: np.ndarray
    test_label: np.ndarray


def stratified(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The rows in a random order, every beginning of which has each label by its share."""
    place = np.empty(len(labels))
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        place[rows] = (np.arange(len(rows)) + rng.random()) / len(rows)
    return np.argsort(place, kind="stable")


def choose_strength(x: np.ndarray, labels: np.ndarray) -> float:
    """C, the one that does best on the last fifth of rows (N, D) in stratified order; of equals, the smallest."""
    n = len(x) - max(1, round(HELD_OUT * len(x)))
    found = [_fitted(x[:n], labels[:n], strength, FEW)(x[n:]) for strength in STRENGTHS]
    return STRENGTHS[int(np.argmax([(each == labels[n:]).mean() for each in found]))]


def linear_accuracy(data: Features, rows: np.ndarray, strength: float, iterations: int = FEW) -> float:
    """Accuracy on the test rows of logistic regression on the standardised training `rows` (n,)."""
    predict = _fitted(data.train[rows], data.train_label[rows], strength, iterations)
    return float((predict(data.test) == data.test_label).mean())


def neighbor_accuracy(data: Features, rows: np.ndarray) -> float:
    """Accuracy on the test rows of a vote of the 5 nearest training `rows` (n,), fewer where there are fewer."""
    voters = KNeighborsClassifier(min(NEIGHBORS, len(rows)), algorithm="brute")
    voters.fit(data.train[rows], data.train_label[rows])
    return float((voters.predict(data.test) == data.test_label).mean())


def _fitted(x: np.ndarray, labels: np.ndarray, strength: float, iterations: int):  # type: ignore[no-untyped-def]
    """`predict` of a logistic regression on rows standardised by their own mean and deviation."""
    if (labels == labels[0]).all():
        return lambda rows: np.full(len(rows), labels[0])
    mean, std = x.mean(0, dtype=np.float64), x.std(0, dtype=np.float64)
    mean, scale = mean.astype(np.float32), np.where(std > 1e-6 * std.max(), std, 1.0).astype(np.float32)
    model = LogisticRegression(C=strength, max_iter=iterations, tol=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the iterations are capped on purpose
        model.fit((x - mean) / scale, labels)
    return lambda rows: model.predict((rows - mean) / scale)
