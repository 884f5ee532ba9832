"""Classification of utterances: a class for all frames together."""

from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_cli.config.types import Count
from ssl_cli.methods.supervised.head import Batch, SupervisedHead, linear_in_float32, new_linear
from ssl_cli.models.encoder import DropRate
from ssl_cli.models.frame_transformer import FrameTransformer

Pool = Literal["mean", "thirds"]
PARTS: dict[Pool, int] = {"mean": 1, "thirds": 3}  # parts of an utterance, each with its mean


class SpeechClassificationHead(SupervisedHead):
    """A score per class from the mean frame of an utterance, with cross-entropy.

    Frames have a weighted mean of all layers of the network, each normalized, with learned weights (SUPERB: arXiv
    2105.01051, sec. 3). Their means over the utterance, or over each third of it, are standardized by a batch norm
    without weights, as in linear probes (MAE: 2111.06377, sec. A.1), before a linear layer. Targets are `label` (B,).
    """

    reads: ClassVar[tuple[str, ...]] = ("frames", "length")  # type: ignore[misc]
    network: FrameTransformer

    def __init__(
        self,
        network: Annotated[FrameTransformer, "the transformer that encodes the frames"],
        n_labels: Annotated[Count, "number of classes"],
        pool: Annotated[Pool, "mean: of all frames; thirds: of each third of them, one after another"] = "mean",
        dropout: Annotated[DropRate, "dropout of the head's inputs"] = 0.1,
    ):
        super().__init__(network, dropout)
        self.pool, self.n_labels = pool, n_labels
        network.mask_vector.requires_grad_(False)  # nothing is masked
        n_in = PARTS[pool] * network.width
        self.layer_weights = nn.Parameter(torch.zeros(network.layers + 1))
        self.standardize = nn.BatchNorm1d(n_in, affine=False)
        self.decide = new_linear(n_in, n_labels)

    def hidden(self, batch: Batch) -> Tensor:
        """Return what stands for each utterance, (B, C) or (B, 3 * C), after dropout."""
        layers = self.network.hidden_layers(batch["frames"], batch["length"])
        normal = torch.stack([functional.layer_norm(x.float(), x.shape[-1:]) for x in layers])  # (layers, B, T, C)
        frames = torch.einsum("l,lbtc->btc", self.layer_weights.softmax(0), normal)
        x = pool_frames(frames, batch["length"], PARTS[self.pool])
        # A batch of one has no deviation.
        is_one = self.training and len(x) == 1
        x = self.standardize.eval()(x) if is_one else self.standardize.train(self.training)(x)
        return functional.dropout(x, self.dropout, self.training) if self.dropout else x

    def logits(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Return scores (B, n_labels) of what stands for the utterances, (B, C)."""
        return linear_in_float32(self.decide, hidden)

    def losses(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy of scores (B, n_labels), a mean over the utterances."""
        return {"loss": functional.cross_entropy(logits, batch["label"])}

    def raw_predictions(self, logits: Tensor, batch: Batch) -> list[Tensor]:
        """Return the scores (n_labels,) of each utterance."""
        return list(logits)


def pool_frames(frames: Tensor, length: Tensor, parts: int) -> Tensor:
    """Return the means of `parts` equal parts of the valid frames (B, T, C), one after another, (B, parts * C).

    A frame between two parts counts in both, so that an utterance of one frame has all of them.
    """
    place, pooled = torch.arange(frames.shape[1], device=frames.device), []
    for k in range(parts):
        first, stop = k * length // parts, -(-(k + 1) * length // parts)
        inside = ((place >= first[:, None]) & (place < stop[:, None]))[..., None]  # (B, T, 1)
        pooled.append((frames * inside).sum(1) / inside.sum(1))
    return torch.cat(pooled, dim=1)
