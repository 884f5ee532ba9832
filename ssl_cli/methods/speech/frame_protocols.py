"""Protocols of methods that learn from frames of speech: what precedes training, and what they predict, to be drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor

    Batch = Mapping[str, Tensor]


@runtime_checkable
class LearnsFromFrames(Protocol):
    """A method that learns vectors of frames from speech alone, in crops of `window` frames."""

    window: int

    def hidden_layers(self, batch: Batch) -> list[Tensor]:
        """Return the vectors (B, T, C) of the frames before the first block and after each."""

    def predict_frames(self, batch: Batch) -> FramePredictions:
        """Return the predictions for a batch."""


class FramePredictions(NamedTuple):
    """Predictions for the frames where `predicted` (B, T) is true.

    `frames` (B, T, M) are what is predicted of each, or what its unit sounds like. `units` and `predicted_units`
    (B, T) are the unit of every frame and the most likely one, if the method predicts units.
    """

    predicted: Tensor
    frames: Tensor
    units: Tensor | None = None
    predicted_units: Tensor | None = None


@runtime_checkable
class EncodesFrames(Protocol):
    """A network over frames that can be given a head for a labelled task."""

    @property
    def options(self) -> dict[str, Any]:
        """The arguments that build a network of the same shape."""

    def hidden_layers(self, frames: Tensor, length: Tensor) -> list[Tensor]:
        """Return the vectors (B, T, C) of frames (B, T, M) before the first block and after each."""


@runtime_checkable
class InitializesFromFrames(Protocol):
    """A method that computes something from the training utterances before it is trained by gradient."""

    def initialize_from_frames(self, batches: Iterable[Batch], seed: int, log: Callable[[str], None]) -> None:
        """Initialize from one pass over the training utterances; `log` prints a line, `seed` fixes all draws."""
