"""Noise over words: a title hidden among the words of an article, and random words of an article in its order."""

import torch
from torch import Tensor

from ssl_cli.models.generation.pointer_writing import Written

GONE = 2.0  # the key of tokens that are left out: all others are below
TIE = 1e-5  # so that tokens of a word keep their order


def hide_titles(
    title: Written, article: Written, words: tuple[Tensor, Tensor], kept: float, max_tokens: int
) -> Written:
    """Hide each title among the words of an article: a share `kept` of these, both in their order.

    To find the title again is the denoising of Fevry and Phang (arXiv 1809.02669), which needs no summaries. `words`
    (B, L) are the numbers of the words of both's tokens. The result is cut to `max_tokens`.
    """
    title_word, article_word = words
    n_rows, n_title = title.ids.shape
    device, places = title.ids.device, title_word.clamp(max=n_title - 1)
    title_keys = torch.rand(n_rows, n_title, device=device).sort(1).values.gather(1, places)  # at random places
    title_keys = torch.where(title.is_real, title_keys + TIE * torch.arange(n_title, device=device), GONE)
    n_article = article.ids.shape[1]
    n_words = torch.where(article.is_real, article_word, -1).amax(1, keepdim=True) + 1
    is_kept = torch.rand(n_rows, n_article, device=device).gather(1, article_word) < kept
    article_keys = (article_word + torch.rand(n_rows, 1, device=device)) / n_words.clamp(min=1)
    article_keys = article_keys + TIE * torch.arange(n_article, device=device)
    article_keys = torch.where(article.is_real & is_kept, article_keys, GONE)
    keys, order = torch.cat([title_keys, article_keys], 1).sort(dim=1, stable=True)
    ids = torch.cat([title.ids, article.ids], 1).gather(1, order)[:, :max_tokens]
    return Written(ids, (keys < GONE).sum(1).clamp(max=max_tokens))


def random_words(article: Written, word: Tensor, n_words: Tensor, max_tokens: int) -> Written:
    """Return so many random words (B,) of each article, in its order: the summary of someone who understands nothing.

    There are at least one, at most all of its words, and at most `max_tokens` tokens.
    """
    n = article.ids.shape[1]
    has = torch.where(article.is_real, word, -1).amax(1) + 1  # (B,)
    draws = torch.rand(len(article.ids), n, device=article.ids.device)
    draws = torch.where(torch.arange(n, device=word.device) < has[:, None], draws, GONE)
    n_words = torch.minimum(n_words, has).clamp(min=1)
    largest = draws.sort(1).values.gather(1, n_words[:, None] - 1)
    is_kept = (draws.gather(1, word) <= largest) & article.is_real
    order = (~is_kept).long().sort(dim=1, stable=True).indices
    length = is_kept.sum(1).clamp(max=max_tokens)
    ids = article.ids.gather(1, order)[:, :max_tokens]
    return Written(torch.where(torch.arange(ids.shape[1], device=ids.device) < length[:, None], ids, 0), length)
