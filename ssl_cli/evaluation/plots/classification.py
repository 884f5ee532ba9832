"""Plots of predictions against the truth: confusion matrix, reliability diagram, scatter plot. One PNG each."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import PowerNorm

from ssl_cli.evaluation.plots.curves import ACCENT, MUTED, NORMAL, STYLE, save, truncate
from ssl_cli.evaluation.plots.fonts import can_draw

MAX_NAMED_CLASSES = 20  # with more classes, neither names nor counts in cells are legible
MAX_NAME_CHARS = 16


def can_show_names(classes: Sequence[str]) -> bool:
    """Return whether a figure can show the classes' names. Otherwise it numbers the classes from 1."""
    return len(classes) <= MAX_NAMED_CLASSES and can_draw(classes)


def confusion_matrix(path: Path, title: str, matrix: np.ndarray, classes: Sequence[str]) -> None:
    """Plot counts (K, K), a row for each true class, coloured by their share of the row.

    Few classes are shown with their counts.
    """
    n, support = len(matrix), matrix.sum(1, keepdims=True)
    shares = np.where(support > 0, matrix / np.maximum(support, 1), np.nan)  # a class without examples stays grey
    with plt.rc_context(STYLE):
        side = np.clip(0.46 * n, 2.6, 6.5)
        figure, axes = plt.subplots(figsize=(side + 2.4, side + 1.3))
        axes.set_facecolor("#e8e8e8")
        norm = PowerNorm(0.5, vmin=0, vmax=1)  # makes a few mistakes among many visible
        image = axes.imshow(shares, cmap="Blues", norm=norm, interpolation="nearest")
        places, names = _ticks(classes)
        axes.set_xticks(places, names, rotation=90 if sum(map(len, names)) > 10 * side else 0, fontsize=8)
        axes.set_yticks(places, names, fontsize=8)
        if n <= MAX_NAMED_CLASSES:
            _write_counts(axes, matrix, shares)
        suffix = "" if can_show_names(classes) else ", by number"
        axes.set(xlabel=f"prediction{suffix}", ylabel=f"truth{suffix}", title=title)
        axes.grid(False)
        axes.spines[:].set_visible(False)
        figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03, label="share of the true class")
        save(figure, path)


def _ticks(classes: Sequence[str]) -> tuple[list[int], list[str]]:
    """Return the places and labels of ticks: the classes' names, or their numbers, spaced if there are many."""
    if can_show_names(classes):
        return list(range(len(classes))), [truncate(" ".join(name.split()), MAX_NAME_CHARS) for name in classes]
    step = 1 if len(classes) <= MAX_NAMED_CLASSES else 5 if len(classes) <= 60 else 10
    numbers = [1, *range(step, len(classes) + 1, step)] if step > 1 else list(range(1, len(classes) + 1))
    return [number - 1 for number in numbers], [str(number) for number in numbers]


def _write_counts(axes: plt.Axes, matrix: np.ndarray, shares: np.ndarray) -> None:
    size = 9 if len(matrix) <= 8 else 6.5
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            colour = "white" if shares[row, column] > 0.4 else ACCENT
            axes.text(column, row, f"{count:,}", ha="center", va="center", fontsize=size, color=colour)


def reliability(path: Path, title: str, count: np.ndarray, confidence: np.ndarray, accuracy: np.ndarray) -> None:
    """Plot accuracy against confidence in bins (M,), and the number of predictions in each bin."""
    edges, filled = np.arange(len(count)) / len(count), count > 0
    with plt.rc_context(STYLE):
        figure, (axes, below) = plt.subplots(2, 1, figsize=(5.2, 5.0), sharex=True, height_ratios=(3, 1))
        width = 1 / len(count)
        axes.bar(edges[filled], accuracy[filled], width, align="edge", color=NORMAL, alpha=0.75, label="share correct")
        axes.plot(confidence[filled], accuracy[filled], "o", color=ACCENT, markersize=3.5, label="at mean probability")
        axes.plot([0, 1], [0, 1], "--", color=MUTED, linewidth=1, label="perfect calibration")
        axes.set(ylabel="correct", xlim=(0, 1), ylim=(0, 1.02), title=title)
        axes.legend(loc="upper left", fontsize=8)
        below.bar(edges, count / count.sum(), width, align="edge", color=MUTED)
        below.set(xlabel="predicted probability", ylabel="share of all")
        below.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        save(figure, path)


def scatter(path: Path, title: str, truth: np.ndarray, prediction: np.ndarray) -> None:
    """Plot predicted numbers (N,) against the true ones (N,)."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(4.6, 4.4))
        low, high = min(truth.min(), prediction.min()), max(truth.max(), prediction.max())
        margin = 0.04 * (high - low) or 0.5
        limits = (low - margin, high + margin)
        axes.plot(limits, limits, "--", color=MUTED, linewidth=1, label="prediction = truth")
        alpha = float(np.clip(400 / len(truth), 0.15, 0.7))
        axes.scatter(truth, prediction, s=12, color=NORMAL, alpha=alpha, linewidths=0)
        axes.set(xlabel="truth", ylabel="prediction", xlim=limits, ylim=limits, title=title)
        axes.legend(loc="upper left", fontsize=8)
        save(figure, path)
