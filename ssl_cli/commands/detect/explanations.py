"""Why a row is strange: the features that weigh most in its score, as they are and as they were expected."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from ssl_cli.data.images.datasets import ABOUT, OneClassImages
from ssl_cli.data.one_class import OneClassData, OneClassSplit
from ssl_cli.data.tables.inverse import format_value
from ssl_cli.data.tables.one_class import TableData
from ssl_cli.evaluation.thresholds import Threshold, p_values
from ssl_cli.methods.scoring import device_of

ANOMALIES = "anomalies.csv"
REASONS = 3  # a row
AT_ONCE = 1024  # rows explained


@runtime_checkable
class Explains(Protocol):
    """A detector that can say what it expected."""

    def explain(self, batch: dict[str, Tensor], columns: list[slice]) -> tuple[Tensor, Tensor]:
        """What was expected of each feature, (B, D), and each column's part in the score (not negative), (B, columns).

        `columns` says which features belong together: those that one symbol became.
        """


@dataclass(frozen=True)
class FeatureContribution:
    """One column of one row, in the column's own units; `share` (0 to 1) of the row's strangeness is its."""

    column: str
    actual: str
    expected: str
    share: float


@dataclass(frozen=True)
class Anomaly:
    """One of the strangest rows, or images. `p_value` is None for one that the model or the calibration has seen.

    `row` is its number in the file, `index` where it lies in what was read.
    """

    row: int
    index: int
    score: float
    p_value: float | None
    flagged: bool
    label: bool | None
    contributions: list[FeatureContribution]


def top_anomalies(
    model: Any, data: OneClassData, scores: dict[str, np.ndarray], calibration: np.ndarray, at: Threshold, most: int
) -> list[Anomaly]:
    """The `most` strangest test rows, or without labels of all rows, the strangest first. Without reasons where the
    model can't give any."""
    names = ["test"] if data.splits["test"].anomaly is not None else list(data.splits)
    everywhere = np.concatenate([scores[name] for name in names])
    split_of = np.repeat(np.arange(len(names)), [len(scores[name]) for name in names])
    place_in = np.concatenate([np.arange(len(scores[name])) for name in names])
    first = np.argsort(-everywhere, kind="stable")[:most]
    rows = [(data.splits[names[which]], place) for which, place in zip(split_of[first], place_in[first], strict=True)]
    given = contributions_of(model, data, rows) if isinstance(data, TableData) else [[] for _ in rows]
    p_value = p_values(calibration, everywhere[first])
    found = []
    for (split, place), score, p, reasons in zip(rows, everywhere[first], p_value, given, strict=True):
        label = None if split.anomaly is None else bool(split.anomaly[place])
        unseen = float(p) if split is data.splits["test"] else None
        row, index = int(split.row[place]), int(split.index[place])
        found.append(Anomaly(row, index, float(score), unseen, bool(score > at.value), label, reasons))
    return found


def contributions_of(
    model: Any, data: TableData, rows: list[tuple[OneClassSplit, int]]
) -> list[list[FeatureContribution]]:
    """Of rows that are told by their split and their place in it."""
    x, index = np.stack([split.x[place] for split, place in rows]), [int(split.index[place]) for split, place in rows]
    return [
        reasons
        for part in range(0, len(rows), AT_ONCE)
        for reasons in explain(model, data, x[part : part + AT_ONCE], index[part : part + AT_ONCE])
    ]


def explain(model: Any, data: TableData, x: np.ndarray, index: list[int]) -> list[list[FeatureContribution]]:
    """The REASONS columns that weigh most in each row of x (N, D), which lies at `index` in the table."""
    if not isinstance(model, Explains):
        return [[] for _ in index]
    slices = data.preprocessor.slices
    batch = {"x": torch.from_numpy(x).to(device_of(model))}
    with torch.inference_mode():
        expected, weights = (out.cpu().numpy() for out in model.explain(batch, [where for _, where in slices]))
    weights = weights / np.maximum(weights.sum(1, keepdims=True), np.finfo(np.float32).tiny)
    reasons = []
    for place, row in enumerate(index):
        heaviest = np.argsort(-weights[place], kind="stable")[:REASONS]
        reasons.append(
            [
                FeatureContribution(
                    slices[which][0]["name"],
                    _actual(data, slices[which][0], row),
                    format_value(slices[which][0], expected[place, slices[which][1]]),
                    float(weights[place, which]),
                )
                for which in heaviest
                if weights[place, which] > 0
            ]
        )
    return reasons


def _actual(data: TableData, column: dict[str, Any], row: int) -> str:
    """The value as it stands in the table that was read."""
    cell = data.columns[column["name"]][row]
    try:
        value = cell.as_py()
    except (OverflowError, ValueError):  # a date that Arrow can hold and Python can't
        return str(cell.cast(pa.string()))
    if value is None or value != value:
        return "(missing)"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def write(path: Path, data: OneClassData, rows: list[Anomaly]) -> None:
    """A CSV: rank, row number in the file, score, p-value, whether flagged, label; then of an image its class and its
    file, of a row of a table three reasons of four fields."""
    fields = ("feature", "actual", "expected", "share")
    names = [f"{field}_{number}" for number in range(1, REASONS + 1) for field in fields]
    if isinstance(data, OneClassImages):
        names = list(ABOUT)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["rank", "row", "score", "p_value", "flagged", "label", *names])
        for rank, row in enumerate(rows, 1):
            told = [[why.column, why.actual, why.expected, f"{why.share:.3f}"] for why in row.contributions]
            cells = [cell for reason in told for cell in reason]
            if isinstance(data, OneClassImages):
                cells = data.images.about(row.index)
            p_value, label = ("" if value is None else value for value in (row.p_value, row.label))
            writer.writerow([rank, row.row, row.score, p_value, row.flagged, label, *cells])
