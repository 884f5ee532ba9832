"""Which tokens must be guessed, and what is seen in their place: on whole batches, as many in every row.

A way of choosing gives each token its turn; the n whose turn comes first are chosen. Draws are from torch's own stream.
"""

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Unit = Literal["token", "whole_word", "span"]
END_OF_SPAN, LONGEST_SPAN = 0.2, 10  # words; 3.8 on average (arXiv 1907.10529, sec. 3.1)


class MaskSelection(NamedTuple):
    """What was chosen in each row, by position; each (B, n).

    `real` is false where a row has fewer tokens that may be chosen. Tokens of one `group` are replaced alike.
    """

    positions: Tensor
    real: Tensor
    group: Tensor


def select_masks(allowed: Tensor, n: int, unit: Unit = "token", starts: Tensor | None = None) -> MaskSelection:
    """n tokens of each row among the `allowed` ones (B, T); `starts` (B, T) bool says which begin a word.

    token: each as likely (arXiv 1810.04805). whole_word: words in random order as long as they fit, then one of just
    the length that is still missing; only where there is none is a word cut, the next one. span: runs of words of a
    geometric length, each from a word that no earlier one has; the last is cut (arXiv 1907.10529).
    """
    turn, positions = _priorities(allowed, n, unit, starts).masked_fill(~allowed, math.inf).sort(dim=1, stable=True)
    turn, positions = turn[:, :n], positions[:, :n]
    group = torch.arange(turn.shape[1], device=turn.device).expand_as(turn)
    if unit == "span":
        group = torch.zeros_like(positions)
        group[:, 1:] = (turn[:, 1:] != turn[:, :-1]).cumsum(1)
    positions, order = positions.sort(dim=1)
    return MaskSelection(positions, turn.isfinite().gather(1, order), group.gather(1, order))


def _priorities(allowed: Tensor, n: int, unit: Unit, starts: Tensor | None) -> Tensor:
    """(B, T); the tokens of a word have the same, and so stay in order where turns are sorted"""
    if unit == "token":
        return torch.rand(allowed.shape, device=allowed.device)
    assert starts is not None, "words and spans need to know where words start"
    word = _word_of(starts, allowed)
    of_word = _word_priority(word, allowed, n) if unit == "whole_word" else _span_priority(word, allowed)
    return of_word.gather(1, word)


def corrupt(ids: Tensor, choice: MaskSelection, replace: Mapping[str, float], mask: int, ordinary: Tensor) -> Tensor:
    """Token ids (B, T) as the model sees them: of the chosen ones the share `replace["mask"]` as the mask token,
    `replace["random"]` as one of the `ordinary` tokens (V,), the rest as they are (arXiv 1810.04805, sec. 3.1)."""
    original = ids.gather(1, choice.positions)  # (B, n)
    fate = torch.rand(original.shape, device=ids.device).gather(1, choice.group)
    drawn = ordinary[torch.randint(len(ordinary), original.shape, device=ids.device)]
    seen = torch.where(fate < replace["mask"] + replace["random"], drawn, original)
    seen = torch.where(fate < replace["mask"], mask, seen)
    return ids.scatter(1, choice.positions, torch.where(choice.real, seen, original))


# --- words ---


def _word_of(starts: Tensor, allowed: Tensor) -> Tensor:
    """The number of each token's word in its row, from 0: (B, T) int64. What may not be chosen is a word by itself."""
    first = starts | ~allowed
    first[:, 1:] |= ~allowed[:, :-1]
    return first.cumsum(1) - first[:, :1].long()


def _sizes(word: Tensor, allowed: Tensor) -> Tensor:
    """(B, T) int64: the tokens of word 0, 1, ... of a row that may be chosen; 0 after its last word"""
    return torch.zeros_like(word).scatter_add_(1, word, allowed.long())


def _word_priority(word: Tensor, allowed: Tensor, n: int) -> Tensor:
    """(B, T), of word 0, 1, ...: its place in a random order, with the one that fills the gap put first"""
    size = _sizes(word, allowed)
    order = torch.rand(size.shape, device=size.device).masked_fill(size == 0, 2).argsort(dim=1)
    size = size.gather(1, order)
    fits = size.cumsum(1) <= n
    missing = n - (size * fits).sum(1, keepdim=True)  # (B, 1)
    fills = ~fits & (size == missing)
    fills &= fills.cumsum(1) == 1  # the first of them
    place = torch.arange(size.shape[1], device=size.device).expand_as(size).masked_fill(fills, -1)
    return torch.empty_like(place).scatter_(1, order, place).float()


# --- spans ---


def _span_priority(word: Tensor, allowed: Tensor) -> Tensor:
    """(B, T), of word 0, 1, ...: when the first span that covers it is drawn.

    As if spans were drawn from words in random order, and left out where an earlier one has their first word.
    """
    size = _sizes(word, allowed)
    begins = torch.rand(size.shape, device=size.device).masked_fill(size == 0, math.inf)
    length = span_lengths(size.shape, size.device)
    wall = torch.zeros_like(size).scatter_(1, word, (~allowed).long()).cumsum(1)  # a span ends at a special token
    covered = _first_cover(begins, length, wall)
    of_kept = _first_cover(begins.masked_fill(covered < begins, math.inf), length, wall)
    return torch.where(of_kept.isfinite(), of_kept, 1 + covered)  # last, what only spans that were left out have


def span_lengths(shape: torch.Size, device: torch.device | None = None) -> Tensor:
    """int64 from 1 to LONGEST_SPAN, geometric below that bound, by the inverse of its distribution function"""
    stay = 1 - END_OF_SPAN
    u = torch.rand(shape, device=device) * (1 - stay**LONGEST_SPAN)
    return ((1 - u).log() / math.log(stay)).long().clamp(max=LONGEST_SPAN - 1) + 1


def _first_cover(begins: Tensor, length: Tensor, wall: Tensor) -> Tensor:
    """(B, W): the earliest `begins` among the words from which a span of its `length` reaches this one"""
    earliest = begins.clone()
    for back in range(1, min(LONGEST_SPAN, begins.shape[1])):
        reaches = (length[:, :-back] > back) & (wall[:, :-back] == wall[:, back:])
        from_there = begins[:, :-back].masked_fill(~reaches, math.inf)
        earliest[:, back:] = torch.minimum(earliest[:, back:], from_there)
    return earliest
