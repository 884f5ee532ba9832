"""Gaussian detector: one Gaussian over all features, fitted by maximum likelihood."""

from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ssl_cli.config.types import NonNegative
from ssl_cli.methods.columns import Categories
from ssl_cli.methods.detectors.saved_arrays import WEIGHTS, check_shapes


class Gaussian:
    """Gaussian with full covariance; the score is the squared Mahalanobis distance over the number of features.

    `ridge`, as a share of the mean variance, is added to the covariance's diagonal: then it can be inverted even if
    features depend on each other. The covariance of a category of W values is multiplied by W - 1: then the category
    adds as much to the mean distance of the training rows as a number does, and not W - 1 times as much.
    """

    reads: ClassVar[tuple[str, ...]] = ("x",)

    def __init__(
        self,
        ridge: Annotated[NonNegative, "added to the diagonal, as a share of the mean variance"] = 1e-6,
        categories: Categories | None = None,
    ):
        self.ridge, self.categories = ridge, categories or []

    def fit(self, x: np.ndarray, seed: int) -> None:
        """Compute the mean and the covariance of rows (N, D); nothing is random."""
        rows = torch.from_numpy(x).double()  # (N, D)
        self.mean = rows.mean(0)  # (D,)
        centred = rows - self.mean
        covariance = centred.T @ centred / len(rows)  # (D, D)
        for start, end in self.categories:
            block = covariance[start:end, start:end]
            block *= max(1, int((block.diagonal() > 0).sum()) - 1)
        floor = max(self.ridge, 1e-12) * covariance.diagonal().mean()
        ridge = floor * torch.eye(len(covariance), dtype=torch.float64)
        self.cholesky = torch.linalg.cholesky(covariance + ridge).contiguous()  # (D, D)

    def score(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the squared distances (B,) of rows `x` (B, D)."""
        centred = (batch["x"].double() - self.mean).T  # (D, B)
        # Returned in float32: the last bits of a float64 depend on where in memory the matrix lies.
        return torch.linalg.solve_triangular(self.cholesky, centred, upper=False).square().mean(0).float()

    def explain(self, batch: dict[str, Tensor], columns: list[slice]) -> tuple[Tensor, Tensor]:
        """Return the mean (B, D) of each column given the other columns of its row, and contributions (B, columns).

        A column's contribution is how much the squared distance would fall if the column had its conditional mean.
        """
        x = batch["x"].double()
        precision = torch.cholesky_inverse(self.cholesky)  # (D, D)
        gradient = (x - self.mean) @ precision  # (B, D), half the gradient of the squared distance
        expected, contributions = torch.empty_like(x), []
        for column in columns:
            excess = torch.linalg.solve(precision[column, column], gradient[:, column].T).T  # (B, W)
            expected[:, column] = x[:, column] - excess
            contributions.append((excess * gradient[:, column]).sum(1))
        return expected.float(), torch.stack(contributions, dim=1).float()

    def save(self, folder: Path) -> None:
        """Write the mean and the Cholesky factor into a run folder."""
        save_file({"mean": self.mean, "cholesky": self.cholesky}, folder / WEIGHTS)

    def restore(self, folder: Path) -> None:
        """Read the mean and the Cholesky factor back."""
        state = load_file(folder / WEIGHTS)
        check_shapes(folder / WEIGHTS, state, {"mean": "D", "cholesky": "D D"})
        self.mean, self.cholesky = state["mean"], state["cholesky"]
