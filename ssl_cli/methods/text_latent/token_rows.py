"""Articles and titles as rows of tokens: each batch of articles comes with titles of others."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from ssl_cli.data.articles.words import join_words, words_of
from ssl_cli.data.batches import TokenRows
from ssl_cli.data.tokenizers.tokenizer import Tokenizer

Arrays = dict[str, Tensor]  # ids (N, L), length (N,), and the number of each token's word (N, L)


def as_read(text: str, max_words: int | None = None) -> str:
    """Return a text as models read it: the first words in lower case, without punctuation.

    A title in capitals would otherwise share no token with its article.
    """
    return join_words(words_of(text)[:max_words]).lower()


def token_arrays(tokenizer: Tokenizer, texts: Sequence[str], max_tokens: int, max_words: int | None = None) -> Arrays:
    """Return the first tokens of texts, padded with 0: `ids` (N, L), `length` (N,) and `word` (N, L)."""
    ids, word = (np.zeros((len(texts), max_tokens), np.int64) for _ in range(2))
    length = np.zeros(len(texts), np.int64)
    encoded = tokenizer.encode_inside(as_read(text, max_words) for text in texts)
    for row, of_text in enumerate(encoded):
        tokens = np.array(of_text[:max_tokens], np.int64)
        length[row] = n = len(tokens)
        ids[row, :n] = tokens
        word[row, :n] = np.cumsum(tokenizer.find_word_starts(tokens)) - 1 if n else 0
    return {name: torch.from_numpy(array) for name, array in (("ids", ids), ("length", length), ("word", word))}


def article_rows(articles: Arrays) -> TokenRows:
    """Return articles as rows: their arrays with `article_` before each name."""
    return TokenRows({f"article_{name}": array for name, array in articles.items()})


class UnpairedRows(TokenRows):
    """Rows of articles. A batch has as many titles, drawn from all of them by the seed and the batch's rows."""

    def __init__(self, articles: TokenRows, titles: Arrays, seed: int):
        super().__init__(articles.arrays, articles.row_ids)
        self.articles, self.titles, self.seed = articles, titles, seed

    def on(self, device: torch.device) -> Self:
        """Return the same rows on a device, with their titles."""
        titles = {name: array.to(device) for name, array in self.titles.items()}
        return type(self)(self.articles.on(device), titles, self.seed)

    def take(self, selection: np.ndarray) -> Self:
        """Return some of the articles, with all titles."""
        return type(self)(self.articles.take(selection), self.titles, self.seed)

    def __getitem__(self, item: tuple[int, Tensor | slice, float]) -> dict[str, Any]:
        batch = super().__getitem__(item)
        k, index, _ = item
        first = index.start if isinstance(index, slice) else int(index[0])
        draws = np.random.default_rng([self.seed, 5, k, first])
        drawn = torch.from_numpy(draws.integers(len(self.titles["ids"]), size=len(batch["article_ids"])))
        drawn = drawn.to(self.device)
        return batch | {f"title_{name}": array[drawn] for name, array in self.titles.items()}
