"""The recommended detector: distances to the nearest training rows, plus the error of a denoising autoencoder."""

from pathlib import Path

import torch
from safetensors.torch import load_model, save_model
from torch import Tensor

from ssl_cli.methods.autoencoders.denoising import DenoisingAutoencoder
from ssl_cli.methods.detectors.residual_knn import DISTANCE_OFFSET, ResidualKNN
from ssl_cli.methods.scoring import device_of

NEIGHBORS_FOLDER, AUTOENCODER_FILE = "neighbors", "model.safetensors"


class DenoisingKNN:
    """The sum of the two log distances of `ResidualKNN` and the log error of a denoising autoencoder.

    Distances capture where training rows lie, but not how features depend on each other across the whole table; a
    network captures the dependence, but not where rows lie. Each term is the logarithm of a distance, so the terms need
    no weights (our own recipe: docs/benchmarks.md).
    """

    reads = ("x",)

    def __init__(self, neighbors: ResidualKNN, autoencoder: DenoisingAutoencoder):
        self.neighbors, self.autoencoder = neighbors, autoencoder

    @property
    def parts(self) -> tuple[DenoisingAutoencoder, ResidualKNN]:
        """The two detectors, which are fitted separately."""
        return self.autoencoder, self.neighbors

    def score(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the scores (B,) of rows `x` (B, D)."""
        x = batch["x"]
        error = self.autoencoder.score({"x": x.to(device_of(self.autoencoder))}).to(x.device)
        return self.neighbors.score(batch) + (error.sqrt() + DISTANCE_OFFSET).log()

    def explain(self, batch: dict[str, Tensor], columns: list[slice]) -> tuple[Tensor, Tensor]:
        """Return the mean (B, D) of the nearest training rows, and each column's contribution, (B, columns).

        The neighbours' contributions count twice and the network's once, as in the score.
        """
        x = batch["x"]
        expected, near = self.neighbors.explain(batch, columns)
        _, reconstructed = self.autoencoder.explain({"x": x.to(device_of(self.autoencoder))}, columns)
        return expected, 2 * _normalized(near) + _normalized(reconstructed.to(x.device))

    def embed(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the network's codes (B, latent)."""
        return self.autoencoder.embed(batch)

    def save(self, folder: Path) -> None:
        """Write both detectors into a run folder."""
        (folder / NEIGHBORS_FOLDER).mkdir(exist_ok=True)
        self.neighbors.save(folder / NEIGHBORS_FOLDER)
        save_model(self.autoencoder, str(folder / AUTOENCODER_FILE))

    def restore(self, folder: Path) -> None:
        """Read both detectors back."""
        self.neighbors.restore(folder / NEIGHBORS_FOLDER)
        load_model(self.autoencoder, folder / AUTOENCODER_FILE)
        self.autoencoder.eval()


def _normalized(contributions: Tensor) -> Tensor:
    """Return contributions (B, columns) scaled so that each row adds up to 1."""
    return contributions / contributions.sum(1, keepdim=True).clamp(min=torch.finfo(contributions.dtype).tiny)
