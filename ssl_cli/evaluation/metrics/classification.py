"""Answers beside the truth -> figures, quick enough for a bootstrap: of counts and ranks that are made once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

OF_CLASSES = ("accuracy", "f1", "macro_f1", "matthews")
OF_NUMBERS = ("pearson", "spearman")


@dataclass(frozen=True)
class Counts:
    """Of each class, (K,): how often it is the label, how often it is answered, and how often both. All figures follow
    from these: no matrix of K * K, which thousands of classes would make slow."""

    label: np.ndarray
    answer: np.ndarray
    right: np.ndarray


class ClassScores:
    """`label` and `answer` (N,): which of `n_classes`."""

    def __init__(self, label: np.ndarray, answer: np.ndarray, n_classes: int, names: Sequence[str]):
        self.label, self.answer = label.astype(np.int64), answer.astype(np.int64)
        self.n_classes, self.names = n_classes, tuple(names)

    def counts(self, which: np.ndarray | None = None) -> Counts:
        chosen = slice(None) if which is None else which
        label, answer = self.label[chosen], self.answer[chosen]
        listed = (label, answer, label[label == answer])
        return Counts(*(np.bincount(values, minlength=self.n_classes) for values in listed))

    def metrics(self, which: np.ndarray | None = None) -> dict[str, float]:
        counts = self.counts(which)
        return {name: float(FIGURES[name](counts)) for name in self.names}


def accuracy(counts: Counts) -> float:
    return counts.right.sum() / max(counts.label.sum(), 1)


def f1_by_class(counts: Counts) -> np.ndarray:
    """(K,); 0 of a class that neither is nor is answered, as scikit-learn has it"""
    return 2 * counts.right / np.maximum(counts.label + counts.answer, 1)


def f1(counts: Counts) -> float:
    """Of the second of two classes, as GLUE counts MRPC and QQP"""
    return f1_by_class(counts)[1]


def macro_f1(counts: Counts) -> float:
    """The mean over the classes that are or are answered"""
    seen = counts.label + counts.answer > 0
    return f1_by_class(counts)[seen].mean() if seen.any() else 0.0


def matthews(counts: Counts) -> float:
    """Matthews' correlation, of any number of classes (Gorodkin 2004, eq. 8); 0 where all answers, or all labels, are
    the same"""
    label, answer = counts.label.astype(float), counts.answer.astype(float)
    total = label.sum()
    shared = (total**2 - label @ label) * (total**2 - answer @ answer)
    return (counts.right.sum() * total - label @ answer) / np.sqrt(shared) if shared > 0 else 0.0


FIGURES = {"accuracy": accuracy, "f1": f1, "macro_f1": macro_f1, "matthews": matthews}


class NumberScores:
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
