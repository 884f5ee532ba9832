"""k-nearest-neighbours detector in two feature spaces that make up for the weaknesses of plain distances."""

from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from sklearn.covariance import ledoit_wolf
from torch import Tensor

from ssl_cli.config.types import Count
from ssl_cli.methods.columns import (
    USUAL_ROWS,
    Categories,
    beyond_usual,
    pool_by_category,
    spread_over,
    sum_by_column,
)
from ssl_cli.methods.detectors.nearest import NearestRows
from ssl_cli.methods.detectors.residual_explanation import distance_parts, in_both, mahalanobis_savings
from ssl_cli.methods.detectors.saved_arrays import WEIGHTS, check_shapes
from ssl_cli.methods.detectors.subsample import subsample
from ssl_cli.methods.pieces import map_pieces

MAX_DEVIATION = 1e4  # standard deviations; values beyond it are clipped, as they are no less abnormal
DISTANCE_OFFSET = 0.01  # added to a distance before its logarithm, which is then finite for a copy of a training row
MIN_EIGENVALUE_SHARE = 1e-3  # least eigenvalue of the covariance, as a share of their mean
MAX_KEPT_VALUES = 10_000_000  # in the kept rows: wide tables keep fewer rows, which bounds the time to score a row
SHAPES = {  # of the saved arrays
    **dict.fromkeys(("mean", "std", "drawn_mean", "drawn_std", "residual_mean", "residual_std"), "D"),
    "residual": "D D",
    "rows": "N D",
}


