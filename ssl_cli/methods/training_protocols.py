"""Protocols that training asks a method for: what precedes and follows it, its metrics, and its optimizer groups."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor, nn


@runtime_checkable
class InitializesFromData(Protocol):
    """A method that computes something from the training rows before it is trained by gradient."""

    def initialize_from_data(self, x: Tensor, seed: int, log: Callable[[str], None]) -> None:
        """Initialize from all training rows (N, ...), images as bytes; `log` prints a line, `seed` fixes all draws."""


@runtime_checkable
class FitsStatistics(Protocol):
    """A method that computes statistics of the training rows after it is trained."""

    def fit_statistics(self, x: Tensor) -> None:
        """Compute statistics of all training rows (N, ...), images as bytes, on any device."""


@runtime_checkable
class FitsBatches(Protocol):
    """A method that computes statistics of the training rows after it is trained, from batches of all of them."""

    def fit_batches(self, batches: Iterable[Mapping[str, Tensor]], seed: int) -> None:
        """Compute statistics of all training rows; `batches` can be gone through several times."""


@runtime_checkable
class EpochMetrics(Protocol):
    """A method with metrics that are not means over batches."""

    def epoch_metrics(self) -> dict[str, float]:
        """Return the metrics of everything evaluated since the last call."""


@runtime_checkable
class DerivedMetrics(Protocol):
    """A method with metrics that follow from the means of its losses, such as a perplexity."""

    def derived_metrics(self, means: Mapping[str, float]) -> dict[str, float]:
        """Return the metrics, given the mean of each loss."""


@runtime_checkable
class Alternates(Protocol):
    """A method that is trained by several optimizers in turn, such as an adversarial one.

    Each step takes all turns on the same batches, in the order of the groups. `forward` gives the validation curve.
    """

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return the weights that each turn updates, by the turn's name; each weight of the method is in one group."""

    def losses(self, batch: Mapping[str, Tensor], turn: str) -> dict[str, Tensor]:
        """Return the scalar losses of a turn by name; its weights follow the gradient of `loss`, the others stay."""


@runtime_checkable
class NeedsWholeBatches(Protocol):
    """A method that compares the rows of a batch with each other: a short last batch of an epoch is left out."""

    needs_whole_batches: ClassVar[bool]


@runtime_checkable
class MovesAfterSteps(Protocol):
    """A method with weights that follow others, as those of a momentum encoder."""

    def after_step(self, progress: float) -> None:
        """Move them, after an optimizer step; `progress` is the share of the run that is done."""

    def restart(self) -> None:
        """Make them equal to those that they follow, as at the start of a run."""


@runtime_checkable
class MatmulBound(Protocol):
    """A method dominated by products of large matrices: bfloat16 is faster on a CPU too, if the CPU supports it."""

    is_matmul_bound: ClassVar[bool]


@runtime_checkable
class NoDecayOnVectors(Protocol):
    """A method whose biases and norms get no weight decay, as in BERT and GPT-2."""

    no_decay_on_vectors: ClassVar[bool]


@runtime_checkable
class LearningRateScales(Protocol):
    """A method whose weights have different learning rates."""

    lr_scales: Mapping[str, float]  # parameter name -> factor, where it is not 1


@runtime_checkable
class Monitored(Protocol):
    """A method that names the validation metric that chooses the best weights, which are kept: "loss", or one of which
    more is better. None: the loss is watched, and its best weights are kept only if it may stop the run early."""

    monitor: str | None


def monitor_of(method: object) -> str:
    """Return the validation metric that chooses the best weights: the loss, or a metric of which more is better."""
    return (method.monitor if isinstance(method, Monitored) else None) or "loss"
