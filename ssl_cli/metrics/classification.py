"""Answers beside the truth -> figures, quick enough for a bootstrap: of counts and ranks that are made once."""

from collections.abc import Sequence

import numpy as np

OF_CLASSES = ("accuracy", "f1", "macro_f1", "matthews")
OF_NUMBERS = ("pearson", "spearman")


class ClassTally:
    """`label` and `answer` (N,): which of `n_classes`. All figures follow from the confusion matrix."""

    def __init__(self, label: np.ndarray, answer: np.ndarray, n_classes: int, names: Sequence[str]):
        self.n_classes, self.names = n_classes, tuple(names)
        self.cell = label.astype(np.int64) * n_classes + answer  # (N,)

    def confusion(self, which: np.ndarray | None = None) -> np.ndarray:
        """(classes, classes) counts: the truth down, the answers across"""
        cell = self.cell if which is None else self.cell[which]
        return np.bincount(cell, minlength=self.n_classes**2).reshape(self.n_classes, self.n_classes)

    def metrics(self, which: np.ndarray | None = None) -> dict[str, float]:
        confusion = self.confusion(which)
        return {name: float(FIGURES[name](confusion)) for name in self.names}


def accuracy(confusion: np.ndarray) -> float:
    return np.trace(confusion) / max(confusion.sum(), 1)


def f1_by_class(confusion: np.ndarray) -> np.ndarray:
    """(classes,); 0 of a class that neither is nor is answered, as scikit-learn has it"""
    total = confusion.sum(0) + confusion.sum(1)
    return 2 * np.diag(confusion) / np.maximum(total, 1)


def f1(confusion: np.ndarray) -> float:
    """Of the second of two classes, as GLUE counts MRPC and QQP"""
    return f1_by_class(confusion)[1]


def macro_f1(confusion: np.ndarray) -> float:
    """The mean over the classes that are or are answered"""
    seen = confusion.sum(0) + confusion.sum(1) > 0
    return f1_by_class(confusion)[seen].mean() if seen.any() else 0.0


def matthews(confusion: np.ndarray) -> float:
    """Matthews' correlation, of any number of classes (Gorodkin 2004, eq. 8); 0 where all answers, or all labels, are
    the same"""
    counts = confusion.astype(float)
    total, label, answer = counts.sum(), counts.sum(1), counts.sum(0)
    shared = (total**2 - label @ label) * (total**2 - answer @ answer)
    return (np.trace(counts) * total - label @ answer) / np.sqrt(shared) if shared > 0 else 0.0


FIGURES = {"accuracy": accuracy, "f1": f1, "macro_f1": macro_f1, "matthews": matthews}


class NumberTally:
    """`label` and `answer` (N,) numbers."""

    def __init__(self, label: np.ndarray, answer: np.ndarray, names: Sequence[str]):
        self.label, self.answer, self.names = label.astype(float), answer.astype(float), tuple(names)
        # Each number's place among the distinct ones: sorting is done once, not for each resample.
        self.levels = [np.unique(values, return_inverse=True)[1] for values in (self.label, self.answer)]

    def metrics(self, which: np.ndarray | None = None) -> dict[str, float]:
        chosen = slice(None) if which is None else which
        found = {}
        if "pearson" in self.names:
            found["pearson"] = pearson(self.label[chosen], self.answer[chosen])
        if "spearman" in self.names:
            label, answer = (_ranks(levels[chosen]) for levels in self.levels)
            found["spearman"] = pearson(label, answer)
        return {name: found[name] for name in self.names}


def pearson(label: np.ndarray, answer: np.ndarray) -> float:
    """Pearson's correlation; 0 where all answers, or all labels, are the same"""
    if len(label) < 2 or np.ptp(label) == 0 or np.ptp(answer) == 0:
        return 0.0
    label, answer = label - label.mean(), answer - answer.mean()
    shared = np.sqrt(label @ label) * np.sqrt(answer @ answer)
    return float(label @ answer / shared) if shared > 0 else 0.0


def _ranks(levels: np.ndarray) -> np.ndarray:
    """(N,) places among distinct values -> (N,) ranks; equal ones share the mean of theirs"""
    counts = np.bincount(levels)
    return (np.cumsum(counts) - (counts - 1) / 2)[levels]
