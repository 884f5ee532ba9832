"""Protocols: what a method can do besides its loss. `check`, the commands and the reports ask for them; what training
asks for is in `training_protocols`.

Shapes: B rows of a batch, `x` (B, *shape) float32 (pixels in 0..1), Z numbers in a code, L discrete codes of a row,
V tokens in the vocabulary. The module imports torch for the type checker only, so that the command line stays quick.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ssl_cli.data.tokenizers.seq2seq_template import Seq2SeqTemplate
    from ssl_cli.models.attention import KVCache

    Batch = Mapping[str, Tensor]


# --- codes and reconstructions ---


@runtime_checkable
class Reconstructs(Protocol):
    """A method that reconstructs its input."""

    def reconstruct(self, batch: Batch) -> Tensor:
        """Return the reconstructions (B, *shape) of the rows `batch["x"]`."""


@runtime_checkable
class Embeds(Protocol):
    """A method with a code of numbers for each row."""

    def embed(self, batch: Batch) -> Tensor:
        """Return the codes (B, Z)."""


@runtime_checkable
class MakesViews(Embeds, Protocol):
    """A method that learns from several random views of each image, which it compares."""

    augment: Callable[[Tensor], Tensor]  # images (B, C, H, W) in 0..1 -> a random view of each

    def views(self, x: Tensor) -> Tensor:
        """Return the views of images (B, C, H, W), all of the first ones before all of the second: (V * B, C, H, W)."""


@runtime_checkable
class LearnsFromImages(Embeds, Protocol):
    """A method that learns from images alone; it rebuilds none of them pixel by pixel, unless they were hidden."""

    def pictures(self, batch: Batch) -> dict[str, Tensor]:
        """Return what the method reads and makes of images `x`, by captions: (B, C, H, W) in 0..1 each."""


@runtime_checkable
class Decodes(Protocol):
    """A method that turns a code of numbers into a row."""

    def decode(self, z: Tensor) -> Tensor:
        """Return the rows (B, *shape) of codes (B, Z)."""


@runtime_checkable
class Generates(Protocol):
    """A method that generates new rows."""

    def generate(self, n: int) -> Tensor:
        """Return n new rows, (n, *shape)."""


@runtime_checkable
class Corrupts(Protocol):
    """A method that learns from corrupted rows."""

    def corrupt(self, x: Tensor) -> Tensor:
        """Return corrupted rows, of the same shape."""


@runtime_checkable
class HasPosterior(Protocol):
    """A variational method: the code of a row is a normal distribution."""

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and the log variance of the codes, (B, Z) each."""

    def elbo(self, x: Tensor, samples: int) -> Tensor:
        """Return the evidence lower bound of each row in nats, (B,)."""


@runtime_checkable
class HasLikelihood(Protocol):
    """A method that estimates the log-likelihood of a row."""

    likelihood: str  # the distribution of a pixel: "gaussian" is a density over 0..1

    def binarized(self, x: Tensor) -> Tensor:
        """Return the rows as the likelihood is defined for them: sampled to black and white, or as they are."""

    def elbo(self, x: Tensor, samples: int) -> Tensor:
        """Return the evidence lower bound for each row in nats, (B,)."""

    def log_likelihood(self, x: Tensor, samples: int) -> Tensor:
        """Return the importance-weighted estimate for each row in nats, (B,)."""


@runtime_checkable
class HasCodes(Protocol):
    """A method with discrete codes; `alphabet` is how many different codes there are."""

    alphabet: int

    def codes(self, batch: Batch) -> Tensor:
        """Return the codes of each row, (B, L) int64 in 0..alphabet-1."""


@runtime_checkable
class DecodesCodes(Protocol):
    """A method that turns discrete codes into rows; `code_counts` (L, alphabet) is how often training rows had each."""

    alphabet: int
    code_counts: Tensor

    def decode_codes(self, codes: Tensor) -> Tensor:
        """Return the rows (B, *shape) of codes (B, L)."""


@runtime_checkable
class HasPrior(HasCodes, Protocol):
    """A method with a generative network over its discrete codes, which is fitted after the method itself."""

    prior: Any
    prior_is_fitted: Tensor


@runtime_checkable
class Classifies(Protocol):
    """A method that sorts rows into classes without labels."""

    def classify(self, batch: Batch) -> Tensor:
        """Return the class of each row, (B,) int64."""


@runtime_checkable
class AdvisesOnCollapse(Protocol):
    """A method that knows which of its options help against a collapsed code."""

    def collapse_advice(self, sign: str, enough: int) -> str:
        """Return what to try against a sign of collapse, or ""; `enough` numbers, bits or codes are in use."""


