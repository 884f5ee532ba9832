"""What a data set can give, each as a Protocol; a verb asks for one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from ssl_cli.data.articles.sources import ArticleData
    from ssl_cli.data.audio.datasets import SpeechData
    from ssl_cli.data.images.datasets import ImageData
    from ssl_cli.data.one_class import OneClassData
    from ssl_cli.data.sentences.sources import SentenceData
    from ssl_cli.data.text.tokens import TextData
    from ssl_cli.data.tokenizers.trainers import TokenizerTrainer


@runtime_checkable
class OneClassSource(Protocol):
    """Rows of which some are normal: tables and images."""

    def one_class_splits(self, seed: int, hold_out: int = 1, val: bool = False, dev: bool = False) -> OneClassData:
        """Return the splits of the one-class protocol, see `data.one_class`."""


@runtime_checkable
class ImageSource(Protocol):
    """Images of one size."""

    def image_splits(self, seed: int) -> ImageData:
        """Return the training, validation and test images."""


@runtime_checkable
class SpeechSource(Protocol):
    """Utterances of several speakers."""

    def speech_splits(self, seed: int) -> SpeechData:
        """Return the training, validation and test utterances, and those of speakers that training does not hear."""


@runtime_checkable
class ArticleSource(Protocol):
    """Articles with titles."""

    def article_splits(self, seed: int) -> ArticleData:
        """Return articles and titles of others to learn from, and whole pairs to measure on."""


@runtime_checkable
class SentenceSource(Protocol):
    """Single sentences."""

    def sentence_splits(self, seed: int) -> SentenceData:
        """Return the training, validation and test sentences."""


@runtime_checkable
class TokenSource(Protocol):
    """Documents of text."""

    def tokenize(self, trainer: TokenizerTrainer) -> TextData:
        """Return the text as tokens of the tokenizer that `trainer` gives."""
