"""Small text sources, and how corpora are encoded, for tests of text data."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from ssl_cli.data.io.text import ReadIssues
from ssl_cli.data.tokenizers.fast_encode import CachedEncoder
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.data.tokenizers.trainers import WordPiece

DOCUMENTS = [f"Document {k}: birds fly {k % 7} times, 鸟会飞.\nAnd then {'they rest ' * (k % 5)}" for k in range(200)]


@dataclass
class Fixed:
    """A source of given documents, every tenth held out."""

    texts: list[str] = field(default_factory=lambda: DOCUMENTS)
    val: float | None = 0.1
    max_tokens: int | None = None
    isolate_documents: bool = False
    phrases: str | None = None
    issues: ReadIssues = field(default_factory=ReadIssues)

    def splits(self) -> Iterator[tuple[str, str]]:
        return (("val" if k % 10 == 9 else "train", text) for k, text in enumerate(self.texts))

    def cache_key(self) -> list[object]:
        return [self.texts, self.max_tokens, self.phrases]


def wordpiece() -> WordPiece:
    return WordPiece(vocab_size=300, lowercase=True, sample_bytes=100_000)


def encode_each(tokenizer: Tokenizer, texts: list[str]) -> list[np.ndarray]:
    """Return the tokens of each text (n,), as a corpus is encoded."""
    tokens, lengths = CachedEncoder(tokenizer.library).encode(texts)
    return np.split(tokens, np.cumsum(lengths)[:-1])
