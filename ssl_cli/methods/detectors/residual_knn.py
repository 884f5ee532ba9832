"""Distances to training rows, in two spaces that mend what plain distances miss."""

from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from sklearn.covariance import ledoit_wolf
from torch import Tensor

from ssl_cli.config.types import Count
from ssl_cli.methods.autoencoders.autoencoder import by_column
from ssl_cli.methods.protocols import sample

FARTHEST = 1e4  # standard deviations: what lies beyond is as strange
NEAREST = 0.01  # added to a distance before its logarithm: a copy of a training row is near, not infinitely so
FLOOR = 1e-3  # least eigenvalue of the covariance, as a share of their mean
MAX_VALUES = 10_000_000  # of the rows kept: wide tables keep fewer, so that a row's score takes a bounded time
CHUNK = 1024  # rows scored at once


class ResidualKNN:
    """The geometric mean distance to the k nearest training rows, in two spaces (our own recipe: docs/benchmarks.md).

    One is the row with its tails drawn in, asinh of the standardised features: a feature with a few huge values
    would drown all others. The other is the standardised row as it is, joined with what is left of each feature when
    its linear expectation from the row's other features is taken away, by the inverse of Ledoit and Wolf's covariance
    (2004): a row may be ordinary in each feature and break the rule that ties them. The score is the sum, over the two
    spaces, of the mean log distance. Nothing is random but which rows are kept of more than `max_rows`.
    """

    reads: ClassVar[tuple[str, ...]] = ("x",)

    def __init__(
        self,
        k: Annotated[Count, "neighbours"] = 10,
        max_rows: Annotated[
            Count | None, "training rows kept to measure distances to, fewer beyond 333 features; null: all"
        ] = 10_000,
    ):
        self.k, self.max_rows = k, max_rows

    def fit(self, x: np.ndarray, seed: int) -> None:
        rows = x.astype(np.float64)  # (N, D)
        state = dict(zip(("mean", "std"), _moments(rows), strict=True))
        z = ((rows - state["mean"]) / state["std"]).clip(-FARTHEST, FARTHEST)
        state |= zip(("drawn_mean", "drawn_std"), _moments(np.arcsinh(z)), strict=True)
        precision = _precision(z)  # (D, D)
        # Column j maps a row to feature j minus its expectation from the others, in units of its spread.
        state["residual"] = precision / np.sqrt(precision.diagonal())
        state |= zip(("residual_mean", "residual_std"), _moments(z @ state["residual"]), strict=True)
        self.state = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in state.items()}
        most = None if self.max_rows is None else min(self.max_rows, 1 + MAX_VALUES // (3 * x.shape[1]))
        self._keep(torch.from_numpy(np.ascontiguousarray(sample(x, most, seed))))

    def _keep(self, rows: Tensor) -> None:
        self.rows = rows  # (N, D)
        self.spaces = [(space, space.square().sum(1)) for space in self._spaces(rows)]  # with each row's squared norm

    def _spaces(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, D) -> the row with its tails drawn in, (B, D), and the row with its residuals, (B, 2 D); float32."""
        state = self.state
        z = ((x.double() - state["mean"]) / state["std"]).clamp(-FARTHEST, FARTHEST)
        drawn = (z.asinh() - state["drawn_mean"]) / state["drawn_std"]
        residual = (z @ state["residual"] - state["residual_mean"]) / state["residual_std"]
        return drawn.float(), torch.cat([z, residual.clamp(-FARTHEST, FARTHEST)], dim=1).float()

    def score(self, batch: dict[str, Tensor]) -> Tensor:
        return torch.cat([self._score(part) for part in batch["x"].split(CHUNK)])

    def _score(self, x: Tensor) -> Tensor:
        total = torch.zeros(len(x))
        for here, (rows, norm) in zip(self._spaces(x), self.spaces, strict=True):
            nearest = self._nearest(here, rows, norm)
            # By differences: a norm less a product would lose the distance of a near copy in rounding.
            distance = (here[:, None] - rows[nearest]).square().sum(2).sqrt()  # (B, k)
            total += (distance + NEAREST).log().mean(1)
        return total

    def _nearest(self, here: Tensor, rows: Tensor, norm: Tensor) -> Tensor:
        """Which k of the training rows (N, W) are nearest to each row (B, W): (B, k)"""
        # Squared distances, but for each row's own norm, which changes no order: (B, N).
        squared = torch.addmm(norm, here, rows.T, alpha=-2)
        return squared.topk(min(self.k, len(rows)), dim=1, largest=False).indices

    def explain(self, batch: dict[str, Tensor], columns: list[slice]) -> tuple[Tensor, Tensor]:
        """What was expected, (B, D): the mean of the k training rows that are nearest in the second space; and each
        column's part, (B, columns): that of its values and residuals in the squared distance to them."""
        here, (rows, norm) = self._spaces(batch["x"])[1], self.spaces[1]
        nearest = self._nearest(here, rows, norm)
        part = (here[:, None] - rows[nearest]).square().mean(1)  # (B, k, 2 D) -> (B, 2 D)
        value, residual = part.chunk(2, dim=1)
        return self.rows[nearest].mean(1), by_column(value + residual, columns)

    def save(self, folder: Path) -> None:
        save_file(self.state | {"rows": self.rows}, folder / "model.safetensors")

    def restore(self, folder: Path) -> None:
        self.state = load_file(folder / "model.safetensors")
        self._keep(self.state.pop("rows"))


def _moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each feature; a feature that is always the same keeps its scale."""
    std = x.std(0)
    return x.mean(0), np.where(std < 1e-9, 1.0, std)


def _precision(z: np.ndarray) -> np.ndarray:
    """The inverse of Ledoit and Wolf's shrunk covariance, (D, D), its eigenvalues kept off zero."""
    values, vectors = np.linalg.eigh(ledoit_wolf(z)[0])
    return (vectors / np.maximum(values, FLOOR * values.mean())) @ vectors.T
