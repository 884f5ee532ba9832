"""Probes of a representation: simple classifiers that predict labels from codes learned without them."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

C_VALUES = (0.001, 0.01, 0.1, 1.0)  # scikit-learn's C: the inverse of the regularization
VALIDATION_SHARE = 0.2  # of the labelled rows, to choose C on
SUBSET_ITERATIONS, FULL_ITERATIONS = 200, 50  # of L-BFGS, on few rows and on all
NEIGHBORS = 5
MIN_CHOICE_ROWS, FEW_C = 50, 0.1  # on fewer rows C is not chosen, but this


@dataclass
class ProbeData:
    """Training and test rows, (N, D) and (M, D) float32, and their labels, (N,) and (M,)."""

    train: np.ndarray
    test: np.ndarray
    train_label: np.ndarray
    test_label: np.ndarray


def stratified_order(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the rows (N,) in a random order whose every prefix has the labels in proportion."""
    place = np.empty(len(labels))
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        place[rows] = (np.arange(len(rows)) + rng.random()) / len(rows)
    return np.argsort(place, kind="stable")


def choose_c(x: np.ndarray, labels: np.ndarray) -> float:
    """Return the C with the best accuracy on the last fifth of rows (N, D), the smallest of equals.

    The rows must be in stratified order.
    """
    n = len(x) - max(1, round(VALIDATION_SHARE * len(x)))
    predictions = [_fit(x[:n], labels[:n], c, SUBSET_ITERATIONS)(x[n:]) for c in C_VALUES]
    return C_VALUES[int(np.argmax([(prediction == labels[n:]).mean() for prediction in predictions]))]


def linear_accuracy(data: ProbeData, rows: np.ndarray, c: float, iterations: int = SUBSET_ITERATIONS) -> float:
    """Return the test accuracy of logistic regression on the standardized training `rows` (n,)."""
    predict = _fit(data.train[rows], data.train_label[rows], c, iterations)
    return float((predict(data.test) == data.test_label).mean())


def few_label_accuracies(data: ProbeData, sizes: Sequence[int], draws: int, seed: int) -> dict[int, np.ndarray]:
    """Return the test accuracy of logistic regression on few training rows, (draws,) for each number of them.

    Each draw has the labels in proportion. Draws are paired: with the same labels and seed, those of other features
    are of the same rows. Numbers of rows that there aren't are left out.
    """
    orders = [stratified_order(data.train_label, np.random.default_rng([seed, 17, k])) for k in range(draws)]
    accuracies = {}
    for n in sizes:
        if n > len(data.train):
            continue
        few = [order[:n] for order in orders]
        strengths = [
            FEW_C if n < MIN_CHOICE_ROWS else choose_c(data.train[rows], data.train_label[rows]) for rows in few
        ]
        accuracies[n] = np.array([linear_accuracy(data, rows, c) for rows, c in zip(few, strengths, strict=True)])
    return accuracies


def knn_accuracy(data: ProbeData, rows: np.ndarray) -> float:
    """Return the test accuracy of a vote of the 5 nearest training `rows` (n,), or of all if there are fewer."""
    classifier = KNeighborsClassifier(min(NEIGHBORS, len(rows)), algorithm="brute")
    classifier.fit(data.train[rows], data.train_label[rows])
    return float((classifier.predict(data.test) == data.test_label).mean())


def _fit(x: np.ndarray, labels: np.ndarray, c: float, iterations: int):  # type: ignore[no-untyped-def]
    """Return `predict` of a logistic regression on rows standardized by their own mean and deviation."""
    if (labels == labels[0]).all():
        return lambda rows: np.full(len(rows), labels[0])
    mean, std = x.mean(0, dtype=np.float64), x.std(0, dtype=np.float64)
    mean, scale = mean.astype(np.float32), np.where(std > 1e-6 * std.max(), std, 1.0).astype(np.float32)
    model = LogisticRegression(C=c, max_iter=iterations, tol=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of iterations is limited on purpose
        model.fit((x - mean) / scale, labels)
    return lambda rows: model.predict((rows - mean) / scale)
