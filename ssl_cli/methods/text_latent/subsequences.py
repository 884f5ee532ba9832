"""Exact search for the subsequence of a text's words that a trigram model and a score of each word prefer."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ssl_cli.models.ngram import BEGIN, TrigramModel

TEXTS_AT_A_TIME = 64


class _Places(NamedTuple):
    """Positions a < b < c of words in a text (K,) each; 0 stands for its beginning, and may be a and b at once."""

    a: np.ndarray
    b: np.ndarray
    c: np.ndarray


def best_subsequences(
    model: TrigramModel, texts: Sequence[Sequence[int]], scores: Sequence[np.ndarray], max_words: int, end: int
) -> list[list[int]]:
    """Return the positions of the best subsequence of each text, of 1 to `max_words` words.

    `texts` are words by number, and `scores` what each word adds, an array of the same length. A subsequence is worth
    the sum of its words' scores and its log-probability, its end included. The search is exact: a state is the last
    two words, of which a trigram model needs to know no more (a Viterbi search). A text without words has none.
    """
    found: list[list[int]] = [[] for _ in texts]
    by_length: dict[int, list[int]] = {}
    for index, text in enumerate(texts):
        by_length.setdefault(len(text), []).append(index)
    for length, members in by_length.items():
        for first in range(0, len(members) if length else 0, TEXTS_AT_A_TIME):
            chosen = members[first : first + TEXTS_AT_A_TIME]
            words, added = np.array([texts[k] for k in chosen]), np.stack([scores[k] for k in chosen])
            for index, positions in zip(chosen, _search(model, words, added, max_words, end), strict=True):
                found[index] = positions
    return found


def _search(model: TrigramModel, words: np.ndarray, added: np.ndarray, max_words: int, end: int) -> list[list[int]]:
    """Return the best positions for texts of one length: words (B, N) and their scores (B, N)."""
    n_texts, n = words.shape
    words = np.concatenate([np.full((n_texts, 1), BEGIN), words], axis=1)  # (B, 1 + N)
    added = np.concatenate([np.zeros((n_texts, 1)), added], axis=1)
    places = _places(n)
    follows = np.full((n_texts, n + 1, n + 1, n + 1), -np.inf)  # (B, a, b, c): log p(c | a, b)
    follows[:, places.a, places.b, places.c] = model.log_probabilities(*(words[:, place] for place in places))
    a, b = (np.broadcast_to(grid, (n_texts, n + 1, n + 1)) for grid in (words[:, :, None], words[:, None, :]))
    ends = model.log_probabilities(a, b, np.full_like(a, end))  # (B, a, b)

    value = np.full((n_texts, n + 1, n + 1), -np.inf)  # of the best that ends with words a, b
    value[:, 0, 1:] = follows[:, 0, 0, 1:] + added[:, 1:]
    best, best_state, best_length = np.full(n_texts, -np.inf), np.zeros(n_texts, np.int64), np.zeros(n_texts, np.int64)
    before: list[np.ndarray] = []  # (B, b, c) for each length: the word a before them
    for length in range(1, min(max_words, n) + 1):
        finished = (value + ends).reshape(n_texts, -1)
        state = finished.argmax(1)
        top = finished[np.arange(n_texts), state]
        is_better = top > best
        best = np.where(is_better, top, best)
        best_state, best_length = np.where(is_better, state, best_state), np.where(is_better, length, best_length)
        longer = value[:, :, :, None] + follows  # (B, a, b, c)
        before.append(longer.argmax(1))
        value = longer.max(1) + added[:, None, :]
    return [_path(before, row, divmod(int(best_state[row]), n + 1), int(best_length[row])) for row in range(n_texts)]


def _path(before: list[np.ndarray], row: int, state: tuple[int, int], length: int) -> list[int]:
    """Return the positions, from 0, of a subsequence by its last two words."""
    a, b = state
    positions = [b]
    for step in range(length - 2, -1, -1):
        positions.append(a)
        a, b = int(before[step][row, a, b]), a
    return [position - 1 for position in reversed(positions)]


def _places(n: int) -> _Places:
    """Return all positions of three words in a row of a subsequence of n words, or of the beginning and words."""
    a, b, c = np.meshgrid(*[np.arange(n + 1)] * 3, indexing="ij")
    is_valid = (c > b) & ((b > a) | ((a == 0) & (b == 0)))
    return _Places(a[is_valid], b[is_valid], c[is_valid])