@runtime_checkable
class EncodesImages(Protocol):
    """A network over images that can be given a head for a labelled task: (B, C, H, W) in 0..1 -> (B, width)."""

    width: int

    @property
    def options(self) -> dict[str, Any]:
        """The arguments that build a network of the same shape."""

    def grid(self, x: Tensor) -> Tensor:
        """Return a vector for each place of images (B, C, H, W), (B, width, h, w)."""

    def __call__(self, x: Tensor) -> Tensor:
        """Return a vector for each image, (B, width)."""


# --- anomaly scores ---


@runtime_checkable
class ScoresAnomalies(Protocol):
    """A method that scores how abnormal a row is."""

    def score(self, batch: Batch) -> Tensor:
        """Return the scores (B,) of the rows `batch["x"]`; larger is more abnormal."""


@runtime_checkable
class Explains(Protocol):
    """A method that splits a score into the contributions of columns."""

    def explain(self, batch: Batch, columns: list[slice]) -> tuple[Tensor, Tensor]:
        """Return the expected features (B, D), and each column's contribution to the score, (B, len(columns))."""


@runtime_checkable
class FittedInOneGo(Protocol):
    """A method that is fitted by one call instead of trained by gradient."""

    def fit(self, x: np.ndarray, seed: int) -> None:
        """Fit to rows (N, D) float32; every random draw follows from the seed."""


@runtime_checkable
class Detector(FittedInOneGo, ScoresAnomalies, Protocol):
    """A detector fitted in one go on normal rows, which saves itself."""

    def save(self, folder: Path) -> None:
        """Write what was learned into a run folder, as files that run no code when they are read."""

    def restore(self, folder: Path) -> None:
        """Read back what `save` wrote."""


@runtime_checkable
class HasParts(Protocol):
    """A detector made of others, which are fitted separately; at most one of them is trained by gradient."""

    @property
    def parts(self) -> tuple[Any, ...]:
        """The detectors it is made of."""


# --- language ---


@runtime_checkable
class LearnsFromText(Protocol):
    """A method that learns from unlabelled text, in rows of `row_length` tokens."""

    row_length: int

    def make_inputs(self, batch: Batch) -> dict[str, Tensor]:
        """Return the inputs of `forward` for a batch of text, `ids` (B, T): `inputs`, `targets` and more."""


@runtime_checkable
class EmbedsText(Protocol):
    """A language model that gives a vector of a text."""

    def embed_text(self, batch: Batch) -> Tensor:
        """Return a vector of each text `ids` (B, T), without special tokens: (B, C)."""


@runtime_checkable
class FillsMasks(Protocol):
    """A masked language model; `mask_token` is the id of [MASK]."""

    mask_token: int

    def mask_logits(self, ids: Tensor) -> Tensor:
        """Return logits (M, V) of the M masks in ids (B, T), row by row."""


@runtime_checkable
class PredictsMasked(Protocol):
    """A method whose predictions for masked tokens of a text can be shown; `masks_per_row` are masked in training."""

    masks_per_row: int

    def masked_predictions(self, batch: Batch) -> tuple[dict[str, Tensor], Tensor]:
        """Return the result of `make_inputs`, and logits (B, n, V) of the masked tokens."""


@runtime_checkable
class ContinuesText(Protocol):
    """A causal language model."""

    def next_logits(self, ids: Tensor, cache: KVCache | None = None) -> Tensor:
        """Return logits (B, V) of the token that follows ids (B, T), which continue those in the cache if given."""


@runtime_checkable
class WritesText(Protocol):
    """A method that reads a source text and writes a target; its `network` is an EncoderDecoder."""

    network: Any

    @property
    def template(self) -> Seq2SeqTemplate:
        """The special tokens around both texts. Its class has it too: as a property, it says so before it is built."""


@runtime_checkable
class HasSentenceTask(Protocol):
    """A method with an optional sentence-pair task: none, nsp or sop."""

    sentence_task: str


@runtime_checkable
class EncodesText(Protocol):
    """A network that encodes texts, and can be given a head for a labelled task."""

    @property
    def options(self) -> dict[str, Any]:
        """The arguments that build a network of the same shape."""

    def logits(self, hidden: Tensor) -> Tensor:
        """Return logits (..., V) of hidden vectors (..., C)."""


@runtime_checkable
class PredictsLabels(Protocol):
    """A method trained on a labelled task."""

    def predict_batch(self, batch: Batch) -> list[np.ndarray]:
        """Return the raw predictions of a batch: an array for each example or sequence."""
