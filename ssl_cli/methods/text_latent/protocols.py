"""Protocols of methods with a code of a text: a shorter text, or numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor

    from ssl_cli.data.batches import ArrayDataset
    from ssl_cli.data.tokenizers.tokenizer import Tokenizer


@runtime_checkable
class Summarizes(Protocol):
    """A method that writes a summary of a text; it has learned from articles, and from titles of others."""

    def summarize(self, texts: Sequence[str]) -> list[str]:
        """Return a summary of each text."""


@runtime_checkable
class FitsTexts(Summarizes, Protocol):
    """A method that is fitted to texts in one go, without gradients."""

    def fit_texts(self, articles: Sequence[str], titles: Sequence[str]) -> None:
        """Fit to articles, and to titles that belong to none of them."""


@runtime_checkable
class LearnsFromSearch(Summarizes, Protocol):
    """A method that learns by gradient what another one, its teacher, chooses of each article."""

    teacher: FitsTexts

    def rows(self, articles: Sequence[str]) -> ArrayDataset:
        """Return articles as rows to learn from, with the choices of the fitted teacher."""

    def set_threshold(self, batches: Iterable[Mapping[str, Tensor]]) -> None:
        """Set how much is chosen, by batches of rows that were held out."""


@runtime_checkable
class RebuildsTexts(Summarizes, Protocol):
    """A method that rebuilds articles from summaries; it learns by gradient, from tokens of articles and titles."""

    def use_tokenizer(self, tokenizer: Tokenizer) -> None:
        """Set the tokenizer between texts and tokens."""

    def rows(self, articles: Sequence[str], titles: Sequence[str], seed: int) -> ArrayDataset:
        """Return articles as rows; with titles, each batch has some of these."""

    def embed(self, texts: Sequence[str]) -> Tensor:
        """Return the vector of each text in the network that reads it, (N, C)."""

    def rebuild(self, summaries: Sequence[str]) -> list[str]:
        """Return the beginning of the article that each summary makes one think of."""

    def rebuilding(self, articles: Sequence[str], summaries: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return how well articles follow from summaries: nats a token, and the share of tokens predicted, (N,)."""


@runtime_checkable
class CodesSentences(Protocol):
    """A variational method with a code of numbers for each sentence; a batch has `ids` (B, T) and `length` (B,)."""

    latent: int

    def posterior_of(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Return the mean and the log variance of the codes, (B, Z) each."""

    def write(self, z: Tensor, max_tokens: int, temperature: float) -> tuple[Tensor, Tensor]:
        """Write the sentence of each code (B, Z): its tokens (B, T), and their number (B,)."""

    def lower_bound(self, batch: Mapping[str, Any], samples: int) -> Tensor:
        """Return the evidence lower bound of each sentence in nats, (B,)."""

    def log_likelihood(self, batch: Mapping[str, Any], samples: int) -> Tensor:
        """Return the importance-weighted estimate for each sentence in nats, (B,)."""
