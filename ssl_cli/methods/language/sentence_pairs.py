"""Two pieces of text and whether the second follows the first: next sentence (BERT) and sentence order (ALBERT).

Made of rows that lie in one document each, without padding. Draws are from torch's own stream.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

Pair = Literal["none", "nsp", "sop"]


class SentencePair(NamedTuple):
    """Where each token of a pair comes from: (B, L) rows and columns; how many are in its first part, (B,); and its
    label, (B,) int64: 0 where the second part follows the first."""

    row: Tensor
    column: Tensor
    first: Tensor
    label: Tensor

    def of(self, array: Tensor) -> Tensor:
        """An array of the rows, (B, L), as arranged"""
        return array[self.row, self.column]


def cut_points(sentence_ends: Tensor) -> Tensor:
    """Where each row is cut in two, (B, L) bool -> (B,): after a sentence of its middle half, or anywhere there."""
    length = sentence_ends.shape[1]
    least = max(1, length // 4)
    score = torch.rand(sentence_ends.shape, device=sentence_ends.device) + sentence_ends
    return score[:, least - 1 : length - least].argmax(1) + least


def in_order_or_swapped(sentence_ends: Tensor) -> SentencePair:
    """Half of the rows have two neighbouring passages swapped, label 1 (arXiv 1909.11942, sec. 3.1).

    A row begins and ends within a sentence. So what comes before the passages stays in front of the first part, what
    comes after them behind the second, and both parts begin and end alike in either order: the order alone tells.
    """
    (n_rows, length), device = sentence_ends.shape, sentence_ends.device
    begin, middle, end = three_cuts(sentence_ends)[..., None].unbind(1)  # (B, 1) each
    swapped = torch.rand(n_rows, 1, device=device) < 0.5
    shift = torch.where(swapped, middle - begin, 0)
    place = torch.arange(length, device=device).expand(n_rows, length)
    turned = begin + (place - begin + shift) % (end - begin)
    column = torch.where((place >= begin) & (place < end), turned, place)
    row = torch.arange(n_rows, device=device)[:, None].expand_as(column)
    first = torch.where(swapped, begin + end - middle, middle)
    return SentencePair(row, column, first[:, 0], swapped[:, 0].long())


def three_cuts(sentence_ends: Tensor) -> Tensor:
    """Where a row's two passages begin, meet and end, (B, L) bool -> (B, 3): after its first sentence, after one by
    lot, and after its last. All are anywhere where it has fewer than three."""
    ends, length = last_of_each(sentence_ends), sentence_ends.shape[1]
    lot = torch.rand(ends.shape, device=ends.device)
    anywhere = torch.zeros_like(ends).scatter(1, lot.topk(3).indices, True)
    ends = torch.where(ends.sum(1, keepdim=True) < 3, anywhere, ends)
    after = torch.arange(1, length + 1, device=ends.device)
    begin = torch.where(ends, after, length).amin(1, keepdim=True)  # (B, 1)
    end = torch.where(ends, after, 0).amax(1, keepdim=True)
    middle = lot.masked_fill(~ends | (after == begin) | (after == end), -1).argmax(1, keepdim=True) + 1
    return torch.cat([begin, middle, end], dim=1)


def last_of_each(sentence_ends: Tensor) -> Tensor:
    """(B, L) bool: of signs in a row, as in `?!`, the last alone ends a sentence"""
    ends = sentence_ends.clone()
    ends[:, :-1] &= ~sentence_ends[:, 1:]
    return ends


def next_or_other(sentence_ends: Tensor, document_id: Tensor) -> SentencePair:
    """Half of the rows go on with a piece of another row, of another document, label 1 (arXiv 1810.04805, sec. 3.1).

    A row stays as it is where all are of its document.
    """
    (n_rows, length), device = sentence_ends.shape, sentence_ends.device
    sentence_ends = last_of_each(sentence_ends)
    cut = cut_points(sentence_ends)
    other, start, is_there = _elsewhere(cut, sentence_ends, document_id)
    replaced = (torch.rand(n_rows, device=device) < 0.5) & is_there
    column = torch.arange(length, device=device).expand(n_rows, length)
    from_other = replaced[:, None] & (column >= cut[:, None])
    row = torch.where(from_other, other[:, None], torch.arange(n_rows, device=device)[:, None])
    column = torch.where(from_other, column + (start - cut)[:, None], column)
    return SentencePair(row, column, cut, replaced.long())


def _elsewhere(cut: Tensor, sentence_ends: Tensor, document_id: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For each row another document's, the column at which a piece of it starts, and whether there is one; (B,) each.

    Where the row is cut after a sentence the piece starts after one too: or where it starts would tell the label. It
    is the row that has such a place at the cut, or nearest before it, by lot among equals.
    """
    n_rows, length = sentence_ends.shape
    after = torch.arange(1, length + 1, device=cut.device)
    latest = torch.where(sentence_ends, after, 0).cummax(1).values  # (B, L): the last place up to each, 0 for none
    place, here = latest[:, cut - 1].T, cut[:, None]  # (B, other B), (B, 1)
    after_sentence = sentence_ends.gather(1, here - 1)  # (B, 1)
    start = torch.where(after_sentence & (place > 0), place, here)
    gap = torch.where(after_sentence & (place == 0), length, here - start)
    is_other = document_id[:, None] != document_id  # (B, B)
    lot = (gap + torch.rand(n_rows, n_rows, device=cut.device)).masked_fill(~is_other, torch.inf)
    other = lot.argmin(1)
    return other, start.gather(1, other[:, None])[:, 0], is_other.any(1)


def framed(text: Tensor, first: Tensor, start: int, end: int) -> Tensor:
    """`start` FIRST `end` SECOND `end`: (B, L) and how many are in the first part, (B,) -> (B, L + 3)"""
    length = text.shape[1]
    column, first = torch.arange(length + 3, device=text.device), first[:, None]
    source = (column - 1 - (column > first).long()).clamp(0, length - 1)  # (B, L + 3)
    whole = text.gather(1, source)
    whole = whole.masked_fill((column == first + 1) | (column == length + 2), end)
    return whole.masked_fill(column == 0, start)


def segment_ids(length: int, first: Tensor) -> Tensor:
    """(B, L + 3) int64: 0 up to the end of the first part, 1 from there on"""
    return (torch.arange(length + 3, device=first.device) > first[:, None] + 1).long()
