"""Metrics of classification and regression, from counts and ranks that make thousands of bootstrap samples fast."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CLASSIFICATION_METRICS = ("accuracy", "f1", "macro_f1", "matthews")
REGRESSION_METRICS = ("pearson", "spearman")


@dataclass(frozen=True)
class ClassCounts:
    """Counts of each class, (K,): as label, as prediction, and as both (a correct prediction).

    All metrics follow from these. No K x K matrix is needed, which would be slow for thousands of classes.
    """

    label: np.ndarray
    predicted: np.ndarray
    correct: np.ndarray


class ClassScores:
    """Classification metrics `names` of class indices `label` and `prediction` (N,)."""

    def __init__(self, label: np.ndarray, prediction: np.ndarray, n_classes: int, names: Sequence[str]):
        self.label, self.prediction = label.astype(np.int64), prediction.astype(np.int64)
        self.n_classes, self.names = n_classes, tuple(names)

    def counts(self, index: np.ndarray | None = None) -> ClassCounts:
        """Return the counts of all examples, or of those at `index`."""
        chosen = slice(None) if index is None else index
        label, prediction = self.label[chosen], self.prediction[chosen]
        groups = (label, prediction, label[label == prediction])
        return ClassCounts(*(np.bincount(group, minlength=self.n_classes) for group in groups))

    def metrics(self, index: np.ndarray | None = None) -> dict[str, float]:
        """Return the metrics of all examples, or of those at `index`."""
        counts = self.counts(index)
        return {name: float(METRICS[name](counts)) for name in self.names}


def accuracy(counts: ClassCounts) -> float:
    """Return the share of correct predictions."""
    return counts.correct.sum() / max(counts.label.sum(), 1)


def f1_by_class(counts: ClassCounts) -> np.ndarray:
    """Return each class's F1, (K,); 0 for a class that is neither a label nor predicted, as in scikit-learn."""
    return 2 * counts.correct / np.maximum(counts.label + counts.predicted, 1)


def f1(counts: ClassCounts) -> float:
    """Return F1 of the second of two classes, as GLUE scores MRPC and QQP."""
    return f1_by_class(counts)[1]


def macro_f1(counts: ClassCounts) -> float:
    """Return the mean F1 of the classes that are a label or predicted."""
    occurs = counts.label + counts.predicted > 0
    return f1_by_class(counts)[occurs].mean() if occurs.any() else 0.0


def matthews(counts: ClassCounts) -> float:
    """Return Matthews' correlation for any number of classes (Gorodkin 2004, eq. 8).

    It is 0 if all predictions, or all labels, are the same.
    """
    label, predicted = counts.label.astype(float), counts.predicted.astype(float)
    total = label.sum()
    variances = (total**2 - label @ label) * (total**2 - predicted @ predicted)
    return (counts.correct.sum() * total - label @ predicted) / np.sqrt(variances) if variances > 0 else 0.0


METRICS = {"accuracy": accuracy, "f1": f1, "macro_f1": macro_f1, "matthews": matthews}


class NumberScores:
    """Regression metrics `names` of numbers `label` and `prediction` (N,)."""

    def __init__(self, label: np.ndarray, prediction: np.ndarray, names: Sequence[str]):
        self.label, self.prediction, self.names = label.astype(float), prediction.astype(float), tuple(names)
        # The index of each number among the distinct ones: sorted once, not for each bootstrap sample.
        self.levels = [np.unique(values, return_inverse=True)[1] for values in (self.label, self.prediction)]

    def metrics(self, index: np.ndarray | None = None) -> dict[str, float]:
        """Return the metrics of all examples, or of those at `index`."""
        chosen = slice(None) if index is None else index
        values = {}
        if "pearson" in self.names:
            values["pearson"] = pearson(self.label[chosen], self.prediction[chosen])
        if "spearman" in self.names:
            label, prediction = (_ranks(levels[chosen]) for levels in self.levels)
            values["spearman"] = pearson(label, prediction)
        return {name: values[name] for name in self.names}


def pearson(label: np.ndarray, prediction: np.ndarray) -> float:
    """Return Pearson's correlation; 0 if all predictions, or all labels, are the same."""
    if len(label) < 2 or np.ptp(label) == 0 or np.ptp(prediction) == 0:
        return 0.0
    label, prediction = label - label.mean(), prediction - prediction.mean()
    norm = np.sqrt(label @ label) * np.sqrt(prediction @ prediction)
    return float(label @ prediction / norm) if norm > 0 else 0.0


def _ranks(levels: np.ndarray) -> np.ndarray:
    """Return ranks (N,) of indices among distinct values (N,); equal values share their mean rank."""
    counts = np.bincount(levels)
    return (np.cumsum(counts) - (counts - 1) / 2)[levels]
