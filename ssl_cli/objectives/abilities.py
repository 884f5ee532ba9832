"""What an objective may be able to do besides its loss: whoever trains it asks whether it has the method."""

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Pretrains(Protocol):
    """A model that learns something of the training rows before it is trained by gradient."""

    def pretrain(self, x: Tensor, seed: int, tell: Callable[[str], None]) -> None:
        """`x` (N, ...) are all training rows, images as bytes; every random draw follows from the seed. `tell` takes a
        line for the log."""


@runtime_checkable
class TakesStock(Protocol):
    """A model that wants to see the training rows once more when it is trained."""

    def take_stock(self, x: Tensor) -> None:
        """`x` (N, ...) are all training rows, images as bytes, on whatever device."""


@runtime_checkable
class CountsOverEpoch(Protocol):
    """An objective with figures that are no mean over batches: of what it saw in evaluation since it was last asked."""

    def over_epoch(self) -> dict[str, float]: ...


@runtime_checkable
class LargeProducts(Protocol):
    """An objective whose time goes into products of large matrices: bfloat16 pays on a CPU too, which has it."""

    has_large_products: bool


@runtime_checkable
class DecaysMatrices(Protocol):
    """An objective whose biases and norms are spared the weight decay, as BERT and GPT-2 have it."""

    decays_matrices: bool


@runtime_checkable
class LearnsByRates(Protocol):
    """An objective whose weights don't all learn at one rate: name -> part of the learning rate, where not 1."""

    rates: Mapping[str, float]


@runtime_checkable
class Derives(Protocol):
    """An objective with figures that follow from the means of its losses: a perplexity, say."""

    def derived(self, means: Mapping[str, float]) -> dict[str, float]: ...


def best_by(objective: object) -> str:
    """What of the watched rows tells the best weights: the loss, or a metric of which more is better, where the
    objective has a `best_by` that says so."""
    return getattr(objective, "best_by", None) or "loss"
