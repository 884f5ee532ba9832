"""Protocols: what a method of speech can do besides its loss.

Shapes: B utterances of a batch, padded to T frames of M normalised log-mels, of which the first `length` count. L
units or steps of content, of `stride` frames each: L = ceil(T / stride). `reference` (B, R, M) are frames of the voice
that is to be heard, `speaker` (B,) its index among the training speakers, or -1. Imports torch for the type checker
only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor

    Batch = Mapping[str, Tensor]


@runtime_checkable
class ReconstructsSpeech(Protocol):
    """A method that rebuilds speech from a code."""

    def reconstruct_frames(self, batch: Batch) -> Tensor:
        """Return the rebuilt frames (B, T, M) of `frames`, in the voice that they have."""


@runtime_checkable
class ConvertsVoices(ReconstructsSpeech, Protocol):
    """A method that says the same in another voice.

    With `hears_reference` it takes the voice from `reference`, which may be of a speaker it never heard; else from
    `speaker`, one of the training speakers. Of a voice it wants up to `reference_s` seconds.
    """

    hears_reference: ClassVar[bool]
    reference_s: ClassVar[float]

    def convert(self, batch: Batch) -> Tensor:
        """Return frames (B, T, M): what `frames` say, in the voice of `reference` or `speaker`."""


@runtime_checkable
class HasContent(Protocol):
    """A method with one code for what is said, and one for who says it."""

    stride: int

    def content(self, batch: Batch) -> Tensor:
        """Return the content codes (B, L, C) of `frames`."""

    def speaker_code(self, batch: Batch) -> Tensor:
        """Return the speaker codes (B, S) of `reference` or `speaker`."""


@runtime_checkable
class HasUnits(Protocol):
    """A method with a discrete unit for every `stride` frames; `alphabet` is how many different units there are."""

    alphabet: int
    stride: int

    def units(self, batch: Batch) -> Tensor:
        """Return the units (B, L) int64 of `frames`."""

    def unit_vectors(self) -> Tensor:
        """Return the vectors of the units, (alphabet, C): what is similar has similar vectors."""


@runtime_checkable
class DecodesUnits(HasUnits, Protocol):
    """A method that turns units into speech; `code_counts` (alphabet + 1, alphabet) is how often the
    training speech had a unit after another; its last row is for the first unit of an utterance."""

    code_counts: Tensor

    def decode_units(self, units: Tensor, batch: Batch) -> Tensor:
        """Return frames (B, T, M) of units (B, L), in the voice of `speaker` or `reference`."""


@runtime_checkable
class EncodesSpeech(Protocol):
    """A method with a vector for each frame, layer by layer; it learns from crops of `window` frames."""

    window: int

    def hidden_layers(self, batch: Batch) -> list[Tensor]:
        """Return the hidden states (B, T, C) of each layer, that of the input embedding first."""
