"""One Gaussian over all features, by maximum likelihood."""

from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ssl_cli.config.types import NonNegative


class Gaussian:
    """Full covariance; the score is the squared Mahalanobis distance over the number of features.

    `ridge` is added to the covariance's diagonal, as a share of its mean, so that it has an inverse where features
    depend on each other.
    """

    reads: ClassVar[tuple[str, ...]] = ("x",)

    def __init__(self, ridge: Annotated[NonNegative, "added to the diagonal, as a share of the mean variance"] = 1e-6):
        self.ridge = ridge

    def fit(self, x: np.ndarray, seed: int) -> None:
        rows = torch.from_numpy(x).double()  # (N, D)
        self.mean = rows.mean(0)  # (D,)
        centred = rows - self.mean
        covariance = centred.T @ centred / len(rows)  # (D, D)
        floor = max(self.ridge, 1e-12) * covariance.diagonal().mean()
        ridge = floor * torch.eye(len(covariance), dtype=torch.float64)
        self.cholesky = torch.linalg.cholesky(covariance + ridge).contiguous()  # (D, D)

    def score(self, batch: dict[str, Tensor]) -> Tensor:
        centred = (batch["x"].double() - self.mean).T  # (D, B)
        # float32 at last: the last bits of a float64 depend on where in memory the matrix lies.
        return torch.linalg.solve_triangular(self.cholesky, centred, upper=False).square().mean(0).float()

    def explain(self, batch: dict[str, Tensor], columns: list[slice]) -> tuple[Tensor, Tensor]:
        """What was expected, (B, D): each column's mean given the row's other columns; and each column's part in the
        score, (B, columns): by how much the squared distance would fall if the column were as expected."""
        x = batch["x"].double()
        precision = torch.cholesky_inverse(self.cholesky)  # (D, D)
        pull = (x - self.mean) @ precision  # (B, D)
        expected, parts = torch.empty_like(x), []
        for where in columns:
            excess = torch.linalg.solve(precision[where, where], pull[:, where].T).T  # (B, W)
            expected[:, where] = x[:, where] - excess
            parts.append((excess * pull[:, where]).sum(1))
        return expected.float(), torch.stack(parts, dim=1).float()

    def save(self, folder: Path) -> None:
        save_file({"mean": self.mean, "cholesky": self.cholesky}, folder / "model.safetensors")

    def restore(self, folder: Path) -> None:
        state = load_file(folder / "model.safetensors")
        self.mean, self.cholesky = state["mean"], state["cholesky"]
