"""k-nearest-neighbours detector: distance to the nearest training rows."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from ssl_cli.config.types import Count
from ssl_cli.methods.columns import USUAL_ROWS, beyond_usual, spread_over, sum_by_column
from ssl_cli.methods.detectors.saved_arrays import WEIGHTS, check_shapes
from ssl_cli.methods.detectors.subsample import subsample


class KNN:
    """Euclidean distance to the k-th nearest training row (Ramaswamy et al., 2000), or a mean over the k nearest.

    The mean squared distance is the non-parametric estimator of diffusion time (Livernoche et al., arXiv 2305.18593).
    """

    reads: ClassVar[tuple[str, ...]] = ("x",)

    def __init__(
        self,
        k: Annotated[Count, "neighbours"] = 5,
        distance: Annotated[
            Literal["kth", "mean", "mean_squared"], "to the k-th neighbour, or a mean over the k nearest"
        ] = "mean_squared",
        max_rows: Annotated[Count | None, "training rows kept, drawn at random; null: all"] = 50_000,
    ):
        self.k, self.distance, self.max_rows = k, distance, max_rows

    def fit(self, x: np.ndarray, seed: int) -> None:
        """Keep training rows (N, D), and index them."""
        self._keep(subsample(x, self.max_rows, seed))

    def _keep(self, rows: np.ndarray) -> None:
        self.rows = rows  # (N, D)
        self._usual: Tensor | None = None  # (D,), computed when the first row is explained
        self.index = NearestNeighbors(n_neighbors=min(self.k, len(rows))).fit(rows)

    def score(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the distances (B,) of rows `x` (B, D)."""
        distances, _ = self.index.kneighbors(batch["x"].numpy())  # (B, k), nearest first
        if self.distance == "kth":
            return torch.from_numpy(distances[:, -1])
        return torch.from_numpy((distances if self.distance == "mean" else distances**2).mean(1))

    def explain(self, batch: dict[str, Tensor], columns: list[slice]) -> tuple[Tensor, Tensor]:
        """Return the mean (B, D) of the k nearest training rows, and each column's contribution, (B, columns).

        A column's contribution is its squared difference from the mean beyond what is usual for it in training rows.
        """
        _, nearest = self.index.kneighbors(batch["x"].numpy())  # (B, k)
        expected = torch.from_numpy(self.rows[nearest].mean(1))
        if self._usual is None:
            self._usual = self._usual_squares()
        contributions = sum_by_column((batch["x"] - expected).square(), columns)
        return expected, beyond_usual(contributions, sum_by_column(self._usual[None], columns)[0])

    def _usual_squares(self) -> Tensor:
        """Return the mean squared differences (D,) of some training rows, each compared with the others."""
        chosen = self.rows[spread_over(len(self.rows), USUAL_ROWS)]
        _, nearest = self.index.kneighbors(chosen, min(self.k + 1, len(self.rows)))
        if nearest.shape[1] < 2:
            return torch.zeros(self.rows.shape[1])
        expected = self.rows[nearest[:, 1:]].mean(1)  # the first is the row itself
        return torch.from_numpy(np.square(chosen - expected).mean(0))

    def save(self, folder: Path) -> None:
        """Write the training rows into a run folder."""
        save_file({"rows": np.ascontiguousarray(self.rows)}, folder / WEIGHTS)

    def restore(self, folder: Path) -> None:
        """Read the training rows back, and index them."""
        arrays = load_file(folder / WEIGHTS)
        check_shapes(folder / WEIGHTS, arrays, {"rows": "N D"})
        self._keep(arrays["rows"])
