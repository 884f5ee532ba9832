"""Plots of scores, metrics and training histories. Each function draws one PNG."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import MaxNLocator, PercentFormatter

from ssl_cli.evaluation.plots.fonts import fitting_fonts
from ssl_cli.evaluation.plots.ticks import set_plain_ticks

Panels = dict[str, dict[str, dict[float, list[float]]]]  # panel -> line -> x -> values

MAX_INSIDE = 4  # lines in a legend that stands inside the axes
NORMAL, ANOMALOUS, ACCENT, MUTED = "#3b7dd8", "#d9483b", "#222222", "#9a9a9a"
STYLE: Any = {
    "figure.figsize": (5.2, 3.9),
    "figure.dpi": 130,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.axisbelow": True,
    "legend.frameon": True,
    "legend.edgecolor": "none",
    "legend.framealpha": 0.8,
    "font.size": 10,
}


def roc(path: Path, fpr: np.ndarray, recall: np.ndarray, auroc: str, at: tuple[float, float], threshold: str) -> None:
    """Plot the ROC curve of `fpr` and `recall` (L,) at every threshold, with the chosen threshold at the point `at`.

    `auroc` and `threshold` are legend texts.
    """
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots()
        axes.plot(np.r_[0, fpr, 1], np.r_[0, recall, 1], color=NORMAL, label=f"AUROC {auroc}")
        axes.plot([0, 1], [0, 1], "--", color=MUTED, linewidth=1, label="chance 0.5")
        axes.plot(*at, "o", color=ANOMALOUS, label=f"threshold {threshold}")
        axes.set(xlabel="false-positive rate", ylabel="recall", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), title="ROC")
        axes.legend(loc="lower right")
        save(figure, path)


def precision_recall(
    path: Path,
    recall: np.ndarray,
    precision: np.ndarray,
    auprc: str,
    at: tuple[float, float],
    threshold: str,
    share: float,
) -> None:
    """Plot `precision` against `recall` (L,) at every threshold.

    `share` is the share of anomalies, which is the precision of chance.
    """
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots()
        axes.plot(recall, precision, color=NORMAL, label=f"AUPRC {auprc}", drawstyle="steps-post")
        axes.axhline(share, linestyle="--", color=MUTED, linewidth=1, label=f"chance {share:.3g}")
        axes.plot(*at, "o", color=ANOMALOUS, label=f"threshold {threshold}")
        axes.set(
            xlabel="recall", ylabel="precision", xlim=(-0.02, 1.02), ylim=(-0.02, 1.05), title="Precision and recall"
        )
        axes.legend(loc="lower left")
        save(figure, path)


def score_histograms(path: Path, groups: dict[str, np.ndarray], threshold: float) -> None:
    """Plot the scores (N,) of each group, as shares of the group, with the threshold.

    The score axis is logarithmic if all scores are positive, else symmetric-logarithmic about zero.
    """
    scores = np.concatenate(list(groups.values()))
    # A threshold far from all scores is drawn at the edge: its number is in the legend.
    low, high, span = scores.min(), scores.max(), np.ptp(scores)
    drawn = np.clip(threshold, low / 10, high * 10) if low > 0 else np.clip(threshold, low - span, high + span)
    scores = np.append(scores, drawn)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots()
        bins = _log_bins(scores) if (scores > 0).all() else _symlog_bins(scores, axes)
        if (scores > 0).all():
            axes.set_xscale("log")
        set_plain_ticks(axes.xaxis, float(scores.min()), float(scores.max()))
        for (name, values), colour in zip(groups.items(), (NORMAL, ANOMALOUS), strict=False):
            weights = np.full(len(values), 1 / max(len(values), 1))
            axes.hist(values, list(bins), weights=weights, color=colour, alpha=0.55, label=f"{name} ({len(values):,})")
        axes.axvline(drawn, color=ACCENT, linewidth=1.2, label=f"threshold {threshold:.4g}")
        axes.set(xlabel="score (larger is more anomalous)", ylabel="share of the group", title="Scores")
        # Below the axes it hides neither bars nor the threshold.
        axes.legend(loc="upper center", bbox_to_anchor=(0.45, -0.16), ncols=3, columnspacing=1.2, handlelength=1.4)
        save(figure, path)


def _log_bins(scores: np.ndarray) -> np.ndarray:
    return np.geomspace(scores.min(), scores.max() * 1.001, 60)


def _symlog_bins(scores: np.ndarray, axes: plt.Axes) -> np.ndarray:
    """Return bins of even width on a scale that is linear up to the median absolute score and logarithmic beyond."""
    linear = max(float(np.quantile(np.abs(scores), 0.5)), 1e-12)
    axes.set_xscale("symlog", linthresh=linear)
    low, high = np.arcsinh(scores.min() / linear), np.arcsinh(scores.max() / linear)
    return np.sinh(np.linspace(low, high + 1e-3 * (high - low), 60)) * linear


def contributions(path: Path, rows: list[tuple[str, list[tuple[str, float]]]]) -> None:
    """Plot for each row its title, and bars of its feature contributions: shares (0 to 1) of the row's score."""
    titles, labels, shares, y = [], [], [], 0.0
    for title, features in rows:
        titles.append((y, title))
        for text, share in features:
            y += 1
            labels.append((y, text))
            shares.append(share)
        y += 1.6
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(7.6, 0.9 + 0.21 * y))
        axes.barh([place for place, _ in labels], shares, height=0.7, color=ANOMALOUS, alpha=0.7)
        for (place, _), share in zip(labels, shares, strict=True):
            axes.text(share + 0.01 * max(shares), place, f"{share:.0%}", va="center", fontsize=8)
        ticks = sorted(titles + labels)
        axes.set_yticks([place for place, _ in ticks], [truncate(text, 70) for _, text in ticks], fontsize=8)
        for tick_label, tick in zip(axes.get_yticklabels(), ticks, strict=True):
            tick_label.set_fontweight("bold" if tick in titles else "normal")
        longest = max(shares, default=1.0)
        axes.set(xlim=(0, longest), ylim=(y - 0.9, -0.8), xlabel="share of the row's anomaly score")
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.set_title("Top anomalies and their explanations", loc="left")
        axes.tick_params(axis="y", length=0)
        axes.grid(False, axis="y")
        save(figure, path)


