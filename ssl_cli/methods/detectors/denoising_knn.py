"""The recommended detector: distances to training rows, the error of a denoising autoencoder, and rare values."""

from pathlib import Path
from typing import Annotated

import torch
from safetensors.torch import load_file, load_model, save_file, save_model
from torch import Tensor

from ssl_cli.config.types import Positive
from ssl_cli.methods.autoencoders.denoising import DenoisingAutoencoder
from ssl_cli.methods.detectors.margins import Margins
from ssl_cli.methods.detectors.residual_explanation import shares
from ssl_cli.methods.detectors.residual_knn import DISTANCE_OFFSET, ResidualKNN
from ssl_cli.methods.detectors.saved_arrays import check_shapes
from ssl_cli.methods.detectors.tail_probability import TailProbability, harmonic_mean
from ssl_cli.methods.pieces import map_pieces
from ssl_cli.methods.scoring import device_of
from ssl_cli.models.images import to_float

NEIGHBORS_FOLDER, MARGINS_FOLDER = "neighbors", "margins"
AUTOENCODER_FILE, PROBABILITIES_FILE = "model.safetensors", "probabilities.safetensors"
TERMS = ("joint", "surprisal", "tail")
ARRAYS = ("knots", "values", "tail")  # that are saved of each term's probability
SHAPES = {f"{term}.{name}": "2" if name == "tail" else term for term in TERMS for name in ARRAYS}
REFERENCE_ROWS = 2000
MIN_JOINT_WEIGHT = 4.0


