"""The tagger: its loss, its threshold, and that it learns from a search."""

from typing import Any

import numpy as np
import pytest
import torch

from ssl_cli.methods.text_latent.extractive_search import ExtractiveSearch
from ssl_cli.methods.text_latent.extractive_tagger import ExtractiveTagger
from ssl_cli.models.word_tagger import WordTagger, hash_words
from tests.helpers.articles import make_pairs


def fitted_search(**options: Any) -> ExtractiveSearch:
    search, pairs = ExtractiveSearch(**options), make_pairs(200)
    search.fit_texts([pair["body"] for pair in pairs[:100]], [pair["headline"] for pair in pairs[100:]])
    return search


@pytest.fixture(scope="module")
def learned() -> ExtractiveTagger:
    torch.manual_seed(0)
    model = ExtractiveTagger(fitted_search(), layers=1, width=32, num_buckets=512)
    rows = model.rows([pair["body"] for pair in make_pairs(200, seed=1)])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        model(rows.arrays)["loss"].backward()
        optimizer.step()
    model.eval()
    with torch.inference_mode():
        model.set_threshold([rows.arrays])
    return model


def test_it_learns_what_the_search_chooses(learned: ExtractiveTagger) -> None:
    texts = [pair["body"] for pair in make_pairs(60, seed=2)]
    pairs = zip(learned.summarize(texts), learned.teacher.summarize(texts), strict=True)
    assert np.mean([ours == searched for ours, searched in pairs]) > 0.9


def test_the_loss_is_the_cross_entropy_of_the_real_words() -> None:
    model = ExtractiveTagger(fitted_search(), layers=1, width=32, num_buckets=64).eval()
    rows = model.rows(["the paris market for wheat falls", "oslo copper"])
    length, chosen = rows.arrays["length"], rows.arrays["chosen"]
    assert length.tolist() == [6, 2] and chosen[0].sum() <= 6 and chosen[:, 6:].sum() == 0
    logits = model.network(rows.arrays["words"], length)
    p = logits.sigmoid()
    naive = [
        -torch.log(p[row, k] if chosen[row, k] else 1 - p[row, k]) for row in range(2) for k in range(int(length[row]))
    ]
    torch.testing.assert_close(model(rows.arrays)["loss"], torch.stack(naive).mean())


def test_padding_has_no_effect_on_a_word() -> None:
    torch.manual_seed(0)
    network = WordTagger(10, 64, layers=2, width=32, heads=None, dropout=0.0).eval()
    words, length = hash_words([["one", "two", "three"]], 10, 64)
    alone = network(torch.from_numpy(words[:, :3]), torch.from_numpy(length))
    words[:, 3:] = 7
    torch.testing.assert_close(network(torch.from_numpy(words), torch.from_numpy(length))[:, :3], alone)


def test_the_threshold_keeps_as_many_words_as_the_search(learned: ExtractiveTagger) -> None:
    rows = learned.rows([pair["body"] for pair in make_pairs(40, seed=3)])
    with torch.inference_mode():
        learned.set_threshold([rows.arrays])
        logits = learned.network(rows.arrays["words"], rows.arrays["length"])
    is_real = torch.arange(logits.shape[1]) < rows.arrays["length"][:, None]
    assert int((logits[is_real] >= learned.threshold).sum()) == int(rows.arrays["chosen"].sum())


def test_no_summary_is_longer_than_allowed_and_one_of_nothing_is_empty() -> None:
    model = ExtractiveTagger(fitted_search(max_words=2), layers=1, width=32, num_buckets=64).eval()
    model.threshold.fill_(-1e9)
    assert [len(text.split()) for text in model.summarize(["one two three four", "", "x"])] == [2, 0, 1]
    model.threshold.fill_(1e9)
    assert [len(text.split()) for text in model.summarize(["one two three four"])] == [1]


def test_features_of_words() -> None:
    hashed, length = hash_words([["Smith", "smith", "1.5", "12"], []], 3, 10_000)
    assert hashed.shape == (2, 3, 3) and length.tolist() == [3, 0] and not hashed[1].any()
    same = hashed[0, 0] == hashed[0, 1]  # the word and its ending, but not its shape
    assert same.tolist() == [True, True, False]
