"""Explanations: the top anomalies, and the features that contribute most to their scores, with expected values."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ssl_cli.commands.detect.contributions import FeatureContribution, column_names, explain_rows
from ssl_cli.data.images.datasets import DESCRIPTION_COLUMNS, OneClassImages
from ssl_cli.data.one_class import OneClassData, OneClassSplit
from ssl_cli.data.tables.one_class import TableData
from ssl_cli.evaluation.conformal import p_values
from ssl_cli.evaluation.thresholds import Threshold
from ssl_cli.methods.protocols import Explains
from ssl_cli.runs.csv_files import CsvWriter

ANOMALIES = "anomalies.csv"


@dataclass(frozen=True)
class Anomaly:
    """One of the top anomalies, a row of a table or an image.

    `row` is its number in the file, `index` its position in what was read. `p_value` is None if the model or the
    calibration used the row.
    """

    row: int
    index: int
    score: float
    p_value: float | None
    flagged: bool
    label: bool | None
    contributions: list[FeatureContribution]


def top_anomalies(
    model: Any,
    data: OneClassData,
    scores: dict[str, np.ndarray],
    calibration: np.ndarray,
    threshold: Threshold,
    n_anomalies: int,
) -> list[Anomaly]:
    """Return the test rows with the largest scores, in descending order; without labels, those of all splits.

    They have no contributions if the model cannot explain its scores.
    """
    names = ["test"] if data.splits["test"].anomaly is not None else list(data.splits)
    all_scores = np.concatenate([scores[name] for name in names])
    split_of = np.repeat(np.arange(len(names)), [len(scores[name]) for name in names])
    position_in_split = np.concatenate([np.arange(len(scores[name])) for name in names])
    top = np.argsort(-all_scores, kind="stable")[:n_anomalies]
    rows = [
        (data.splits[names[split]], position)
        for split, position in zip(split_of[top], position_in_split[top], strict=True)
    ]
    contributions = _explain(model, data, rows)
    row_p_values = p_values(calibration, all_scores[top])
    return [
        Anomaly(
            row=int(split.row[position]),
            index=int(split.index[position]),
            score=float(score),
            p_value=float(p_value) if split is data.splits["test"] else None,
            flagged=bool(score > threshold.value),
            label=None if split.anomaly is None else bool(split.anomaly[position]),
            contributions=of_row,
        )
        for (split, position), score, p_value, of_row in zip(
            rows, all_scores[top], row_p_values, contributions, strict=True
        )
    ]


def _explain(model: Any, data: OneClassData, rows: list[tuple[OneClassSplit, int]]) -> list[list[FeatureContribution]]:
    """Return the main contributions to the score of each row, given as its split and its position in the split."""
    if not rows or not isinstance(data, TableData) or not isinstance(model, Explains):
        return [[] for _ in rows]
    x = np.stack([split.x[position] for split, position in rows])
    index = [int(split.index[position]) for split, position in rows]
    return list(explain_rows(model, data.preprocessor, x, index, data.original_values))


def write(path: Path, data: OneClassData, anomalies: list[Anomaly], escape_formulas: bool) -> None:
    """Write a CSV with rank, row number in the file, score, p-value, whether flagged, and label.

    For images, the class and the file follow; for rows of a table, the columns of their contributions.
    """
    columns = list(DESCRIPTION_COLUMNS) if isinstance(data, OneClassImages) else column_names()
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = CsvWriter(file, escape_formulas)
        writer.write(["rank", "row", "score", "p_value", "flagged", "label", *columns])
        for rank, anomaly in enumerate(anomalies, 1):
            cells: list[object] = [cell for feature in anomaly.contributions for cell in feature.cells]
            if isinstance(data, OneClassImages):
                cells = list(data.images.describe(anomaly.index))
            p_value, label = ("" if value is None else value for value in (anomaly.p_value, anomaly.label))
            writer.write([rank, anomaly.row, anomaly.score, p_value, anomaly.flagged, label, *cells])
