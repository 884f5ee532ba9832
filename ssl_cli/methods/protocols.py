"""What a method can do besides its loss, each as a Protocol that check, commands and reports ask for."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import Tensor


@runtime_checkable
class FittedInOneGo(Protocol):
    """A model that isn't trained by gradient."""

    def fit(self, x: np.ndarray, seed: int) -> None:
        """Learn from (N, D) float32 rows; every random draw follows from the seed."""


@runtime_checkable
class Detector(FittedInOneGo, Protocol):
    """Fitted on normal rows; scores are larger for more abnormal rows."""

    def score(self, batch: dict[str, Tensor]) -> Tensor:
        """(B,) scores of the rows `batch["x"]`, (B, D)"""

    def save(self, folder: Path) -> None:
        """Write what was learned into a run folder, as files that run no code when they are read."""

    def restore(self, folder: Path) -> None:
        """Read it back."""


@runtime_checkable
class HasParts(Protocol):
    """A detector made of others, of which one at most is trained by gradient; each is fitted by itself."""

    @property
    def parts(self) -> tuple[Any, ...]: ...


def sample(x: np.ndarray, max_rows: int | None, seed: int) -> np.ndarray:
    """All rows, or `max_rows` of them drawn without replacement."""
    if max_rows is None or len(x) <= max_rows:
        return x
    return x[np.sort(np.random.default_rng([seed, 2]).choice(len(x), max_rows, replace=False))]


@runtime_checkable
class InitializesFromData(Protocol):
    """A model that learns something of the training rows before it is trained by gradient."""

    def initialize_from_data(self, x: Tensor, seed: int, log: Callable[[str], None]) -> None:
        """`x` (N, ...) are all training rows, images as bytes; every random draw follows from the seed. `tell` takes a
        line for the log."""


@runtime_checkable
class FitsStatistics(Protocol):
    """A model that wants to see the training rows once more when it is trained."""

    def fit_statistics(self, x: Tensor) -> None:
        """`x` (N, ...) are all training rows, images as bytes, on whatever device."""


@runtime_checkable
class EpochMetrics(Protocol):
    """An objective with figures that are no mean over batches: of what it saw in evaluation since it was last asked."""

    def epoch_metrics(self) -> dict[str, float]: ...


@runtime_checkable
class MatmulBound(Protocol):
    """An objective whose time goes into products of large matrices: bfloat16 pays on a CPU too, which has it."""

    is_matmul_bound: bool


@runtime_checkable
class NoDecayOnVectors(Protocol):
    """An objective whose biases and norms are spared the weight decay, as BERT and GPT-2 have it."""

    no_decay_on_vectors: bool


@runtime_checkable
class LearningRateScales(Protocol):
    """An objective whose weights don't all learn at one rate: name -> part of the learning rate, where not 1."""

    lr_scales: Mapping[str, float]


@runtime_checkable
class DerivedMetrics(Protocol):
    """An objective with figures that follow from the means of its losses: a perplexity, say."""

    def derived_metrics(self, means: Mapping[str, float]) -> dict[str, float]: ...


def monitor_of(method: object) -> str:
    """What of the watched rows tells the best weights: the loss, or a metric of which more is better, where the
    objective has a `monitor` that says so."""
    return getattr(method, "monitor", None) or "loss"
