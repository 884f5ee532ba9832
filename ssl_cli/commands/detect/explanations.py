"""Explanations: the top anomalies, and the features that contribute most to their scores, with expected values."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ssl_cli.data.images.datasets import DESCRIPTION_COLUMNS, OneClassImages
from ssl_cli.data.one_class import OneClassData, OneClassSplit
from ssl_cli.data.tables.inverse import format_value
from ssl_cli.data.tables.one_class import TableData
from ssl_cli.evaluation.conformal import p_values
from ssl_cli.evaluation.thresholds import Threshold
from ssl_cli.methods.protocols import Explains
from ssl_cli.methods.scoring import device_of
from ssl_cli.runs.csv_files import CsvWriter

ANOMALIES = "anomalies.csv"
MAX_FEATURES = 3  # that explain a row
EXPLAIN_BATCH = 1024  # rows


@dataclass(frozen=True)
class FeatureContribution:
    """A column's contribution to a row's score: its `share` (0 to 1), its actual value and the expected one.

    Values are in the units of the file.
    """

    column: str
    actual: str
    expected: str
    share: float


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
    contributions = explain_rows(model, data, rows) if isinstance(data, TableData) else [[] for _ in rows]
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


def explain_rows(model: Any, data: TableData, rows: list[tuple[OneClassSplit, int]]) -> list[list[FeatureContribution]]:
    """Return the main contributions to the score of each row, given as its split and its position in the split."""
    if not isinstance(model, Explains):
        return [[] for _ in rows]
    x = np.stack([split.x[position] for split, position in rows])
    index = [int(split.index[position]) for split, position in rows]
    return [
        contributions
        for start in range(0, len(rows), EXPLAIN_BATCH)
        for contributions in explain_batch(
            model, data, x[start : start + EXPLAIN_BATCH], index[start : start + EXPLAIN_BATCH]
        )
    ]


def explain_batch(model: Explains, data: TableData, x: np.ndarray, index: list[int]) -> list[list[FeatureContribution]]:
    """Return the MAX_FEATURES largest contributions in each row of x (N, D); `index` are its positions in the table."""
    slices = data.preprocessor.feature_slices
    batch = {"x": torch.from_numpy(x).to(device_of(model))}
    with torch.inference_mode():
        outputs = model.explain(batch, [column_slice for _, column_slice in slices])
    expected, weights = (output.cpu().numpy() for output in outputs)  # (N, D), (N, columns)
    shares = weights / np.maximum(weights.sum(1, keepdims=True), np.finfo(np.float32).tiny)
    order = np.argsort(-shares, kind="stable")[:, :MAX_FEATURES]
    largest = [[int(j) for j in order[k] if shares[k, j] > 0] for k in range(len(index))]
    columns = [slices[j][0] for j in sorted({j for of_row in largest for j in of_row})]
    actual = data.original_values(columns, index)
    return [
        [
            FeatureContribution(
                slices[j][0]["name"],
                actual[slices[j][0]["name"], row],
                format_value(slices[j][0], expected[k, slices[j][1]]),
                float(shares[k, j]),
            )
            for j in largest[k]
        ]
        for k, row in enumerate(index)
    ]


def write(path: Path, data: OneClassData, anomalies: list[Anomaly], escape_formulas: bool) -> None:
    """Write a CSV with rank, row number in the file, score, p-value, whether flagged, and label.

    For images, the class and the file follow; for rows of a table, MAX_FEATURES contributions of four columns each.
    """
    fields = ("feature", "actual", "expected", "share")
    columns = [f"{field}_{k}" for k in range(1, MAX_FEATURES + 1) for field in fields]
    if isinstance(data, OneClassImages):
        columns = list(DESCRIPTION_COLUMNS)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = CsvWriter(file, escape_formulas)
        writer.write(["rank", "row", "score", "p_value", "flagged", "label", *columns])
        for rank, anomaly in enumerate(anomalies, 1):
            cells = [
                cell
                for feature in anomaly.contributions
                for cell in (feature.column, feature.actual, feature.expected, f"{feature.share:.3f}")
            ]
            if isinstance(data, OneClassImages):
                cells = data.images.describe(anomaly.index)
            p_value, label = ("" if value is None else value for value in (anomaly.p_value, anomaly.label))
            writer.write([rank, anomaly.row, anomaly.score, p_value, anomaly.flagged, label, *cells])
