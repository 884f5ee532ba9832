"""Masking for BERT: select the same number of tokens in each row of a batch, and corrupt them.

Each masking unit gives every token a priority; the n tokens with the smallest priorities are selected. Random draws
come from torch's global generator.
"""

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor

MaskUnit = Literal["token", "whole_word", "span"]
SPAN_END_PROBABILITY, MAX_SPAN_WORDS = 0.2, 10  # spans have 3.8 words on average (arXiv 1907.10529, sec. 3.1)


class MaskSelection(NamedTuple):
    """The selected tokens of each row in the order of their positions; each field is (B, n).

    `valid` is false where a row has fewer tokens that may be selected. Tokens of one `group` are replaced alike.
    """

    positions: Tensor
    valid: Tensor
    group: Tensor


def select_masks(allowed: Tensor, n: int, unit: MaskUnit = "token", word_starts: Tensor | None = None) -> MaskSelection:
    """Select n of the `allowed` tokens (B, T) of each row; `word_starts` (B, T) bool is whether each begins a word.

    - token: each token is equally likely (arXiv 1810.04805).
    - whole_word: words in random order as long as they fit, then one whose length fills the gap; only if there is none
      is the next word cut.
    - span: runs of words of geometric length, each from a word that no earlier run contains; the last run is cut
      (arXiv 1907.10529).
    """
    priority = _priorities(allowed, n, unit, word_starts).masked_fill(~allowed, math.inf)
    priority, positions = priority.sort(dim=1, stable=True)
    priority, positions = priority[:, :n], positions[:, :n]
    group = torch.arange(priority.shape[1], device=priority.device).expand_as(priority)
    if unit == "span":
        group = torch.zeros_like(positions)
        group[:, 1:] = (priority[:, 1:] != priority[:, :-1]).cumsum(1)
    positions, order = positions.sort(dim=1)
    return MaskSelection(positions, priority.isfinite().gather(1, order), group.gather(1, order))


def _priorities(allowed: Tensor, n: int, unit: MaskUnit, word_starts: Tensor | None) -> Tensor:
    """Return the priority of each token, (B, T). The tokens of a word share one, so a stable sort keeps their order."""
    if unit == "token":
        return torch.rand(allowed.shape, device=allowed.device)
    assert word_starts is not None, "words and spans need to know where words start"
    word = _word_index(word_starts, allowed)
    by_word = _word_priority(word, allowed, n) if unit == "whole_word" else _span_priority(word, allowed)
    return by_word.gather(1, word)


def corrupt(ids: Tensor, selection: MaskSelection, replace: Mapping[str, float], mask: int, ordinary: Tensor) -> Tensor:
    """Return token ids (B, T) with the selected ones corrupted (arXiv 1810.04805, sec. 3.1).

    A share `replace["mask"]` of them becomes the mask token, a share `replace["random"]` one of the `ordinary` tokens
    (V,); the rest are kept.
    """
    original = ids.gather(1, selection.positions)  # (B, n)
    u = torch.rand(original.shape, device=ids.device).gather(1, selection.group)
    random_tokens = ordinary[torch.randint(len(ordinary), original.shape, device=ids.device)]
    corrupted = torch.where(u < replace["mask"] + replace["random"], random_tokens, original)
    corrupted = torch.where(u < replace["mask"], mask, corrupted)
    return ids.scatter(1, selection.positions, torch.where(selection.valid, corrupted, original))


# --- words ---


def _word_index(word_starts: Tensor, allowed: Tensor) -> Tensor:
    """Return the index of each token's word in its row, (B, T) int64. A token that is not allowed is its own word."""
    first = word_starts | ~allowed
    first[:, 1:] |= ~allowed[:, :-1]
    return first.cumsum(1) - first[:, :1].long()


def _word_sizes(word: Tensor, allowed: Tensor) -> Tensor:
    """Return the number of allowed tokens of word 0, 1, ... of a row, (B, T) int64; 0 after the last word."""
    return torch.zeros_like(word).scatter_add_(1, word, allowed.long())


def _word_priority(word: Tensor, allowed: Tensor, n: int) -> Tensor:
    """Return the priority of word 0, 1, ..., (B, T): its rank in a random order, and first the word that fills the
    gap."""
    size = _word_sizes(word, allowed)
    order = torch.rand(size.shape, device=size.device).masked_fill(size == 0, 2).argsort(dim=1)
    size = size.gather(1, order)
    fits = size.cumsum(1) <= n
    gap = n - (size * fits).sum(1, keepdim=True)  # (B, 1)
    fills = ~fits & (size == gap)
    fills &= fills.cumsum(1) == 1  # only the first of them
    rank = torch.arange(size.shape[1], device=size.device).expand_as(size).masked_fill(fills, -1)
    return torch.empty_like(rank).scatter_(1, order, rank).float()


# --- spans ---


def _span_priority(word: Tensor, allowed: Tensor) -> Tensor:
    """Return the priority of word 0, 1, ..., (B, T): the draw time of the first span that covers it.

    Equivalent to drawing spans from words in random order, without those whose first word is in an earlier span.
    """
    size = _word_sizes(word, allowed)
    draw_time = torch.rand(size.shape, device=size.device).masked_fill(size == 0, math.inf)
    length = span_lengths(size.shape, size.device)
    # A span ends at a special token.
    segment = torch.zeros_like(size).scatter_(1, word, (~allowed).long()).cumsum(1)
    covered = _first_cover(draw_time, length, segment)
    covered_by_kept = _first_cover(draw_time.masked_fill(covered < draw_time, math.inf), length, segment)
    # Words that only dropped spans cover come last.
    return torch.where(covered_by_kept.isfinite(), covered_by_kept, 1 + covered)


def span_lengths(shape: torch.Size, device: torch.device | None = None) -> Tensor:
    """Draw span lengths in 1..MAX_SPAN_WORDS, int64, from a truncated geometric distribution by its inverse CDF."""
    stay = 1 - SPAN_END_PROBABILITY
    u = torch.rand(shape, device=device) * (1 - stay**MAX_SPAN_WORDS)
    return ((1 - u).log() / math.log(stay)).long().clamp(max=MAX_SPAN_WORDS - 1) + 1


def _first_cover(draw_time: Tensor, length: Tensor, segment: Tensor) -> Tensor:
    """Return for each word the earliest draw time of a span that covers it, (B, W). A span stays in its segment."""
    earliest = draw_time.clone()
    for back in range(1, min(MAX_SPAN_WORDS, draw_time.shape[1])):
        reaches = (length[:, :-back] > back) & (segment[:, :-back] == segment[:, back:])
        from_there = draw_time[:, :-back].masked_fill(~reaches, math.inf)
        earliest[:, back:] = torch.minimum(earliest[:, back:], from_there)
    return earliest
