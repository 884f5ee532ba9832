"""Rows of tokens: what is read of a text, and which titles come with which articles."""

import numpy as np
import torch

from ssl_cli.data.tokenizers.trainers import ByteLevelBPE
from ssl_cli.methods.text_latent.token_rows import UnpairedRows, as_read, token_arrays
from tests.helpers.text_autoencoders import ARTICLES, make_model, make_rows


def test_texts_are_read_as_their_first_words_in_lower_case() -> None:
    assert as_read("U.S. WHEAT falls - 3.5 pct!", 3) == "u.s wheat falls"
    assert as_read("奧林匹克委員會", 3) == "奧林匹"


def test_tokens_know_their_word_and_texts_are_cut() -> None:
    tokenizer = ByteLevelBPE(vocab_size=280, sample_bytes=10**6).train([" copper falls"] * 5)
    arrays = token_arrays(tokenizer, ["Copper falls again", "copper", "..."], 12)
    rebuilt = [tokenizer.decode(ids[:n]) for ids, n in zip(arrays["ids"].tolist(), arrays["length"], strict=True)]
    assert rebuilt == [" copper falls again", " copper", ""]
    n = int(arrays["length"][0])
    words = arrays["word"][0, :n].tolist()
    assert words[0] == 0 and words[-1] == 2 and words == sorted(words)
    assert arrays["length"].tolist()[1:] == [1, 0]
    assert token_arrays(tokenizer, ["copper falls again"], 2)["length"].tolist() == [2]


def test_each_batch_of_articles_has_titles_by_seed_and_number() -> None:
    rows = make_rows(make_model())
    assert isinstance(rows, UnpairedRows) and len(rows) == len(ARTICLES)

    def titles(k: int, rows: UnpairedRows = rows) -> list[list[int]]:
        return rows[k, torch.arange(6), 1.0]["title_ids"].tolist()

    assert titles(3) == titles(3, rows.on(torch.device("cpu"))) != titles(4)
    assert titles(3) != titles(3, UnpairedRows(rows.articles, rows.titles, 1))
    few = rows.take(np.array([4, 7]))
    assert len(few) == 2 and torch.equal(few.arrays["article_ids"], rows.arrays["article_ids"][[4, 7]])
    assert set(rows[0, torch.arange(6), 1.0]) >= {"article_ids", "article_length", "article_word", "title_ids", "k"}
