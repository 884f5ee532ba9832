"""BERT over frames of speech: predict masked spans, as units found by k-means or as the frames themselves."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from sklearn.cluster import KMeans
from torch import Tensor, nn
from torch.nn import functional

from ssl_cli.config.types import Count, OpenShare, Range
from ssl_cli.errors import InputError
from ssl_cli.methods.speech.frame_protocols import FramePredictions
from ssl_cli.methods.speech.span_masks import span_masks
from ssl_cli.models.frame_transformer import FrameTransformer

Batch = Mapping[str, Tensor]
MAX_KMEANS_FRAMES = 20_000  # more make the centers no better
KMEANS_ITERATIONS = 50
NEIGHBOURS = 3  # frames on each side that, with a frame, decide which unit it is


class MaskedFrames(nn.Module):
    """Masked prediction of spans of frames, of which the network sees the rest.

    target=units: cross-entropy of the k-means class of each masked frame (HuBERT: arXiv 2106.07447, eq. 1, with
    alpha = 1), of classes that are found before training. target=frames: mean absolute difference from the frames
    themselves (Mockingjay: arXiv 1910.12638; TERA: 2007.06028). Both are means over the masked frames of a batch.
    Raises InputError if the network is causal.
    """

    reads: ClassVar[tuple[str, ...]] = ("frames", "length")
    is_matmul_bound: ClassVar[bool] = True
    no_decay_on_vectors: ClassVar[bool] = True
    normalization: ClassVar[str] = "speaker"  # of the data: with global, vectors hold voices more than words
    centers: Tensor

    def __init__(
        self,
        network: Annotated[FrameTransformer, "a transformer that sees each utterance from both sides"],
        target: Annotated[Literal["units", "frames"], "what is predicted of masked frames"] = "units",
        n_units: Annotated[int, Range(2, 10_000), "number of units, with target=units"] = 100,
        mask_ratio: Annotated[OpenShare, "share of the frames that are masked"] = 0.5,
        span: Annotated[Count, "frames that are masked together"] = 6,
    ):
        super().__init__()
        for fault in self.option_faults({"network": network.options}):
            raise InputError(f"model.{fault}")
        self.network, self.target, self.n_units = network, target, n_units
        self.mask_ratio, self.span, self.window = mask_ratio, span, network.context
        width, n_out = network.width, n_units if target == "units" else network.n_mels
        self.head = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width), nn.Linear(width, n_out))
        n_centers = n_units if target == "units" else 0
        self.register_buffer("centers", torch.zeros(n_centers, (2 * NEIGHBOURS + 1) * network.n_mels))

    @staticmethod
    def option_faults(options: Mapping[str, Any]) -> Iterator[str]:
        """Yield what is wrong with options together; `check` calls it before any data is read."""
        if (options.get("network") or {}).get("causal") is True:
            yield "network.causal must be false for this model: it sees each utterance from both sides."

    # --- units ---

    def initialize_from_frames(self, batches: Iterable[Batch], seed: int, log: Callable[[str], None]) -> None:
        """Find the units by k-means on the frames of all batches, each with its neighbours: see `stack_neighbours`.

        With target=frames there is nothing to find. Raises InputError if there are fewer frames than units.
        """
        if self.target == "frames":
            return
        x = torch.cat([_valid(stack_neighbours(batch["frames"]), batch["length"]) for batch in batches])
        x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:MAX_KMEANS_FRAMES]]
        if len(x) < self.n_units:
            raise InputError(f"model.n_units={self.n_units}: the training data has only {len(x):,} frames.")
        log(f"finding {self.n_units} units by k-means on {len(x):,} frames")
        means = KMeans(self.n_units, n_init=1, max_iter=KMEANS_ITERATIONS, random_state=seed).fit(x.cpu().numpy())
        self.centers.copy_(torch.from_numpy(means.cluster_centers_))

    @property
    def unit_frames(self) -> Tensor:
        """The middle frame of each unit's center, (K, M)."""
        return self.centers.unflatten(1, (2 * NEIGHBOURS + 1, -1))[:, NEIGHBOURS]

    def target_units(self, frames: Tensor) -> Tensor:
        """Return the unit of each frame, (B, T, M) -> (B, T) int64: its nearest center."""
        with torch.autocast(frames.device.type, enabled=False):
            x = stack_neighbours(frames.float()).flatten(0, 1)
            nearest = torch.addmm(self.centers.square().sum(1), x, self.centers.T, alpha=-2).argmin(1)
        return nearest.view(frames.shape[:2])

    # --- the loss ---

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss: nats per masked frame and the share of them predicted, or the mean absolute difference."""
        masked, predicted = self.masked_predictions(batch)  # (B, T), (m, K or M)
        if self.target == "frames":
            return {"loss": functional.l1_loss(predicted, batch["frames"][masked])}
        units = self.target_units(batch["frames"])[masked]
        accuracy = (predicted.argmax(1) == units).float().mean()
        return {"loss": functional.cross_entropy(predicted, units), "masked_accuracy": accuracy}

    def masked_predictions(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return which frames are masked (B, T) bool, and for those the scores (m, K), or the frames (m, M)."""
        frames, length = batch["frames"], batch["length"]
        masked = span_masks(length, frames.shape[1], self.mask_ratio, self.span)
        return masked, self.head(self.network(frames, length, masked)[masked]).float()

    def predict_frames(self, batch: Batch) -> FramePredictions:
        """Return the predictions for new random masks; a unit sounds like the middle frame of its center."""
        masked, predicted = self.masked_predictions(batch)
        frames = torch.zeros_like(batch["frames"])
        if self.target == "frames":
            frames[masked] = predicted
            return FramePredictions(masked, frames)
        units = self.target_units(batch["frames"])
        predicted_units = units.masked_scatter(masked, predicted.argmax(1))
        frames[masked] = self.unit_frames[predicted_units[masked]]
        return FramePredictions(masked, frames, units, predicted_units)

    def derived_metrics(self, means: Mapping[str, float]) -> dict[str, float]:
        """Return the bits per masked frame, with target=units."""
        return {"bits_per_frame": means["loss"] / math.log(2)} if self.target == "units" else {}

    # --- what it has learned ---

    def hidden_layers(self, batch: Batch) -> list[Tensor]:
        """Return the vectors (B, T, C) of the frames before the first block and after each."""
        return self.network.hidden_layers(batch["frames"], batch["length"])


def stack_neighbours(frames: Tensor) -> Tensor:
    """Return each frame with NEIGHBOURS frames on each side: (B, T, M) -> (B, T, (2 * NEIGHBOURS + 1) * M).

    Beyond the first and the last frame there are zeros.
    """
    padded = functional.pad(frames, (0, 0, NEIGHBOURS, NEIGHBOURS))
    return padded.unfold(1, 2 * NEIGHBOURS + 1, 1).transpose(2, 3).flatten(2)


def _valid(x: Tensor, length: Tensor) -> Tensor:
    """Return the vectors (F, C) before `length` (B,) of x (B, T, C), end to end."""
    return x[torch.arange(x.shape[1], device=x.device) < length[:, None]]
