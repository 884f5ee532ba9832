"""What is learned from labels on top of a transformer that reads packed examples."""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_cli.models.transformer import INITIAL_STD, Transformer

Batch = Mapping[str, Tensor]
RawPredictions = list[np.ndarray]


class SupervisedHead(nn.Module):
    """A network and what answers by it. A batch is one of data.example_rows: rows (R, L) that hold S sequences.

    A heir says what follows from what stands for each token: `logits`, `losses` by them, and `guesses`, an array for
    each sequence or example. With a `judge` it collects its guesses in evaluation, and `over_epoch` gives its verdict.
    """

    reads: tuple[str, ...] = ("ids", "document", "begin", "length")
    is_matmul_bound: ClassVar[bool] = True
    no_decay_on_vectors: ClassVar[bool] = True
    monitor: str | None = None  # the metric by which the best weights are kept; None: the loss
    validation_metrics: Callable[[Sequence[np.ndarray]], dict[str, float]] | None = None
    lr_scales: Mapping[str, float]  # of weights that learn more slowly than others, by name

    def __init__(self, network: Transformer, dropout: float):
        super().__init__()
        self.network, self.dropout = network, dropout
        self._seen: RawPredictions = []
        self.lr_scales = {}

    # --- what an heir says ---

    def logits(self, hidden: Tensor, batch: Batch) -> Tensor:
        """What stands for each token (R * L, C) -> scores in float32 (see `precisely`), of a shape that `losses` and
        `guesses` know"""
        raise NotImplementedError(f"{type(self).__name__} doesn't say what it answers")

    def losses(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        """`loss`, a mean over the batch's examples, and perhaps named parts"""
        raise NotImplementedError(f"{type(self).__name__} doesn't say what it learns")

    def raw_predictions(self, logits: Tensor, batch: Batch) -> list[Tensor]:
        """What is told outside of each example of the batch (of each sequence, where those are asked apart)"""
        raise NotImplementedError(f"{type(self).__name__} doesn't say what it guesses")

    # --- the same for all ---

    def hidden(self, batch: Batch) -> Tensor:
        """(R * L, C), with dropout"""
        segment = batch.get("segment") if self.network.segments > 1 else None
        x = self.network(batch["ids"], segment, batch["document"]).flatten(0, 1)
        return functional.dropout(x, self.dropout, self.training) if self.dropout else x

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The losses of a batch with targets."""
        logits = self.logits(self.hidden(batch), batch)
        if self.validation_metrics is not None and not self.training:
            self._seen += self._as_arrays(logits, batch)
        return self.losses(logits, batch)

    def predict_batch(self, batch: Batch) -> RawPredictions:
        """What `guesses` gives, as arrays; of a batch with or without targets."""
        return self._as_arrays(self.logits(self.hidden(batch), batch), batch)

    def _as_arrays(self, logits: Tensor, batch: Batch) -> RawPredictions:
        return [one.numpy() for one in self.raw_predictions(logits.detach().cpu(), _on_cpu(batch))]

    def epoch_metrics(self) -> dict[str, float]:
        """The judge's metrics of what was guessed since it was last asked; none without a judge."""
        seen, self._seen = self._seen, []
        return self.validation_metrics(seen) if self.validation_metrics is not None and seen else {}


def _on_cpu(batch: Batch) -> dict[str, Tensor]:
    return {name: value.cpu() for name, value in batch.items() if isinstance(value, Tensor)}


def fresh(n_in: int, n_out: int) -> nn.Linear:
    """A layer that starts as a transformer's do."""
    layer = nn.Linear(n_in, n_out)
    nn.init.normal_(layer.weight, std=INITIAL_STD)
    nn.init.zeros_(layer.bias)
    return layer


def precisely(layer: nn.Linear, x: Tensor) -> Tensor:
    """A head's last layer in float32, whatever the precision of the rest: in bfloat16 scores would come in steps of
    1/64, and different answers as equal."""
    with torch.autocast(x.device.type, enabled=False):
        return functional.linear(x.float(), layer.weight.float(), layer.bias.float())


def summaries(hidden: Tensor, batch: Batch, causal: bool) -> Tensor:
    """(R * L, C) -> (S, C): each sequence's first token, or where tokens see only those before them, its last"""
    at = batch["begin"] + (batch["length"] - 1 if causal else torch.zeros_like(batch["begin"]))
    return hidden[at]
