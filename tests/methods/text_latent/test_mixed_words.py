"""Hidden titles and random words: whole words, in their order."""

import torch

from ssl_cli.methods.text_latent.mixed_words import hide_titles, random_words
from ssl_cli.models.generation.pointer_writing import Written

TITLE = Written(torch.tensor([[1, 2, 3, 0], [4, 5, 6, 7]]).repeat(50, 1), torch.tensor([3, 4]).repeat(50))
TITLE_WORD = torch.tensor([[0, 1, 1, 0], [0, 0, 1, 2]]).repeat(50, 1)  # 1 | 2 3 and 4 5 | 6 | 7
ARTICLE_IDS = torch.tensor([[11, 12, 13, 14, 15], [21, 22, 23, 0, 0]])
ARTICLE = Written(ARTICLE_IDS.repeat(50, 1), torch.tensor([5, 3]).repeat(50))
WORD = torch.tensor([[0, 0, 1, 2, 3], [0, 1, 2, 0, 0]]).repeat(50, 1)  # 11 12 | 13 | 14 | 15 and 21 | 22 | 23


def texts(written: Written) -> list[list[int]]:
    return [ids[:n].tolist() for ids, n in zip(written.ids, written.length, strict=True)]


def test_a_title_is_hidden_whole_and_in_order() -> None:
    torch.manual_seed(0)
    hidden = texts(hide_titles(TITLE, ARTICLE, (TITLE_WORD, WORD), 1.0, 20))
    for row, text in enumerate(hidden):
        title, article = ([1, 2, 3], [11, 12, 13, 14, 15]) if row % 2 == 0 else ([4, 5, 6, 7], [21, 22, 23])
        assert [token for token in text if token < 10] == title
        assert [token for token in text if token > 10] == article
        together = (2, 3) if row % 2 == 0 else (4, 5)
        assert text.index(together[1]) == text.index(together[0]) + 1
    assert len({tuple(text) for text in hidden}) > 20


def test_only_a_share_of_the_article_is_kept_and_the_result_is_cut() -> None:
    torch.manual_seed(0)
    none = texts(hide_titles(TITLE, ARTICLE, (TITLE_WORD, WORD), 0.0, 20))
    assert none[:2] == [[1, 2, 3], [4, 5, 6, 7]]
    half = texts(hide_titles(TITLE, ARTICLE, (TITLE_WORD, WORD), 0.5, 20))
    n_kept = sum(len([token for token in text if token > 10]) for text in half)
    assert 150 < n_kept < 250  # of 400
    assert all((11 in text) == (12 in text) for text in half)
    assert max(map(len, texts(hide_titles(TITLE, ARTICLE, (TITLE_WORD, WORD), 1.0, 6)))) == 6


def test_random_words_are_so_many_and_in_order() -> None:
    torch.manual_seed(0)
    drawn = texts(random_words(ARTICLE, WORD, torch.full((100,), 2), 5))
    for row, text in enumerate(drawn):
        words = {11: 0, 12: 0, 13: 1, 14: 2, 15: 3, 21: 0, 22: 1, 23: 2}
        assert len({words[token] for token in text}) == 2 and text == sorted(text)
        assert row % 2 or (11 in text) == (12 in text)
    assert len({tuple(text) for text in drawn}) == 6 + 3
    assert texts(random_words(ARTICLE, WORD, torch.full((100,), 9), 5))[1] == [21, 22, 23]  # no more than there are
