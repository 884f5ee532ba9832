"""Supervised training on top of a transformer, for batches of packed examples."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_cli.models.encoder import INITIAL_STD, Encoder

Batch = Mapping[str, Tensor]
RawPredictions = list[np.ndarray]


class SupervisedMethod(nn.Module):
    """A network that learns a labelled task.

    If `validation_metrics` is set, the predictions made in evaluation are collected, and `epoch_metrics` computes
    metrics of all of them.
    """

    no_decay_on_vectors: ClassVar[bool] = True
    monitor: str | None = None  # the metric by which the best weights are kept; None: they aren't
    validation_metrics: Callable[[Sequence[np.ndarray]], dict[str, float]] | None = None
    lr_scales: Mapping[str, float]  # parameter name -> factor, for weights that learn more slowly than others

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network: Any = network
        self._eval_predictions: RawPredictions = []
        self.lr_scales = {}

    def predict_batch(self, batch: Batch) -> RawPredictions:
        """Return the raw predictions of a batch, with or without targets, as arrays."""
        raise NotImplementedError(f"{type(self).__name__} must define predict_batch")

    @property
    def collects_predictions(self) -> bool:
        """Whether the predictions of a batch are wanted beside its losses."""
        return self.validation_metrics is not None and not self.training

    def collect(self, predictions: RawPredictions) -> None:
        """Keep predictions for `epoch_metrics`."""
        self._eval_predictions += predictions

    def epoch_metrics(self) -> dict[str, float]:
        """Return the validation metrics of all predictions since the last call; none without `validation_metrics`."""
        predictions, self._eval_predictions = self._eval_predictions, []
        return self.validation_metrics(predictions) if self.validation_metrics is not None and predictions else {}


class SupervisedHead(SupervisedMethod):
    """A transformer with a head for a labelled task.

    A batch of text is one of `data.labelled.packed_examples`: rows (R, L) that hold S sequences. A subclass defines
    `logits`, `losses` and `raw_predictions`.
    """

    reads: tuple[str, ...] = ("ids", "document", "begin", "length")
    is_matmul_bound: ClassVar[bool] = True

    def __init__(self, network: Encoder, dropout: float):
        super().__init__(network)
        self.dropout = dropout

    # --- for subclasses ---

    def logits(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Return scores in float32 (see `linear_in_float32`) of hidden states (R * L, C), in a shape of the task."""
        raise NotImplementedError(f"{type(self).__name__} must define logits")

    def losses(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return `loss`, a mean over the examples of the batch, and optionally its parts by name."""
        raise NotImplementedError(f"{type(self).__name__} must define losses")

    def raw_predictions(self, logits: Tensor, batch: Batch) -> list[Tensor]:
        """Return the scores of each example of the batch, or of each sequence if those are predicted separately."""
        raise NotImplementedError(f"{type(self).__name__} must define raw_predictions")

    # --- shared ---

    def hidden(self, batch: Batch) -> Tensor:
        """Return hidden states (R * L, C), after dropout."""
        segment = batch.get("segment") if self.network.segments > 1 else None
        x = self.network(batch["ids"], segment, batch["document"]).flatten(0, 1)
        return functional.dropout(x, self.dropout, self.training) if self.dropout else x

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the losses of a batch with targets."""
        logits = self.logits(self.hidden(batch), batch)
        if self.collects_predictions:
            self.collect(self._as_arrays(logits, batch))
        return self.losses(logits, batch)

    def predict_batch(self, batch: Batch) -> RawPredictions:
        """Return the raw predictions of a batch, with or without targets, as arrays."""
        return self._as_arrays(self.logits(self.hidden(batch), batch), batch)

    def _as_arrays(self, logits: Tensor, batch: Batch) -> RawPredictions:
        return [scores.numpy() for scores in self.raw_predictions(logits.detach().cpu(), _on_cpu(batch))]


def _on_cpu(batch: Batch) -> dict[str, Tensor]:
    return {name: value.cpu() for name, value in batch.items() if isinstance(value, Tensor)}


def new_linear(n_in: int, n_out: int) -> nn.Linear:
    """Return a linear layer, initialized like a transformer's."""
    layer = nn.Linear(n_in, n_out)
    nn.init.normal_(layer.weight, std=INITIAL_STD)
    nn.init.zeros_(layer.bias)
    return layer


def linear_in_float32(layer: nn.Linear, x: Tensor) -> Tensor:
    """Return the layer's output in float32, whatever the precision of the rest.

    In bfloat16 scores would have steps of 1/64, and different predictions would come out equal.
    """
    with torch.autocast(x.device.type, enabled=False):
        return functional.linear(x.float(), layer.weight.float(), layer.bias.float())


def summary_tokens(hidden: Tensor, batch: Batch, which: Literal["first", "last"]) -> Tensor:
    """Return each sequence's first or last hidden state: (R * L, C) -> (S, C)."""
    return hidden[batch["begin"] + (batch["length"] - 1 if which == "last" else torch.zeros_like(batch["begin"]))]
