"""Contributions: the columns of a table that contribute most to a row's score, each with a reason in words."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch

from ssl_cli.config.instantiate import names_where
from ssl_cli.config.typecheck import provides
from ssl_cli.data.tables.features import Column
from ssl_cli.data.tables.inverse import format_value
from ssl_cli.data.tables.preprocessing import TablePreprocessor
from ssl_cli.data.tables.reasons import Cell, is_compared, reason
from ssl_cli.methods.protocols import Explains
from ssl_cli.methods.scoring import device_of

MAX_FEATURES = 3  # that explain a row
MIN_SHARE = 0.005  # of a row's score; less explains nothing
EXPLAIN_BATCH = 1024  # rows
FIELDS = ("feature", "actual", "expected", "share", "reason")
CellTexts = Callable[[Sequence[tuple[Column, int]]], dict[Cell, str]]  # (column, row) of some cells -> their texts


@dataclass(frozen=True)
class FeatureContribution:
    """A column's contribution to a row's score: its `share` (0 to 1, three decimals), the value and the expected one.

    Values are in the units of the file. `expected` is empty for a category. `reason` is all of it in words:
    `radius = 27.4 (expected 14.1)`, or `country = US (2 % of training rows)`.
    """

    column: str
    actual: str
    expected: str
    share: float
    reason: str

    @property
    def cells(self) -> tuple[str, str, str, float, str]:
        """The values of FIELDS."""
        return self.column, self.actual, self.expected, self.share, self.reason


def explain_rows(
    model: Explains, preprocessor: TablePreprocessor, x: np.ndarray, rows: Sequence[int], texts: CellTexts
) -> Iterator[list[FeatureContribution]]:
    """Yield the largest contributions, at most MAX_FEATURES, to the score of each row of x (N, D), the largest first.

    `rows` (N,) are the numbers by which `texts` knows them.
    """
    for start in range(0, len(x), EXPLAIN_BATCH):
        end = start + EXPLAIN_BATCH
        yield from _explain_batch(model, preprocessor, x[start:end], rows[start:end], texts)


def _explain_batch(
    model: Explains, preprocessor: TablePreprocessor, x: np.ndarray, rows: Sequence[int], texts: CellTexts
) -> Iterator[list[FeatureContribution]]:
    slices = preprocessor.feature_slices
    batch = {"x": torch.from_numpy(x).to(device_of(model))}
    with torch.inference_mode():
        outputs = model.explain(batch, [place for _, place in slices])
    expected, weights = (output.cpu().numpy() for output in outputs)  # (N, D), (N, columns)
    shares = weights / np.maximum(weights.sum(1, keepdims=True), np.finfo(np.float32).tiny)
    order = np.argsort(-shares, kind="stable")[:, :MAX_FEATURES]
    largest = [[int(j) for j in of_row if shares[k, j] >= MIN_SHARE] for k, of_row in enumerate(order)]
    actual = texts([(slices[j][0], row) for row, of_row in zip(rows, largest, strict=True) for j in of_row])
    for k, row in enumerate(rows):
        contributions = []
        for j in largest[k]:
            column, place = slices[j]
            value, wanted = actual[column["name"], row], format_value(column, expected[k, place])
            said = reason(column, x[k, place], value, wanted)
            shown = wanted if is_compared(column) else ""
            contributions.append(FeatureContribution(column["name"], value, shown, round(float(shares[k, j]), 3), said))
        yield contributions


def column_names() -> list[str]:
    """Return the columns of a file with contributions: `feature_1`, `actual_1`, ..."""
    return [f"{field}_{k}" for k in range(1, MAX_FEATURES + 1) for field in FIELDS]


def reason_columns(n_rows: int, reasons: Mapping[int, Sequence[FeatureContribution]]) -> dict[str, pa.Array]:
    """Return the columns of a file with contributions: those of some of its N rows, by position, and nulls."""
    place = np.full(n_rows, -1)
    place[list(reasons)] = np.arange(len(reasons))
    index = pa.array(place, mask=place < 0)
    columns = {}
    for k in range(MAX_FEATURES):
        found = [of_row[k].cells if k < len(of_row) else (None,) * len(FIELDS) for of_row in reasons.values()]
        for j, field in enumerate(FIELDS):
            dtype = pa.float64() if field == "share" else pa.string()
            columns[f"{field}_{k + 1}"] = pa.array([cells[j] for cells in found], dtype).take(index)
    return columns


def explaining_models() -> str:
    """Return the names of the models that explain their scores, for a message."""
    return ", ".join(names_where("model", lambda target: provides(target, Explains)))
