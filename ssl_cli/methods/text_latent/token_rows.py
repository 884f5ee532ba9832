"""Articles and titles as rows of tokens: each batch of articles comes with titles of others."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl_cli.data.articles.words import join_words, words_of
from ssl_cli.data.batches import ArrayDataset
from ssl_cli.data.tokenizers.tokenizer import Tokenizer

Arrays = dict[str, Tensor]  # ids (N, L), length (N,), and the number of each token's word (N, L)


def as_read(text: str, max_words: int | None = None) -> str:
    """Return a text as models read it: the first words in lower case, without punctuation.

    A title in capitals would otherwise share no token with its article.
    """
    return join_words(words_of(text)[:max_words]).lower()


def token_arrays(tokenizer: Tokenizer, texts: Sequence[str], max_tokens: int, max_words: int | None = None) -> Arrays:
    """Return the first tokens of texts, padded with 0: `ids` (N, L), `length` (N,) and `word` (N, L)."""
    before = " " if tokenizer.is_byte_level else ""  # there the first word of a text is another token than elsewhere
    ids, word = (np.zeros((len(texts), max_tokens), np.int64) for _ in range(2))
    length = np.zeros(len(texts), np.int64)
    read = (as_read(text, max_words) for text in texts)
    encoded = tokenizer.library.encode_batch([before + text if text else "" for text in read], False, False)
    for row, encoding in enumerate(encoded):
        tokens = np.array(encoding.ids[:max_tokens], np.int64)
        length[row] = n = len(tokens)
        ids[row, :n] = tokens
        word[row, :n] = np.cumsum(tokenizer.find_word_starts(tokens)) - 1 if n else 0
    return {name: torch.from_numpy(array) for name, array in (("ids", ids), ("length", length), ("word", word))}


class ArticleRows(ArrayDataset):
    """Rows of articles."""

    def __init__(self, articles: Arrays, row_ids: np.ndarray | None = None):
        super().__init__({f"article_{name}": array for name, array in articles.items()}, row_ids)
        self.articles = articles

    @property
    def eval_batch_size(self) -> int:
        """Return the number of rows of a validation batch: the logits of more would fill the memory."""
        return 128

    def on(self, device: torch.device) -> "ArticleRows":
        """Return the same rows on a device."""
        return ArticleRows(_moved(self.articles, device), self.row_ids)

    def take(self, selection: np.ndarray) -> "ArticleRows":
        """Return some of the rows."""
        return ArticleRows(_chosen(self.articles, selection), self.row_ids[selection])


class UnpairedRows(ArticleRows):
    """Rows of articles. A batch has as many titles, drawn from all of them by the seed and the batch's rows."""

    def __init__(self, articles: Arrays, titles: Arrays, seed: int, row_ids: np.ndarray | None = None):
        super().__init__(articles, row_ids)
        self.titles, self.seed = titles, seed

    def on(self, device: torch.device) -> "UnpairedRows":
        """Return the same rows on a device, with their titles."""
        return UnpairedRows(_moved(self.articles, device), _moved(self.titles, device), self.seed, self.row_ids)

    def take(self, selection: np.ndarray) -> "UnpairedRows":
        """Return some of the articles, with all titles."""
        return UnpairedRows(_chosen(self.articles, selection), self.titles, self.seed, self.row_ids[selection])

    def __getitem__(self, item: tuple[int, Tensor | slice, float]) -> dict[str, Any]:
        batch = super().__getitem__(item)
        k, index, _ = item
        first = index.start if isinstance(index, slice) else int(index[0])
        draws = np.random.default_rng([self.seed, 5, k, first])
        drawn = torch.from_numpy(draws.integers(len(self.titles["ids"]), size=len(batch["article_ids"])))
        drawn = drawn.to(self.device)
        return batch | {f"title_{name}": array[drawn] for name, array in self.titles.items()}


def _moved(arrays: Arrays, device: torch.device) -> Arrays:
    return {name: array.to(device) for name, array in arrays.items()}


def _chosen(arrays: Arrays, selection: np.ndarray) -> Arrays:
    return {name: array[torch.from_numpy(selection)] for name, array in arrays.items()}
