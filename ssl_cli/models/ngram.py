"""Trigram language model over words, smoothed by Kneser and Ney."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

ORDER = 3
BEGIN = -1  # the word before the first one, twice


class TrigramModel:
    """Interpolated Kneser-Ney model of sentences (Chen and Goodman, 1999, sec. 2.7): log p(c | a, b) in nats.

    Words are numbers below `n_words`; of these `end` closes a sentence. Each order is discounted by n1 / (n1 + 2 n2),
    where n1 and n2 are how many of its n-grams occur once and twice. Below the single words is a uniform distribution.
    """

    def __init__(self, sentences: Iterable[Sequence[int]], n_words: int, end: int):
        rows = [(BEGIN, BEGIN, *sentence, end) for sentence in sentences]
        triples = np.array([row[k : k + ORDER] for row in rows for k in range(len(row) - 2)], np.int64).reshape(-1, 3)
        counts = dict[str, np.ndarray]()
        for order in range(ORDER, 0, -1):
            # Of lower orders, how many different words a sequence follows.
            triples, counts[f"counts_{order}"] = np.unique(triples, axis=0, return_counts=True)
            counts[f"ngrams_{order}"] = triples
            triples = triples[:, 1:]
        self._prepare(counts, n_words)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], n_words: int) -> "TrigramModel":
        """Build the model from its `arrays`."""
        model = cls.__new__(cls)
        model._prepare(arrays, n_words)
        return model

    def _prepare(self, arrays: Mapping[str, np.ndarray], n_words: int) -> None:
        self.arrays, self.n_words = dict(arrays), n_words
        self._orders = [
            _Order(arrays[f"ngrams_{order}"], arrays[f"counts_{order}"], n_words) for order in range(1, ORDER + 1)
        ]

    def log_probabilities(self, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
        """Return log p(c | a, b) of words in arrays of one shape; a and b may be BEGIN."""
        p = np.full(np.shape(c), 1 / self.n_words)
        for order, context in zip(self._orders, ([], [b], [a, b]), strict=True):
            p = order.interpolate(context, c, p)
        return np.log(p)

    def log_probability(self, sentence: Sequence[int], end: int) -> float:
        """Return the log-probability of a sentence and its end."""
        words = np.array([BEGIN, BEGIN, *sentence, end])
        return float(self.log_probabilities(words[:-2], words[1:-1], words[2:]).sum())


class _Order:
    """N-grams (N, n) of one order with their counts (N,), which are sorted."""

    def __init__(self, ngrams: np.ndarray, counts: np.ndarray, n_words: int):
        self.base = n_words + 1  # BEGIN is a word, too
        self.ngrams, self.counts = self._key(list(ngrams.T)), counts
        contexts = self._key(list(ngrams.T[:-1])) if ngrams.shape[1] > 1 else np.zeros(len(ngrams), np.int64)
        self.contexts, first = np.unique(contexts, return_index=True)
        self.totals = np.add.reduceat(counts, first) if len(first) else counts
        self.n_different = np.diff(np.append(first, len(contexts)))
        n_once, n_twice = (int((counts == n).sum()) for n in (1, 2))
        self.discount = n_once / (n_once + 2 * n_twice) if n_once and n_twice else 0.5

    def _key(self, words: Sequence[np.ndarray]) -> np.ndarray:
        """Return a number for each sequence of words, in the same order as the sequences."""
        key = np.zeros(np.shape(words[0]), np.int64)
        for word in words:
            key = key * self.base + (np.asarray(word) + 1)
        return key

    def interpolate(self, context: Sequence[np.ndarray], word: np.ndarray, lower: np.ndarray) -> np.ndarray:
        """Return the probability of words after their context, given those of the `lower` order."""
        if not len(self.ngrams):
            return lower
        where, is_known = _find(self.contexts, self._key(context) if context else np.zeros(np.shape(word), np.int64))
        at, occurs = _find(self.ngrams, self._key([*context, word]))
        total = np.where(is_known, self.totals[where], 1)
        kept = np.where(occurs, self.counts[at] - self.discount, 0) / total
        rest = self.discount * np.where(is_known, self.n_different[where], 0) / total
        return np.where(is_known, kept + rest * lower, lower)


def _find(keys: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where numbers stand among sorted keys, and whether they are there."""
    where = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return where, keys[where] == wanted
