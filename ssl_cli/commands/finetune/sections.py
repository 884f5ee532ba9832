"""Report sections shared by all tasks: per-class metrics, calibration and mistakes, as files and on the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ssl_cli.evaluation.html import Block, Figure, Note, PageTable, Passage, Section, format_number
from ssl_cli.evaluation.metrics.bootstrap import bootstrap_intervals
from ssl_cli.evaluation.metrics.calibration import reliability
from ssl_cli.evaluation.metrics.confusion import PerClassMetrics, confusion_matrix, most_confused, per_class_metrics
from ssl_cli.evaluation.plots import classification
from ssl_cli.runs.csv_files import write_csv
from ssl_cli.tasks.task import Prediction, Scores

MAX_MISTAKES = 20
MAX_CLASSES = 1000  # more classes have no per-class metrics
MAX_CELL_CHARS = 300  # characters of a text in a table of the page
COLOURS = "Right predictions are green, wrong ones red."
SINGULAR = {"classes": "class", "tags": "tag"}
UNDEFINED = Note("Undefined ratios are 0; support is the number of examples of the class.")


@dataclass(frozen=True)
class Intervals:
    """How the 95 % intervals of metrics are computed: by so many bootstrap samples of the examples."""

    bootstrap_samples: int
    seed: int

    def beside(self, scores: Scores, n: int) -> dict[str, float]:
        """Return the metrics of n examples, each followed by the bounds of its interval."""
        intervals = bootstrap_intervals(scores.metrics, n, self.bootstrap_samples, self.seed)
        out: dict[str, float] = {}
        for name, value in scores.metrics().items():
            out[name] = value
            if name in intervals:
                out[f"{name}_low"], out[f"{name}_high"] = intervals[name]
        return out


@dataclass(frozen=True)
class SplitPredictions:
    """The predictions of a split, whose labels are known, and the run's folder."""

    folder: Path
    name: str
    predictions: Sequence[Prediction]
    labels: Sequence[str]
    scores: Scores
    intervals: Intervals
    escape_formulas: bool = False  # of the CSV files


@dataclass(frozen=True)
class ReportSection:
    """Metrics besides the task's own, and blocks of the page."""

    metrics: dict[str, float] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)

    def __add__(self, other: ReportSection) -> ReportSection:
        """Return a section with the metrics and blocks of both."""
        return ReportSection(self.metrics | other.metrics, self.blocks + other.blocks)


SectionBuilder = Callable[[SplitPredictions], ReportSection]


def confusion_section(
    split: SplitPredictions, truth: Sequence[str], predicted: Sequence[str], what: str = "classes"
) -> ReportSection:
    """Return per-class metrics and the confusion matrix.

    `truth` and `predicted` are (N,) names of classes; `what` is the beginning of the CSV's name.
    """
    names = list(dict.fromkeys([*split.labels, *sorted({*truth, *predicted})]))
    if not 1 < len(names) <= MAX_CLASSES:
        return ReportSection()
    index = {name: k for k, name in enumerate(names)}
    truth_k, predicted_k = (np.array([index[name] for name in classes]) for classes in (truth, predicted))
    matrix = confusion_matrix(truth_k, predicted_k, len(names))
    caption = "Confusion matrix: counts by true and predicted class; grey if no example has the class."
    figure = Figure(f"confusion-{split.name}.png", caption)
    path = split.folder / "figures" / figure.name
    classification.confusion_matrix(path, f"{split.name}: classes", matrix, names)
    per_class = class_table(split, what, names, per_class_metrics(matrix))
    blocks: list[Block] = [UNDEFINED, per_class, figure, *_confused_pairs(matrix, names)]
    return ReportSection(blocks=[Section(f"By {SINGULAR[what]}", blocks)])


def class_table(split: SplitPredictions, what: str, names: Sequence[str], metrics: PerClassMetrics) -> PageTable:
    """Return a table of per-class metrics, folded if it is long, and write it to <what>-<split>.csv.

    Classes are numbered if figures show numbers instead of names.
    """
    columns = ["class", "precision", "recall", "f1", "support"]
    rows = list(zip(names, metrics.precision, metrics.recall, metrics.f1, map(int, metrics.support), strict=True))
    written = [(name, *(f"{share:.4f}" for share in shares), support) for name, *shares, support in rows]
    records = [dict(zip(columns, row, strict=True)) for row in written]
    write_csv(split.folder / f"{what}-{split.name}.csv", columns, records, split.escape_formulas)
    cells = [(name, *map(format_number, values)) for name, *values in rows]
    if not classification.can_show_names(names):
        columns, cells = ["number", *columns], [(str(k), *row) for k, row in enumerate(cells, 1)]
    folded = f"all {len(names)} {what}" if len(names) > classification.MAX_NAMED_CLASSES else ""
    return PageTable(columns, cells, numbers={*columns} - {"class"}, folded=folded)


def _confused_pairs(matrix: np.ndarray, names: Sequence[str]) -> list[Section]:
    """Return the most frequent confusions, if the figure doesn't show them by name."""
    pairs = most_confused(matrix, MAX_MISTAKES)
    if classification.can_show_names(names) or not pairs:
        return []
    rows = [(names[truth], names[predicted], f"{count:,}") for truth, predicted, count in pairs]
    table = PageTable(["truth", "prediction", "count"], rows, numbers={"count"})
    return [Section("Most frequent confusions", [table])]


def calibration_section(split: SplitPredictions, confidence: np.ndarray, right: np.ndarray) -> ReportSection:
    """Return the calibration of predictions with probabilities (N,), which are `right` or not (N,)."""
    bins = reliability(confidence, right)
    caption = "Share of right predictions by the probability that the model gives them, in 15 bins of equal width."
    figure = Figure(f"calibration-{split.name}.png", caption)
    title = f"{split.name}: calibration error {bins.calibration_error:.3f}"
    path = split.folder / "figures" / figure.name
    classification.reliability(path, title, bins.count, bins.confidence, bins.accuracy)
    return ReportSection({"calibration_error": bins.calibration_error}, [Section("Calibration", [figure])])


def mistakes_section(
    split: SplitPredictions, title: str, rows: Sequence[Mapping[str, object]], passages: Sequence[Passage] = ()
) -> ReportSection:
    """Return the worst predictions, which are also written to mistakes-<split>.csv.

    The page shows the passages if there are any, otherwise a table of the rows.
    """
    if not rows:
        return ReportSection(blocks=[Section(title, [Note("None.")])])
    name, columns = f"mistakes-{split.name}.csv", list(rows[0])
    write_csv(split.folder / name, columns, rows, split.escape_formulas)
    if passages:
        return ReportSection(blocks=[Section(title, [Note(f"{COLOURS} Also in {name}."), *passages])])
    table = PageTable(columns, [[_short(row[column]) for column in columns] for row in rows])
    return ReportSection(blocks=[Section(title, [Note(f"Also in {name}."), table])])


def worst_first(badness: np.ndarray, wrong: np.ndarray) -> list[int]:
    """Return the indices of the `wrong` (N,) predictions with the largest `badness` (N,), worst first."""
    order = np.argsort(-badness, kind="stable")
    return [int(k) for k in order[wrong[order]][:MAX_MISTAKES]]


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= MAX_CELL_CHARS else text[: MAX_CELL_CHARS - 1] + "…"
