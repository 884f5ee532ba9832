"""Answers beside the truth -> figures. Each function draws one PNG."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import font_manager
from matplotlib.colors import PowerNorm

from ssl_cli.evaluation.plots.curves import ACCENT, MUTED, NORMAL, STYLE, cut, save

MOST_NAMED = 20  # classes whose names, and whose counts in cells, can be read
LONGEST_NAME = 16
# What systems bring for Chinese and its neighbours: matplotlib's own font has none of it.
WIDER_FONTS = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Source Han Sans SC", "WenQuanYi Micro Hei"),
    *("WenQuanYi Zen Hei", "Droid Sans Fallback", "Microsoft YaHei", "SimHei", "PingFang SC", "Hiragino Sans GB"),
    *("Heiti SC", "Arial Unicode MS"),
)


def fonts_for(texts: Sequence[str]) -> list[str] | None:
    """Families that together have every character of the texts; None where this machine has none for one of them."""
    missing = {ord(character) for text in texts for character in text if not character.isspace()}
    families = list[str]()
    for family in ("DejaVu Sans", *WIDER_FONTS):
        has = missing & _characters(family)
        if has or not families:
            families.append(family)
            missing -= has
    return None if missing else families


def _characters(family: str) -> set[int]:
    """What a family can draw; nothing where the machine doesn't have it."""
    try:
        path = font_manager.findfont(family, fallback_to_default=False)
    except ValueError:
        return set()
    return set(font_manager.get_font(path).get_charmap())


def are_named(classes: Sequence[str]) -> bool:
    """Whether a figure can name its classes; else it numbers them from 1."""
    return len(classes) <= MOST_NAMED and fonts_for(classes) is not None


def confusion(path: Path, title: str, matrix: np.ndarray, classes: Sequence[str]) -> None:
    """Counts (K, K), a row each true class, coloured by their share of the row; few classes with the counts."""
    n, support = len(matrix), matrix.sum(1, keepdims=True)
    shares = np.where(support > 0, matrix / np.maximum(support, 1), np.nan)  # a class without examples stays grey
    with plt.rc_context({**STYLE, "font.family": fonts_for(classes) or "sans-serif"}):
        side = np.clip(0.46 * n, 2.6, 6.5)
        figure, axes = plt.subplots(figsize=(side + 2.4, side + 1.3))
        axes.set_facecolor("#e8e8e8")
        faint = PowerNorm(0.5, vmin=0, vmax=1)  # so that a few mistakes among many can be seen
        drawn = axes.imshow(shares, cmap="Blues", norm=faint, interpolation="nearest")
        places, names = _ticks(classes)
        axes.set_xticks(places, names, rotation=90 if sum(map(len, names)) > 10 * side else 0, fontsize=8)
        axes.set_yticks(places, names, fontsize=8)
        if n <= MOST_NAMED:
            _counts(axes, matrix, shares)
        what = "" if are_named(classes) else ", by number"
        axes.set(xlabel=f"answer{what}", ylabel=f"truth{what}", title=title)
        axes.grid(False)
        axes.spines[:].set_visible(False)
        figure.colorbar(drawn, ax=axes, fraction=0.046, pad=0.03, label="share of the true class")
        save(figure, path)


def _ticks(classes: Sequence[str]) -> tuple[list[int], list[str]]:
    """Where an axis of classes is marked, and with what: their names, or their numbers, of many every tenth"""
    if are_named(classes):
        return list(range(len(classes))), [cut(" ".join(name.split()), LONGEST_NAME) for name in classes]
    step = 1 if len(classes) <= MOST_NAMED else 5 if len(classes) <= 60 else 10
    numbers = [1, *range(step, len(classes) + 1, step)] if step > 1 else list(range(1, len(classes) + 1))
    return [number - 1 for number in numbers], [str(number) for number in numbers]


def _counts(axes: plt.Axes, matrix: np.ndarray, shares: np.ndarray) -> None:
    size = 9 if len(matrix) <= 8 else 6.5
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            colour = "white" if shares[row, column] > 0.4 else ACCENT
            axes.text(column, row, f"{count:,}", ha="center", va="center", fontsize=size, color=colour)


def reliability(path: Path, title: str, count: np.ndarray, confidence: np.ndarray, accuracy: np.ndarray) -> None:
    """How often answers are right by how probable the model says they are, in bins (M,), and how many there are."""
    edges, some = np.arange(len(count)) / len(count), count > 0
    with plt.rc_context(STYLE):
        figure, (axes, below) = plt.subplots(2, 1, figsize=(5.2, 5.0), sharex=True, height_ratios=(3, 1))
        width = 1 / len(count)
        axes.bar(
            edges[some], accuracy[some], width, align="edge", color=NORMAL, alpha=0.75, label="share that is right"
        )
        axes.plot(confidence[some], accuracy[some], "o", color=ACCENT, markersize=3.5, label="at its mean probability")
        axes.plot([0, 1], [0, 1], "--", color=MUTED, linewidth=1, label="as often as it says")
        axes.set(ylabel="right", xlim=(0, 1), ylim=(0, 1.02), title=title)
        axes.legend(loc="upper left", fontsize=8)
        below.bar(edges, count / count.sum(), width, align="edge", color=MUTED)
        below.set(xlabel="probability of the answer, by the model", ylabel="share of all")
        below.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        save(figure, path)


def scatter(path: Path, title: str, truth: np.ndarray, answer: np.ndarray) -> None:
    """Numbers (N,) against those they should be (N,)."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(4.6, 4.4))
        low, high = min(truth.min(), answer.min()), max(truth.max(), answer.max())
        edge = 0.04 * (high - low) or 0.5
        ends = (low - edge, high + edge)
        axes.plot(ends, ends, "--", color=MUTED, linewidth=1, label="as it should be")
        alpha = float(np.clip(400 / len(truth), 0.15, 0.7))
        axes.scatter(truth, answer, s=12, color=NORMAL, alpha=alpha, linewidths=0)
        axes.set(xlabel="truth", ylabel="answer", xlim=ends, ylim=ends, title=title)
        axes.legend(loc="upper left", fontsize=8)
        save(figure, path)