class DenoisingKNN:
    """How improbable a row is jointly, and how improbable its rarest value is by itself (docs/benchmarks.md).

    The joint score is the sum of the two log distances of `ResidualKNN` and the log error of a denoising autoencoder.
    Distances capture where training rows lie, but not how features depend on each other across the whole table; a
    network captures the dependence, but not where rows lie. Each term is the logarithm of a distance, so the terms need
    no weights. Neither sees that a single value is one that never occurs, between others that do: `margins` do.

    The joint score, and the largest surprisal and tail of the margins, become probabilities among training rows, each
    left out for itself; the row's score is minus the log of their weighted harmonic mean. Without margins (null) it is
    the joint score.
    """

    reads = ("x",)

    def __init__(
        self,
        neighbors: ResidualKNN,
        autoencoder: DenoisingAutoencoder,
        margins: Margins | None = None,
        joint_weight: Annotated[
            Positive | None,
            "weight of the joint probability, those of the margins have 1 each; null: the columns, at least 4",
        ] = None,
    ):
        self.neighbors, self.autoencoder, self.margins = neighbors, autoencoder, margins
        self.joint_weight = joint_weight

    @property
    def weights(self) -> tuple[float, float, float]:
        """The weights of the joint probability and of the two of the margins.

        The joint score speaks of all columns, and a margin of one.
        """
        assert self.margins is not None
        return self.joint_weight or max(MIN_JOINT_WEIGHT, self.margins.n_columns), 1.0, 1.0

    @property
    def parts(self) -> tuple[DenoisingAutoencoder | ResidualKNN | Margins, ...]:
        """The detectors, which are fitted separately."""
        return (self.autoencoder, self.neighbors, *([] if self.margins is None else [self.margins]))

    def fit_statistics(self, x: Tensor) -> None:
        """Compute from training rows (N, D) how probable each term's scores are; at most REFERENCE_ROWS are used."""
        if self.margins is None:
            return
        # Evenly spaced rather than drawn: the order of a table is often that of time.
        chosen = torch.linspace(0, len(x) - 1, min(len(x), REFERENCE_ROWS)).round().long()
        rows = to_float(x[chosen]).flatten(1)
        self.probabilities = [TailProbability().fit(term) for term in self._terms(rows, left_out=True)]

    def _terms(self, x: Tensor, left_out: bool = False) -> list[Tensor]:
        """Return the joint score, and the largest surprisal and tail of the margins, of rows (B, D): (B,) each."""
        error = self.autoencoder.score({"x": x.to(device_of(self.autoencoder))}).to(x.device)
        joint = self.neighbors.score_piece(x, left_out) + (error.sqrt() + DISTANCE_OFFSET).log()
        return [joint, *([] if self.margins is None else (of.amax(1) for of in self.margins.rarity(x, left_out)))]

    def score(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the scores (B,) of rows `x` (B, D)."""
        return torch.cat(map_pieces(self._score_piece, batch["x"]))

    def _score_piece(self, x: Tensor) -> Tensor:
        terms = self._terms(x)
        return terms[0] if self.margins is None else harmonic_mean(self._improbabilities(terms), self.weights)

    def _improbabilities(self, terms: list[Tensor]) -> list[Tensor]:
        return [probability(term) for probability, term in zip(self.probabilities, terms, strict=True)]

    def explain(self, batch: dict[str, Tensor], columns: list[slice]) -> tuple[Tensor, Tensor]:
        """Return the mean (B, D) of the nearest training rows, and each column's contribution, (B, columns).

        The neighbours' contributions count twice and the network's once, as in the joint score. Each of the three terms
        has its share of the sum of the inverse probabilities; that of the margins goes to the column of their largest.
        """
        x = batch["x"]
        expected, near = self.neighbors.explain(batch, columns)
        _, reconstructed = self.autoencoder.explain({"x": x.to(device_of(self.autoencoder))}, columns)
        joint = (2 * shares(near) + shares(reconstructed.to(x.device))) / 3  # (B, columns)
        if self.margins is None:
            return expected, joint
        weights = torch.tensor(self.weights, dtype=torch.float64).log()[:, None]
        of_terms = (torch.stack(self._improbabilities(self._terms(x))) + weights).softmax(0).float()  # (3, B)
        by_column = [joint, *(_largest(of) for of in self.margins.rarity_by_column(x, columns))]
        return expected, sum(share[:, None] * of for share, of in zip(of_terms, by_column, strict=True))

    def embed(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the network's codes (B, latent)."""
        return self.autoencoder.embed(batch)

    def save(self, folder: Path) -> None:
        """Write the detectors into a run folder."""
        (folder / NEIGHBORS_FOLDER).mkdir(exist_ok=True)
        self.neighbors.save(folder / NEIGHBORS_FOLDER)
        save_model(self.autoencoder, str(folder / AUTOENCODER_FILE))
        if self.margins is not None:
            (folder / MARGINS_FOLDER).mkdir(exist_ok=True)
            self.margins.save(folder / MARGINS_FOLDER)
            states = {term: of.state() for term, of in zip(TERMS, self.probabilities, strict=True)}
            arrays = {f"{term}.{name}": array for term, state in states.items() for name, array in state.items()}
            save_file(arrays, folder / PROBABILITIES_FILE)

    def restore(self, folder: Path) -> None:
        """Read the detectors back."""
        self.neighbors.restore(folder / NEIGHBORS_FOLDER)
        load_model(self.autoencoder, folder / AUTOENCODER_FILE)
        self.autoencoder.eval()
        if self.margins is not None:
            self.margins.restore(folder / MARGINS_FOLDER)
            arrays = load_file(folder / PROBABILITIES_FILE)
            check_shapes(folder / PROBABILITIES_FILE, arrays, SHAPES)
            states = [{name: arrays[f"{term}.{name}"] for name in ARRAYS} for term in TERMS]
            self.probabilities = [TailProbability().load(state) for state in states]


def _largest(rarity: Tensor) -> Tensor:
    """Return 1 for the largest column of each row (B, columns), shared by equals, and 0 for the others."""
    is_largest = (rarity == rarity.amax(1, keepdim=True)).float()
    return is_largest / is_largest.sum(1, keepdim=True)
