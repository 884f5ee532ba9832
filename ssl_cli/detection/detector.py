"""What a detector is that is fitted in one go rather than trained by gradient."""

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