def truncate(text: str, max_chars: int) -> str:
    """Return a text of at most `max_chars` characters for a figure."""
    # A dollar sign would start a formula.
    text = text.replace("$", r"\$")
    return text if len(text) <= max_chars else text[: max_chars - 1] + "…"


def training_curves(path: Path, history: list[dict[str, float]], title: str = "Training") -> None:
    """Plot training and validation loss over steps, from the rows of history.csv."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots()
        for name, colour, label in (("train/loss", NORMAL, "training"), ("val/loss", ANOMALOUS, "validation")):
            points = [(row["step"], row[name]) for row in history if name in row]
            if points:
                axes.plot(
                    *zip(*points, strict=True), color=colour, label=label, marker="." if len(points) < 40 else None
                )
        values = [row[name] for row in history for name in ("train/loss", "val/loss") if name in row]
        if values and 0 < 10 * min(values) < max(values):
            axes.set_yscale("log")
        axes.set(xlabel="optimizer step", ylabel="loss", title=title)
        axes.legend()
        save(figure, path)


def history_panels(
    path: Path,
    title: str,
    history: list[dict[str, float]],
    panels: dict[str, list[str]],
    marked: tuple[float, str] | None = None,
) -> None:
    """Plot columns of history.csv over steps: a panel for each y-axis label, a line for each of its columns.

    `marked` is a step to mark, and its label.
    """
    points = {
        label: {name: [(row["step"], row[name]) for row in history if name in row] for name in names}
        for label, names in panels.items()
    }
    lines_of = {label: {name: line for name, line in lines.items() if line} for label, lines in points.items()}
    lines_of = {label: lines for label, lines in lines_of.items() if lines}
    across = min(3, len(lines_of))
    down = -(-len(lines_of) // across)
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(down, across, figsize=(3.9 * across, 2.9 * down), squeeze=False)
        for axes, (label, lines) in zip(grid.flat, lines_of.items(), strict=False):
            for (name, line), colour in zip(lines.items(), (NORMAL, ANOMALOUS), strict=False):
                axes.plot(*zip(*line, strict=True), color=colour, label=name, marker="." if len(line) < 40 else None)
            axes.set(xlabel="optimizer step", ylabel=label)
            if marked:
                axes.axvline(marked[0], linestyle="--", color=MUTED, linewidth=1, label=marked[1])
            if len(lines) > 1 or marked:
                axes.legend(fontsize=8)
        for axes in list(grid.flat)[len(lines_of) :]:
            axes.set_axis_off()
        figure.suptitle(title)
        save(figure, path)


def sweep(path: Path, panels: Panels, axis: str, metric: str) -> None:
    """Plot a metric against a number that varied: the mean of the values at each x, and a band of their range."""
    xs = sorted({x for lines in panels.values() for points in lines.values() for x in points})
    with plt.rc_context(STYLE):
        width, height = STYLE["figure.figsize"]
        figure, grid = plt.subplots(1, len(panels), figsize=(width * len(panels), height), squeeze=False, sharey=True)
        for axes, (title, lines) in zip(grid[0], panels.items(), strict=True):
            for name, points in lines.items():
                _mean_and_range(axes, points, name, marker="o")
            smallest = min(abs(x) for x in xs if x != 0)
            if max(map(abs, xs)) > 20 * smallest:
                axes.set_xscale("symlog", linthresh=smallest, linscale=0.5)
                axes.set_xticks(xs, [f"{x:g}" for x in xs])
                axes.minorticks_off()
            axes.set(xlabel=axis, title=title)
            if any(lines):
                _legend(axes)
        grid[0][0].set_ylabel(metric)
        save(figure, path)


def learning_curves(path: Path, columns: dict[str, Panels]) -> None:
    """Plot curves over steps for each initialization, in a column of panels for each task, three columns side by side.

    A column has a panel for each y-axis label, and a panel a line for each initialization: the mean of the values at
    each step, and a band of their range.
    """
    across, down = min(3, len(columns)), max(map(len, columns.values()))
    bands = -(-len(columns) // across)
    names = dict.fromkeys(name for panels in columns.values() for lines in panels.values() for name in lines)
    colours = dict(zip(names, (f"C{k}" for k in range(len(names))), strict=True))  # the same in all panels
    with plt.rc_context(STYLE):
        size = (4.4 * across, 3.1 * down * bands)
        figure, grid = plt.subplots(down * bands, across, figsize=size, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        for k, (title, panels) in enumerate(columns.items()):
            for row, (label, lines) in enumerate(panels.items()):
                axes = grid[k // across * down + row, k % across]
                axes.set_axis_on()
                for name, points in lines.items():
                    _mean_and_range(axes, points, truncate(name, 50), marker=".", color=colours[name])
                axes.set(xlabel="optimizer step", ylabel=label, title="" if row else title)
                axes.xaxis.get_major_locator().set_params(integer=True)
                if not row:
                    _legend(axes)
        save(figure, path)


def _legend(axes: plt.Axes) -> None:
    """Draw the legend: inside, or of many lines above the axes, where it hides none of them."""
    lines = axes.get_legend_handles_labels()[1]
    if len(lines) <= MAX_INSIDE:
        axes.legend(fontsize=8)
        return
    title = axes.get_title()
    axes.set_title("")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), fontsize=8, title=title or None)


def _mean_and_range(axes: plt.Axes, points: dict[float, list[float]], name: str, **style: Any) -> None:
    """Plot a line through the mean of the values at each x, and a band from the smallest to the largest."""
    x = sorted(points)
    (line,) = axes.plot(x, [np.mean(points[at]) for at in x], markersize=4, label=name, **style)
    low, high = [min(points[at]) for at in x], [max(points[at]) for at in x]
    axes.fill_between(x, low, high, color=line.get_color(), alpha=0.15)


def save(figure: plt.Figure, path: Path) -> None:
    """Write a figure to a file and close it."""
    with fitting_fonts(figure):
        figure.tight_layout()
        figure.savefig(path)
    plt.close(figure)