class ResidualKNN:
    """The geometric mean distance to the k nearest training rows, in two spaces (our own recipe: docs/benchmarks.md).

    The first space has asinh of the standardized features: a feature with a few huge values would otherwise outweigh
    all others. The second has the standardized features and their residuals, which remain when a feature's linear
    prediction from the row's other features is subtracted. It uses the inverse of Ledoit and Wolf's covariance (2004):
    a row may be normal in each feature and still break the rule that relates them. The features of a category share the
    category's standard deviation, in both spaces, so that it weighs as one column. The score is the sum over the two
    spaces of the mean log distance. Only the choice of the kept rows is random, if there are more than `max_rows`.
    """

    reads: ClassVar[tuple[str, ...]] = ("x",)

    def __init__(
        self,
        k: Annotated[Count, "neighbours"] = 10,
        max_rows: Annotated[
            Count | None, "training rows kept to measure distances to, fewer beyond 333 features; null: all"
        ] = 10_000,
        categories: Categories | None = None,
    ):
        self.k, self.max_rows, self.categories = k, max_rows, categories or []

    def fit(self, x: np.ndarray, seed: int) -> None:
        """Compute both spaces from rows (N, D), and keep rows to measure distances to."""
        rows = x.astype(np.float64)  # (N, D)
        state = dict(zip(("mean", "std"), self._moments(rows), strict=True))
        z = ((rows - state["mean"]) / state["std"]).clip(-MAX_DEVIATION, MAX_DEVIATION)
        state |= zip(("drawn_mean", "drawn_std"), self._moments(np.arcsinh(z)), strict=True)
        precision = _precision(z)  # (D, D)
        # Column j maps a row to feature j minus its prediction from the others, in units of its standard deviation.
        state["residual"] = precision / np.sqrt(precision.diagonal())
        state |= zip(("residual_mean", "residual_std"), self._moments(z @ state["residual"]), strict=True)
        self.state = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in state.items()}
        max_rows = None if self.max_rows is None else min(self.max_rows, 1 + MAX_KEPT_VALUES // (3 * x.shape[1]))
        self._keep(torch.from_numpy(np.ascontiguousarray(subsample(x, max_rows, seed))))

    def _moments(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean and the standard deviation of each feature, or category; 1 instead of 0 if it is constant."""
        std = np.sqrt(pool_by_category(x.var(0), self.categories))
        return x.mean(0), np.where(std < 1e-9, 1.0, std)

    def _keep(self, rows: Tensor) -> None:
        self.rows = rows  # (N, D)
        # What is usual for columns is computed when the first row is explained.
        self._usual_of: tuple[list[slice], tuple[Tensor, Tensor]] | None = None
        self.spaces = [NearestRows(space) for space in self._spaces(rows)]

    def _spaces(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return rows (B, D) in the first space (B, D) and in the second (B, 2 D), as float32."""
        state = self.state
        z = ((x.double() - state["mean"]) / state["std"]).clamp(-MAX_DEVIATION, MAX_DEVIATION)
        compressed = (_asinh(z) - state["drawn_mean"]) / state["drawn_std"]
        residual = (z @ state["residual"] - state["residual_mean"]) / state["residual_std"]
        return compressed.float(), torch.cat([z, residual.clamp(-MAX_DEVIATION, MAX_DEVIATION)], dim=1).float()

    def score(self, batch: dict[str, Tensor], left_out: bool = False) -> Tensor:
        """Return the scores (B,) of rows `x` (B, D).

        `left_out`: the rows are training rows, and one that is kept is not its own neighbour.
        """
        return torch.cat(map_pieces(partial(self.score_piece, left_out=left_out), batch["x"]))

    def score_piece(self, x: Tensor, left_out: bool = False) -> Tensor:
        """Return the scores (B,) of a few rows (B, D); see `score`."""
        total = torch.zeros(len(x))
        for points, space in zip(self._spaces(x), self.spaces, strict=True):
            distances, _ = space(points, self.k + left_out)
            if left_out:  # no matter which of several copies goes; rows that are not kept lose their farthest
                distances = distances.sort(1).values
                is_kept = distances[:, :1] == 0
                distances = torch.where(is_kept, distances[:, 1:], distances[:, :-1])
            total += (distances + DISTANCE_OFFSET).log().mean(1)
        return total

    def explain(self, batch: dict[str, Tensor], columns: list[slice]) -> tuple[Tensor, Tensor]:
        """Return the mean (B, D) of the k training rows nearest in the second space, and contributions (B, columns).

        A column contributes by its part of the squared distance to those rows, beyond what is usual for it in training
        rows, and by how far it is from its linear expectation: see `residual_explanation`.
        """
        points = self._spaces(batch["x"])[1]
        _, nearest = self.spaces[1](points, self.k)
        usual_near, usual_linear = self._usual(columns)
        near = beyond_usual(self._near(points, nearest, columns), usual_near)
        linear = beyond_usual(self._linear(points, columns), usual_linear)
        return self.rows[nearest].mean(1), in_both(near, linear)

    def _near(self, points: Tensor, nearest: Tensor, columns: list[slice]) -> Tensor:
        """Return each column's part (B, columns) of the mean squared distance of points to training rows (B, k)."""
        difference = points[:, None] - self.spaces[1].rows[nearest]  # (B, k, 2 D)
        parts = distance_parts(difference, self.state["residual"], self.state["residual_std"])
        return sum_by_column(parts.mean(1), columns)

    def _linear(self, points: Tensor, columns: list[slice]) -> Tensor:
        """Return how far each column of points (B, 2 D) is from its linear expectation, (B, columns)."""
        z = points[:, : self.rows.shape[1]].double()
        return mahalanobis_savings(z, self.state["residual"], self.categories, columns)

    def _usual(self, columns: list[slice]) -> tuple[Tensor, Tensor]:
        """Return the means of `_near` and `_linear` (columns,) of training rows, each compared with the others."""
        if self._usual_of is None or self._usual_of[0] != columns:
            space = self.spaces[1]
            some = space.rows[spread_over(len(space.rows), USUAL_ROWS)]
            distances, nearest = space(some, self.k + 1)
            nearest = nearest.gather(1, distances.argsort(1))[:, 1:]  # the first is the row itself
            near = self._near(some, nearest, columns).mean(0).nan_to_num()  # a single row has no others
            self._usual_of = columns, (near, self._linear(some, columns).mean(0))
        return self._usual_of[1]

    def save(self, folder: Path) -> None:
        """Write the kept rows and the parameters of both spaces into a run folder."""
        save_file(self.state | {"rows": self.rows}, folder / WEIGHTS)

    def restore(self, folder: Path) -> None:
        """Read the rows and parameters back."""
        arrays = load_file(folder / WEIGHTS)
        check_shapes(folder / WEIGHTS, arrays, SHAPES)
        rows = arrays.pop("rows")
        self.state = arrays
        self._keep(rows)


def _asinh(z: Tensor) -> Tensor:
    """Return asinh(z) in a third of the time that torch's takes, by vector instructions; its error is about 1e-16."""
    size = z.abs()
    return (size + (size.square() + 1).sqrt()).log().copysign(z)


def _precision(z: np.ndarray) -> np.ndarray:
    """Return the inverse (D, D) of Ledoit and Wolf's shrunk covariance, with eigenvalues bounded away from zero.

    Of rows that are all equal it is the identity: the columns vary in other rows, or they would have been left out.
    """
    values, vectors = np.linalg.eigh(ledoit_wolf(z)[0])
    least = MIN_EIGENVALUE_SHARE * values.mean() or 1.0
    return (vectors / np.maximum(values, least)) @ vectors.T
