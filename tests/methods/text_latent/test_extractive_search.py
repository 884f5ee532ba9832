"""The search against all subsequences, and what it chooses."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from ssl_cli.errors import InputError
from ssl_cli.methods.text_latent.extractive_search import SMOOTHING, ExtractiveSearch
from ssl_cli.methods.text_latent.subsequences import best_subsequences
from ssl_cli.models.ngram import TrigramModel
from tests.helpers.articles import make_pairs

N_WORDS, END = 8, 7


@pytest.mark.parametrize("max_words", [1, 3, 9])
def test_the_search_is_exact(max_words: int) -> None:
    """Beside all subsequences of texts of several lengths, one of them empty."""
    rng = np.random.default_rng(0)
    model = TrigramModel([rng.integers(6, size=rng.integers(1, 6)).tolist() for _ in range(40)], N_WORDS, END)
    texts = [rng.integers(7, size=n).tolist() for n in (7, 5, 7, 1, 0, 6)]
    scores = [rng.normal(1, 2, size=len(text)) for text in texts]

    def worth(text: list[int], score: np.ndarray, places: tuple[int, ...]) -> float:
        return model.log_probability([text[k] for k in places], END) + float(score[list(places)].sum())

    for text, score, found in zip(texts, scores, best_subsequences(model, texts, scores, max_words, END), strict=True):
        lengths = range(1, min(max_words, len(text)) + 1)
        everything = [places for n in lengths for places in combinations(range(len(text)), n)]
        best = max(everything, key=lambda places: worth(text, score, places), default=())
        assert found == list(best)


@pytest.fixture(scope="module")
def fitted() -> ExtractiveSearch:
    model, pairs = ExtractiveSearch(), make_pairs(300)
    model.fit_texts([pair["body"] for pair in pairs[:150]], [pair["headline"] for pair in pairs[150:]])
    return model


def test_it_finds_the_headline_in_an_article(fitted: ExtractiveSearch) -> None:
    new = make_pairs(50, seed=1)
    found = fitted.summarize([pair["body"] for pair in new])
    assert np.mean([one == pair["headline"].lower() for one, pair in zip(found, new, strict=True)]) > 0.9


def test_what_a_word_is_worth(fitted: ExtractiveSearch) -> None:
    """By the formula of the class, for a text of one word: there is nothing to choose, and a worth to compute."""
    article = "market wheat"
    rare, common = fitted.vocabulary.encode(["wheat", "market"])
    log_q = np.log((fitted.counts + SMOOTHING) / (fitted.counts + SMOOTHING).sum())
    one_word = {
        word: fitted.headlines.log_probability([number], fitted.vocabulary.end)
        - fitted.body_weight * log_q[number]
        + fitted.word_bonus
        - fitted.position_cost * place
        for place, (word, number) in enumerate((("market", common), ("wheat", rare)))
    }
    single = ExtractiveSearch(max_words=1)
    single.vocabulary, single.counts, single.headlines = fitted.vocabulary, fitted.counts, fitted.headlines
    assert single.summarize([article]) == [max(one_word, key=lambda word: one_word[word])] == ["wheat"]


def test_no_summary_is_longer_than_allowed_and_one_of_nothing_is_empty(fitted: ExtractiveSearch) -> None:
    texts = [pair["body"] for pair in make_pairs(20, seed=2)] + ["", "!?", "unheard words only"]
    short = ExtractiveSearch(max_words=2)
    short.vocabulary, short.counts, short.headlines = fitted.vocabulary, fitted.counts, fitted.headlines
    lengths = [len(summary.split()) for summary in short.summarize(texts)]
    assert max(lengths) <= 2 and lengths[20:22] == [0, 0] and lengths[22] >= 1


def test_a_saved_one_writes_the_same(fitted: ExtractiveSearch, tmp_path: Path) -> None:
    fitted.save(tmp_path)
    again = ExtractiveSearch()
    again.restore(tmp_path)
    texts = [pair["body"] for pair in make_pairs(20, seed=3)]
    assert again.summarize(texts) == fitted.summarize(texts)


def test_damaged_counts_are_refused(fitted: ExtractiveSearch, tmp_path: Path) -> None:
    damaged = ExtractiveSearch()
    damaged.vocabulary, damaged.headlines, damaged.counts = fitted.vocabulary, fitted.headlines, fitted.counts[:-1]
    damaged.save(tmp_path)
    with pytest.raises(InputError, match="is damaged: word_counts has the shape"):
        ExtractiveSearch().restore(tmp_path)
