"""Transformer that says of each word of a text whether it is chosen. It needs no vocabulary: words are hashed."""

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ssl_cli.models.attention import as_numbers, score_dtype
from ssl_cli.models.blocks import block_shape
from ssl_cli.models.encoder import Encoder

N_FEATURES = 3  # of a word: itself, its ending, and its shape
ENDING = 3  # letters


class WordTagger(Encoder):
    """Encoder of hashed words (arXiv 0902.2206) with a logit for each: (B, T, N_FEATURES) -> (B, T)."""

    def __init__(self, context: int, num_buckets: int, layers: int, width: int, heads: int | None, dropout: float):
        rest: dict[str, Any] = {"norm": "pre", "norm_eps": 1e-5, "activation": "gelu", "attention_dropout": 0.0}
        shape = block_shape(width, heads, None, "learned", dropout=dropout, **rest)
        tables = {"feature_table": nn.Embedding(num_buckets, width), "output": nn.Linear(width, 1)}
        super().__init__(tables, context, layers, "learned", False, shape)
        self.feature_table: nn.Embedding
        self.output: nn.Linear
        self.num_buckets = num_buckets

    def forward(self, words: Tensor, length: Tensor) -> Tensor:
        """Return logits (B, T) of hashed words (B, T, N_FEATURES), of which the first `length` (B,) are real."""
        n = words.shape[1]
        x = self.normalize_and_drop(self.add_positions(self.feature_table(words).sum(2), slice(0, n)))
        is_real = torch.arange(n, device=words.device) < length[:, None].clamp(min=1)
        mask = as_numbers(is_real[:, None, None, :], score_dtype(x))
        return self.output(self.encode(x, slice(0, n), mask, causal=False)).squeeze(-1)


def hash_words(texts: Sequence[Sequence[str]], n_words: int, num_buckets: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the hashed features (N, n_words, N_FEATURES) int64 of each text's first words, and their number (N,)."""
    hashed = np.zeros((len(texts), n_words, N_FEATURES), np.int64)
    for row, words in enumerate(texts):
        for place, word in enumerate(words[:n_words]):
            hashed[row, place] = [zlib.crc32(feature.encode()) % num_buckets for feature in _features(word)]
    return hashed, np.array([min(len(words), n_words) for words in texts], np.int64)


def _features(word: str) -> list[str]:
    """Return the word in lower case, its ending, and its shape: Aa for Smith, 0 for digits."""
    kinds = ("0" if letter.isdigit() else "A" if letter.isupper() else "a" for letter in word[:ENDING])
    return [f"word {word.lower()}", f"ending {word.lower()[-ENDING:]}", f"shape {''.join(dict.fromkeys(kinds))}"]
