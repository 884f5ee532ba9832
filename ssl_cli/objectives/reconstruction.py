"""Rebuild the input: the plain auto-encoder."""

from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from ssl_cli.models.autoencoder import Autoencoder

Batch = dict[str, Tensor]


@runtime_checkable
class MeasuresSpread(Protocol):
    """A model that wants to see the training rows once more when it is trained."""

    def measure_spread(self, x: Tensor) -> None: ...


class Reconstruction(nn.Module):
    """Mean squared error between the input and what the network rebuilds of it (Hinton and Salakhutdinov, 2006).

    A score divides each feature's error by that feature's usual error, `spread`, measured on the training rows once
    the network is trained: a small error where it is always right counts for more than a large one where it never is.
    """

    reads: ClassVar[tuple[str, ...]] = ("x",)
    least_spread: ClassVar[float] = 0.01  # in training standard deviations
    spread: Tensor

    def __init__(self, network: Autoencoder):
        super().__init__()
        self.network = network
        self.register_buffer("spread", torch.ones(network.n_features))  # (D,)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The loss of a batch, a scalar; `batch["x"]` is (B, D)."""
        x = batch["x"]
        return {"loss": (self.network(x) - x).square().mean()}

    def measure_spread(self, x: Tensor) -> None:
        """Set `spread` to each feature's root mean squared error over the training rows (N, D)."""
        parts = x.split(8192)
        squared = [(self.reconstruct({"x": part}) - part).double().square().sum(0) for part in parts]  # (D,) each
        total = torch.stack(squared).sum(0)
        self.spread.copy_((total / len(x)).sqrt() + self.least_spread)

    def reconstruct(self, batch: Batch) -> Tensor:
        """(B, D)"""
        return self.network(batch["x"])

    def embed(self, batch: Batch) -> Tensor:
        """(B, latent)"""
        return self.network.encode(batch["x"])

    def score(self, batch: Batch) -> Tensor:
        """(B,): the mean squared error of each row, in units of `spread`; larger is more abnormal."""
        return self._errors(batch, self.reconstruct(batch)).mean(dim=1)

    def explain(self, batch: Batch, columns: list[slice]) -> tuple[Tensor, Tensor]:
        """What was expected, (B, D): the reconstruction; and each column's part in the score, (B, columns): error."""
        expected = self.reconstruct(batch)
        return expected, by_column(self._errors(batch, expected), columns)

    def _errors(self, batch: Batch, rebuilt: Tensor) -> Tensor:
        return ((rebuilt - batch["x"]) / self.spread).square()  # (B, D)


def by_column(part: Tensor, columns: list[slice]) -> Tensor:
    """(B, D) -> (B, columns): the parts of the features that belong together, added up"""
    return torch.stack([part[:, where].sum(1) for where in columns], dim=1)
