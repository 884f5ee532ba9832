"""What is told of answers of any kind: figures of classes, calibration, mistakes; as files and as parts of a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import numpy as np

from ssl_cli.evaluation.html import Figure, number, shown, table
from ssl_cli.evaluation.metrics.calibration import reliability
from ssl_cli.evaluation.metrics.confusion import ByClass, by_class, confusion, most_confused
from ssl_cli.evaluation.plots import classification
from ssl_cli.files import write_csv
from ssl_cli.tasks.task import Prediction, Scores

MOST_MISTAKES = 20
MOST_CLASSES = 1000  # with figures of their own
LONGEST = 300  # characters of a text in the page
NONE: frozenset[str] = frozenset()


@dataclass(frozen=True)
class SplitPredictions:
    """A split's answers with the truth beside them, and the run's folder."""

    folder: Path
    split: str
    answers: Sequence[Prediction]
    labels: Sequence[str]
    tally: Scores


@dataclass(frozen=True)
class ReportSection:
    """Metrics besides the task's own, and parts of the page, HTML each."""

    metrics: dict[str, float] = field(default_factory=dict)
    parts: list[str] = field(default_factory=list)

    def __add__(self, other: ReportSection) -> ReportSection:
        return ReportSection(self.metrics | other.metrics, self.parts + other.parts)


SectionBuilder = Callable[[SplitPredictions], ReportSection]


def classes(
    given: SplitPredictions, truth: Sequence[str], answer: Sequence[str], what: str = "classes"
) -> ReportSection:
    """Each class's figures, and which is taken for which. `truth`, `answer`: (N,) names; `what` names the CSV."""
    names = list(dict.fromkeys([*given.labels, *sorted({*truth, *answer})]))
    if not 1 < len(names) <= MOST_CLASSES:
        return ReportSection()
    place = {name: k for k, name in enumerate(names)}
    truth_k, answer_k = (np.array([place[name] for name in every]) for every in (truth, answer))
    matrix = confusion(truth_k, answer_k, len(names))
    caption = "Which class is taken for which: counts by truth and answer; grey where no example is of the class."
    figure = Figure(f"confusion-{given.split}.png", caption)
    classification.confusion(given.folder / "figures" / figure.name, f"{given.split}: classes", matrix, names)
    return ReportSection(parts=[by_name(given, what, names, by_class(matrix)), shown(figure), _pairs(matrix, names)])


def by_name(given: SplitPredictions, what: str, names: Sequence[str], found: ByClass) -> str:
    """A table of each class's figures, in <what>-<split>.csv too; with their numbers, where figures show those."""
    columns = ["class", "precision", "recall", "f1", "support"]
    rows = list(zip(names, found.precision, found.recall, found.f1, map(int, found.support), strict=True))
    written = [(name, *(f"{share:.4f}" for share in shares), support) for name, *shares, support in rows]
    lines = [dict(zip(columns, row, strict=True)) for row in written]
    write_csv(given.folder / f"{what}-{given.split}.csv", columns, lines)
    shown_rows = [(name, *map(number, values)) for name, *values in rows]
    if not classification.are_named(names):
        columns, shown_rows = ["number", *columns], [(str(k), *row) for k, row in enumerate(shown_rows, 1)]
    whole = _table(columns, shown_rows, {"number", "precision", "recall", "f1", "support"})
    if len(names) > classification.MOST_NAMED:
        whole = f"<details><summary>all {len(names)} {what}</summary>{whole}</details>"
    return f'<p class="fine">0 where there is nothing to divide by; support counts what is of the class.</p>{whole}'


def _pairs(matrix: np.ndarray, names: Sequence[str]) -> str:
    """The commonest mistakes, where they can't be read off the figure"""
    found = most_confused(matrix, MOST_MISTAKES)
    if classification.are_named(names) or not found:
        return ""
    rows = [(names[truth], names[answer], f"{count:,}") for truth, answer, count in found]
    return "<h3>Most often taken for one another</h3>" + _table(["truth", "answer", "count"], rows, {"count"})


def calibration(given: SplitPredictions, confidence: np.ndarray, right: np.ndarray) -> ReportSection:
    """Whether answers with a probability (N,) of p are right (N,) in p of all cases."""
    found = reliability(confidence, right)
    caption = "How often answers are right, by the probability that the model gives them, in 15 bins of equal width."
    figure = Figure(f"calibration-{given.split}.png", caption)
    title = f"{given.split}: calibration error {found.error:.3f}"
    path = given.folder / "figures" / figure.name
    classification.reliability(path, title, found.count, found.confidence, found.accuracy)
    return ReportSection({"calibration_error": found.error}, [shown(figure)])


def mistakes(
    given: SplitPredictions, title: str, rows: Sequence[Mapping[str, object]], cells: Sequence[str] = ()
) -> ReportSection:
    """The worst answers, in mistakes-<split>.csv and the page: there as a table, or as `cells`, HTML of their own."""
    if not rows:
        return ReportSection(parts=[f"<h3>{title}</h3><p>None.</p>"])
    name, columns = f"mistakes-{given.split}.csv", list(rows[0])
    write_csv(given.folder / name, columns, rows)
    told = cells or [_table(columns, [[_short(row[column]) for column in columns] for row in rows])]
    return ReportSection(parts=[f"<h3>{title}</h3>", f'<p class="fine">In {name} too.</p>', *told])


def worst_first(badness: np.ndarray, wrong: np.ndarray) -> list[int]:
    """The answers that are `wrong` (N,) with the largest `badness` (N,), by index, the worst first."""
    order = np.argsort(-badness, kind="stable")
    return [int(k) for k in order[wrong[order]][:MOST_MISTAKES]]


def marked(text: str, style: str, title: str = "") -> str:
    about = f' title="{escape(title)}"' if title else ""
    return f'<span style="{style}"{about}>{escape(text)}</span>'


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Set[str] = NONE) -> str:
    """Texts as a table; the columns named in `right` are numbers"""
    kind = [' class="number"' if column in right else "" for column in columns]
    head = "".join(f"<th{k}>{escape(column)}</th>" for k, column in zip(kind, columns, strict=True))
    cells = [[f"<td{k}>{escape(cell)}</td>" for k, cell in zip(kind, row, strict=True)] for row in rows]
    return table(cells, f"<tr>{head}</tr>")
