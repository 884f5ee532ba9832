"""The recommended detector: distances to the nearest training rows, and to what an auto-encoder makes of a row."""

from pathlib import Path

import torch
from safetensors.torch import load_model, save_model
from torch import Tensor

from ssl_cli.methods.autoencoders.denoising import DenoisingAutoencoder
from ssl_cli.methods.detectors.residual_knn import NEAREST, ResidualKNN
from ssl_cli.methods.scoring import device_of

NEIGHBORS, AUTOENCODER = "neighbors", "model.safetensors"  # a folder, a file


class DenoisingKNN:
    """The two log distances of `ResidualNeighbors` and the log of the denoising auto-encoder's error, added up.

    A distance knows where training rows lie and nothing of what ties features together over the whole table; a
    network knows that and forgets where rows lie. Each part is a logarithm of a distance, so they need no weights (our
    own recipe: docs/benchmarks.md).
    """

    reads = ("x",)

    def __init__(self, neighbors: ResidualKNN, autoencoder: DenoisingAutoencoder):
        self.neighbors, self.autoencoder = neighbors, autoencoder

    @property
    def parts(self) -> tuple[DenoisingAutoencoder, ResidualKNN]:
        """What is fitted, each by itself."""
        return self.autoencoder, self.neighbors

    def score(self, batch: dict[str, Tensor]) -> Tensor:
        x = batch["x"]
        error = self.autoencoder.score({"x": x.to(device_of(self.autoencoder))}).to(x.device)
        return self.neighbors.score(batch) + (error.sqrt() + NEAREST).log()

    def explain(self, batch: dict[str, Tensor], columns: list[slice]) -> tuple[Tensor, Tensor]:
        """What was expected, (B, D), by the nearest training rows; and each column's part, (B, columns).

        The neighbours' view counts twice, the network's once, as in the score.
        """
        x = batch["x"]
        expected, near = self.neighbors.explain(batch, columns)
        _, rebuilt = self.autoencoder.explain({"x": x.to(device_of(self.autoencoder))}, columns)
        return expected, 2 * _share(near) + _share(rebuilt.to(x.device))

    def embed(self, batch: dict[str, Tensor]) -> Tensor:
        """(B, latent), the network's code"""
        return self.autoencoder.embed(batch)

    def save(self, folder: Path) -> None:
        (folder / NEIGHBORS).mkdir(exist_ok=True)
        self.neighbors.save(folder / NEIGHBORS)
        save_model(self.autoencoder, str(folder / AUTOENCODER))

    def restore(self, folder: Path) -> None:
        self.neighbors.restore(folder / NEIGHBORS)
        load_model(self.autoencoder, folder / AUTOENCODER)
        self.autoencoder.eval()


def _share(part: Tensor) -> Tensor:
    """(B, columns), each row's sum made 1"""
    return part / part.sum(1, keepdim=True).clamp(min=torch.finfo(part.dtype).tiny)
