"""The trigram model against a naive transcription of interpolated Kneser-Ney smoothing."""

from collections import defaultdict

import numpy as np
import pytest

from ssl_cli.models.ngram import BEGIN, TrigramModel

N_WORDS, END = 9, 8
SENTENCES = [[0, 1, 2], [0, 1, 3], [4, 1, 2, 5], [0, 1, 2], [6], [4, 4, 4, 1]]


def naive(sentences: list[list[int]], context: tuple[int, ...], word: int) -> float:
    """Return p(word | context) by the formulas, with dictionaries."""
    order = len(context) + 1
    rows = [[BEGIN, BEGIN, *sentence, END] for sentence in sentences]
    counts: dict[tuple[int, ...], int] = defaultdict(int)
    for row in rows:
        for k in range(len(row) - 2):
            counts[tuple(row[k : k + 3])] += 1
    for _ in range(3 - order):  # of lower orders, how many different words stand before a sequence
        lower: dict[tuple[int, ...], int] = defaultdict(int)
        for ngram in counts:
            lower[ngram[1:]] += 1
        counts = lower
    once, twice = (sum(count == n for count in counts.values()) for n in (1, 2))
    discount = once / (once + 2 * twice) if once and twice else 0.5
    below = naive(sentences, context[1:], word) if context else 1 / N_WORDS
    following = {ngram[-1]: count for ngram, count in counts.items() if ngram[:-1] == context}
    total = sum(following.values())
    if not total:
        return below
    return max(following.get(word, 0) - discount, 0) / total + discount * len(following) / total * below


@pytest.fixture(scope="module")
def model() -> TrigramModel:
    return TrigramModel(SENTENCES, N_WORDS, END)


def test_probabilities_are_those_of_the_formulas(model: TrigramModel) -> None:
    words = range(BEGIN, N_WORDS)
    triples = [(a, b, c) for a in words for b in words for c in range(N_WORDS)]
    a, b, c = np.array(triples).T
    found = np.exp(model.log_probabilities(a, b, c))
    expected = [naive(SENTENCES, (a, b), c) for a, b, c in triples]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_they_add_up_to_one_after_any_words(model: TrigramModel) -> None:
    c = np.arange(N_WORDS)
    for a, b in ((BEGIN, BEGIN), (BEGIN, 0), (0, 1), (7, 7), (1, 2)):
        p = np.exp(model.log_probabilities(np.full_like(c, a), np.full_like(c, b), c))
        assert p.sum() == pytest.approx(1) and (p > 0).all()


def test_a_sentence_has_the_sum_over_its_words_and_its_end(model: TrigramModel) -> None:
    expected = sum(np.log(naive(SENTENCES, *each)) for each in (((-1, -1), 0), ((-1, 0), 1), ((0, 1), END)))
    assert model.log_probability([0, 1], END) == pytest.approx(expected)


def test_it_is_the_same_from_its_arrays(model: TrigramModel) -> None:
    again = TrigramModel.from_arrays(model.arrays, N_WORDS)
    assert again.log_probability([4, 1, 2], END) == model.log_probability([4, 1, 2], END)


def test_without_sentences_all_words_are_equally_likely() -> None:
    assert TrigramModel([], N_WORDS, END).log_probability([3], END) == pytest.approx(-2 * np.log(N_WORDS))
