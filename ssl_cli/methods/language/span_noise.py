"""Span noise: draw non-overlapping spans of tokens in each row of a batch, and replace each by a marker.

Spans lie in the tokens of a row that may be corrupted, `free` (B, S) bool; the others, such as the token between two
documents, are kept where they are. Each row has the same number of spans and of tokens in them, so that all rows stay
equally long. Random draws come from torch's global generator.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Spans(NamedTuple):
    """The spans of each row from left to right, (B, K) each: `start`, an index into the row's free tokens, and
    `length`."""

    start: Tensor
    length: Tensor


class Replaced(NamedTuple):
    """Rows whose spans are replaced by a marker each.

    `column` (B, S - n + K): where a token stood, -1 for a marker. `marker` (B, K): where the markers are now. `removed`
    (B, n): where the tokens in the spans stood, and `span` (B, n): the index of their span.
    """

    column: Tensor
    marker: Tensor
    removed: Tensor
    span: Tensor


def poisson_spans(free: Tensor, n: int, k: int) -> Spans:
    """Return k spans of together n tokens at random places; their lengths are Poisson, given that they sum to n.

    So a span may be empty. Given their sum, equal Poisson variables are multinomial: each of the n tokens falls into
    one of the spans at random. Rows need n free tokens.
    """
    rows, device = len(free), free.device
    span_of = torch.randint(k, (rows, n), device=device)
    length = torch.zeros(rows, k, dtype=torch.long, device=device).scatter_add_(1, span_of, torch.ones_like(span_of))
    # The spans and the other free tokens in random order.
    slot = random_subset(free.sum(1) - n + k, k, free.shape[1] - n + k)
    return Spans(slot - torch.arange(k, device=device) + length.cumsum(1) - length, length)


def segmented_spans(free: Tensor, n: int, k: int) -> Spans:
    """Return k spans of together n tokens, each after at least one other token, the last at the end of the row.

    Both the spans and the stretches between them are a random segmentation: `random_spans_noise_mask` of T5 (arXiv
    1910.10683). Rows need n + k free tokens.
    """
    rows, others, device = len(free), free.sum(1) - n, free.device
    cut = random_subset(torch.full_like(others, n - 1), k - 1, n - 1) + 1
    stop = torch.cat([cut, torch.full((rows, 1), n, device=device)], 1)  # of each span, in the tokens of all
    length = stop.diff(dim=1, prepend=torch.zeros_like(stop[:, :1]))
    cut = random_subset(others - 1, k - 1, free.shape[1] - n - 1) + 1
    return Spans(torch.cat([cut, others[:, None]], 1) + stop - length, length)


def random_subset(count: Tensor, k: int, width: int) -> Tensor:
    """Return k different numbers below `count` (B,) for each row, in ascending order, (B, k); no count is above
    `width`."""
    draws = torch.rand(len(count), width, device=count.device)
    draws = draws + (torch.arange(width, device=count.device) >= count[:, None])
    return draws.topk(k, largest=False).indices.sort(1).values


def replace_spans(free: Tensor, spans: Spans, n: int) -> Replaced:
    """Return rows with each span replaced by a marker; `n` tokens are in the spans of a row.

    Tokens that are not free stay: if a span contains one, it follows the marker.
    """
    (rows, size), k, device = free.shape, spans.start.shape[1], free.device
    rank = free.cumsum(1) - 1  # (B, S): of a free token among them
    columns = torch.arange(size, device=device).expand(rows, size)
    column_of = torch.full((rows, size + 2), size, device=device)  # of each free token; `size` after the last
    column_of.scatter_(1, rank.masked_fill(~free, size + 1), columns)
    before = column_of[:, :-1].gather(1, spans.start)  # (B, K): the column that a marker is put before

    edges = torch.zeros(rows, size + 1, dtype=torch.long, device=device)
    edges.scatter_add_(1, spans.start, torch.ones_like(spans.start))
    edges.scatter_add_(1, spans.start + spans.length, -torch.ones_like(spans.start))
    covered = (edges.cumsum(1).gather(1, rank.clamp(min=0)) > 0) & free  # (B, S)

    kept = (~covered).long()
    n_kept = torch.cat([torch.zeros_like(kept[:, :1]), kept.cumsum(1)], 1)  # (B, S + 1): of the tokens before a column
    marker = n_kept.gather(1, before) + torch.arange(k, device=device)
    n_markers = torch.zeros_like(n_kept).scatter_add_(1, before, torch.ones_like(before)).cumsum(1)[:, :-1]
    width = size - n + k
    column = torch.full((rows, width + 1), -1, device=device)  # a last column for what is removed
    column.scatter_(1, (n_kept[:, :-1] + n_markers).masked_fill(covered, width), columns)
    removed = torch.zeros(rows, n + 1, dtype=torch.long, device=device)
    removed.scatter_(1, (covered.cumsum(1) - 1).masked_fill(~covered, n), columns)
    return Replaced(column[:, :-1], marker, removed[:, :-1], (n_markers - 1).gather(1, removed[:, :-1]))
