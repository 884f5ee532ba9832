"""Sentence-pair tasks: does the second text follow the first? Next sentence (BERT) and sentence order (ALBERT).

Pairs are made from rows of text without padding, each within one document. Random draws come from torch's global
generator.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

SentenceTask = Literal["none", "nsp", "sop"]


class SentencePair(NamedTuple):
    """Pairs of texts, as an arrangement of the tokens of a batch of rows.

    `row` and `column` (B, L): where each token of a pair comes from. `first_length` (B,): the number of tokens in the
    first text. `label` (B,) int64: 0 if the second text follows the first, 1 if not.
    """

    row: Tensor
    column: Tensor
    first_length: Tensor
    label: Tensor

    def arrange(self, array: Tensor) -> Tensor:
        """Return an array of the rows, (B, L), in the order of the pairs."""
        return array[self.row, self.column]


def cut_points(sentence_ends: Tensor) -> Tensor:
    """Return where each row is cut in two, (B, L) bool -> (B,): after a sentence end in its middle half, if any."""
    length = sentence_ends.shape[1]
    least = max(1, length // 4)
    score = torch.rand(sentence_ends.shape, device=sentence_ends.device) + sentence_ends
    return score[:, least - 1 : length - least].argmax(1) + least


def sentence_order_pairs(sentence_ends: Tensor) -> SentencePair:
    """Swap two adjacent passages in half of the rows, label 1 (arXiv 1909.11942, sec. 3.1).

    A row begins and ends within a sentence. So the text before the passages stays at the start of the first text, and
    the text after them at the end of the second. Both texts then begin and end alike in either order, and only the
    order gives the label away.
    """
    (n_rows, length), device = sentence_ends.shape, sentence_ends.device
    begin, middle, end = passage_bounds(sentence_ends)[..., None].unbind(1)  # (B, 1) each
    swapped = torch.rand(n_rows, 1, device=device) < 0.5
    shift = torch.where(swapped, middle - begin, 0)
    place = torch.arange(length, device=device).expand(n_rows, length)
    rotated = begin + (place - begin + shift) % (end - begin)
    column = torch.where((place >= begin) & (place < end), rotated, place)
    row = torch.arange(n_rows, device=device)[:, None].expand_as(column)
    first_length = torch.where(swapped, begin + end - middle, middle)
    return SentencePair(row, column, first_length[:, 0], swapped[:, 0].long())


def passage_bounds(sentence_ends: Tensor) -> Tensor:
    """Return where a row's two passages begin, meet and end, (B, L) bool -> (B, 3).

    They begin after the row's first sentence, meet after a random one, and end after its last. In a row of fewer than
    three sentence ends the bounds are random.
    """
    ends, length = last_of_each_run(sentence_ends), sentence_ends.shape[1]
    random = torch.rand(ends.shape, device=ends.device)
    anywhere = torch.zeros_like(ends).scatter(1, random.topk(3).indices, True)
    ends = torch.where(ends.sum(1, keepdim=True) < 3, anywhere, ends)
    after = torch.arange(1, length + 1, device=ends.device)
    begin = torch.where(ends, after, length).amin(1, keepdim=True)  # (B, 1)
    end = torch.where(ends, after, 0).amax(1, keepdim=True)
    middle = random.masked_fill(~ends | (after == begin) | (after == end), -1).argmax(1, keepdim=True) + 1
    return torch.cat([begin, middle, end], dim=1)


def last_of_each_run(sentence_ends: Tensor) -> Tensor:
    """Return only the last of consecutive sentence ends, such as the two tokens of `?!`: (B, L) bool -> (B, L) bool."""
    ends = sentence_ends.clone()
    ends[:, :-1] &= ~sentence_ends[:, 1:]
    return ends


def next_sentence_pairs(sentence_ends: Tensor, document_id: Tensor) -> SentencePair:
    """Continue half of the rows with a piece of another document, label 1 (arXiv 1810.04805, sec. 3.1).

    A row stays unchanged if all rows of the batch are of its document.
    """
    (n_rows, length), device = sentence_ends.shape, sentence_ends.device
    sentence_ends = last_of_each_run(sentence_ends)
    cut = cut_points(sentence_ends)
    other, start, exists = _pieces_of_other_documents(cut, sentence_ends, document_id)
    replaced = (torch.rand(n_rows, device=device) < 0.5) & exists
    column = torch.arange(length, device=device).expand(n_rows, length)
    from_other = replaced[:, None] & (column >= cut[:, None])
    row = torch.where(from_other, other[:, None], torch.arange(n_rows, device=device)[:, None])
    column = torch.where(from_other, column + (start - cut)[:, None], column)
    return SentencePair(row, column, cut, replaced.long())


def _pieces_of_other_documents(
    cut: Tensor, sentence_ends: Tensor, document_id: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return a row of another document for each row, the column where its piece starts, and whether there is one.

    Each result is (B,). If a row is cut after a sentence, the piece also starts after one: else its start would give
    the label away. It is taken from the row with such a start nearest before the cut, at random among equals.
    """
    n_rows, length = sentence_ends.shape
    after = torch.arange(1, length + 1, device=cut.device)
    latest = torch.where(sentence_ends, after, 0).cummax(1).values  # (B, L): the last start up to each, 0 if none
    start_before, cut = latest[:, cut - 1].T, cut[:, None]  # (B, other B), (B, 1)
    is_after_sentence = sentence_ends.gather(1, cut - 1)  # (B, 1)
    start = torch.where(is_after_sentence & (start_before > 0), start_before, cut)
    distance = torch.where(is_after_sentence & (start_before == 0), length, cut - start)
    is_other = document_id[:, None] != document_id  # (B, B)
    tie_breaker = torch.rand(n_rows, n_rows, device=cut.device)
    other = (distance + tie_breaker).masked_fill(~is_other, torch.inf).argmin(1)
    return other, start.gather(1, other[:, None])[:, 0], is_other.any(1)


def add_special_tokens(text: Tensor, first_length: Tensor, start: int, end: int) -> Tensor:
    """Return `start` FIRST `end` SECOND `end`: text (B, L) and the length of its first part, (B,) -> (B, L + 3)."""
    length = text.shape[1]
    column, first_length = torch.arange(length + 3, device=text.device), first_length[:, None]
    source = (column - 1 - (column > first_length).long()).clamp(0, length - 1)  # (B, L + 3)
    whole = text.gather(1, source)
    whole = whole.masked_fill((column == first_length + 1) | (column == length + 2), end)
    return whole.masked_fill(column == 0, start)


def segment_ids(length: int, first_length: Tensor) -> Tensor:
    """Return (B, L + 3) int64: 0 up to the [SEP] of the first text, 1 after it."""
    return (torch.arange(length + 3, device=first_length.device) > first_length[:, None] + 1).long()
