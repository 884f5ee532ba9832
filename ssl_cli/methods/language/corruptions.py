"""Corruptions of a text that an encoder-decoder learns to undo: those of BART, MASS and T5.

Each is a function from rows of a batch to rows, so that they compose in any order. All rows of a batch stay equally
long: a corruption takes the same number of tokens from each. The special tokens in a row, such as the one between two
documents, are never masked, deleted or moved (unless a row has too few others), and sentences stay in their document.
Random draws come from torch's global generator.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from ssl_cli.methods.language.masking import MaskSelection, corrupt
from ssl_cli.methods.language.span_noise import Replaced, poisson_spans, replace_spans, segmented_spans

Corruption = Literal["mask", "delete", "infill", "permute", "rotate", "fragment", "spans"]
REPLACE = {"mask": 0.8, "random": 0.1, "keep": 0.1}  # what the tokens of MASS's fragment become, as in BERT
MARKER = -1  # the origin of a token that stands for a span


class Rows(NamedTuple):
    """Rows of a text as far as they are corrupted.

    `ids` (B, S); `origin` (B, S), the column of the text that each token stood in, or MARKER. `target` (B, T), if it is
    not the text itself, and `place` (B, T), the columns that its tokens stood in when they were taken, if it is a
    fragment.
    """

    ids: Tensor
    origin: Tensor
    target: Tensor | None = None
    place: Tensor | None = None

    @classmethod
    def of_text(cls, ids: Tensor) -> "Rows":
        """Return the rows of a text, ids (B, L), before it is corrupted."""
        return cls(ids, torch.arange(ids.shape[1], device=ids.device).expand_as(ids))

    def shown(self, text: Tensor) -> Tensor:
        """Return which tokens of the text (B, L) are still there, wherever they stand now, (B, L) bool."""
        is_there = (self.origin != MARKER) & (self.ids == text.gather(1, self.origin.clamp(min=0)))
        column = self.origin.masked_fill(~is_there, text.shape[1])
        shown = torch.zeros(len(text), text.shape[1] + 1, dtype=torch.bool, device=text.device)
        return shown.scatter_(1, column, True)[:, :-1]

    def taken(self, column: Tensor) -> "Rows":
        """Return rows of the tokens in the columns (B, S)."""
        return self._replace(ids=self.ids.gather(1, column), origin=self.origin.gather(1, column))


class Words(nn.Module):
    """The tokens of a vocabulary as corruptions distinguish them; a module, so that it moves with its model.

    `end` separates documents. `mask` and `end` may be None if no corruption needs them.
    """

    is_special: Tensor
    ordinary: Tensor
    sentinels: Tensor

    def __init__(self, vocab_size: int, specials: Mapping[str, int], sentinels: Sequence[int]):
        super().__init__()
        self.mask, self.end = specials.get("mask"), specials.get("end")
        special = torch.zeros(vocab_size, dtype=torch.bool)
        special[[*specials.values(), *sentinels]] = True
        self.register_buffer("is_special", special, persistent=False)
        self.register_buffer("ordinary", torch.nonzero(~special)[:, 0], persistent=False)
        self.register_buffer("sentinels", torch.tensor(sentinels, dtype=torch.long), persistent=False)

    def free(self, ids: Tensor, n: int) -> Tensor:
        """Return which tokens may be taken, (B, S): all but special ones, or all in a row with fewer than n others."""
        free = ~self.is_special[ids]
        return free | (free.sum(1, keepdim=True) < n)

    def document(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return the index of each token's document in its row, (B, S), and whether it is the `end` of one."""
        is_end = torch.zeros_like(ids, dtype=torch.bool) if self.end is None else ids == self.end
        return is_end.cumsum(1) - is_end.long(), is_end


@dataclass(frozen=True)
class Noise:
    """How much a corruption takes: `ratio`, a share of a row's tokens, in spans of `mean_span` tokens on average."""

    ratio: float
    mean_span: float = 3.0

    def tokens(self, size: int) -> int:
        """Return the number of tokens that are taken from a row of `size`."""
        return max(1, round(self.ratio * size))

    def spans(self, size: int) -> int:
        """Return the number of spans that these tokens make."""
        return max(1, min(round(self.tokens(size) / self.mean_span), size - self.tokens(size)))


# --- BART (arXiv 1910.13461, sec. 2.2) ---


def mask_tokens(rows: Rows, words: Words, noise: Noise) -> Rows:
    """Replace random tokens by the mask token."""
    assert words.mask is not None
    chosen = _choose(rows.ids, words, noise.tokens(rows.ids.shape[1]))
    return rows._replace(ids=rows.ids.masked_fill(chosen, words.mask))


def delete_tokens(rows: Rows, words: Words, noise: Noise) -> Rows:
    """Delete random tokens, so that the model must find where they are missing: (B, S) -> (B, S - n)."""
    size = rows.ids.shape[1]
    n = noise.tokens(size)
    chosen = _choose(rows.ids, words, n)
    return rows.taken(chosen.long().sort(dim=1, stable=True).indices[:, : size - n])


def infill_spans(rows: Rows, words: Words, noise: Noise) -> Rows:
    """Replace random spans by one mask token each; an empty span inserts one: (B, S) -> (B, S - n + K).

    The lengths of the K spans are Poisson with a mean of `mean_span`, given that exactly n tokens are in them.
    """
    assert words.mask is not None
    size = rows.ids.shape[1]
    n, k = noise.tokens(size), noise.spans(size)
    free = words.free(rows.ids, n)
    replaced = replace_spans(free, poisson_spans(free, n, k), n)
    return _with_markers(rows, replaced, torch.full_like(replaced.marker, words.mask))


def permute_sentences(rows: Rows, words: Words, ends_sentence: Tensor) -> Rows:
    """Shuffle the sentences of each document; `ends_sentence` (B, L) is whether a token of the text ends one.

    What is left of a sentence at either end of a row is a sentence too.
    """
    size = rows.ids.shape[1]
    document, is_end = words.document(rows.ids)
    ends = ends_sentence.gather(1, rows.origin.clamp(min=0)) & (rows.origin != MARKER)
    after = torch.zeros_like(is_end)
    after[:, 1:] = (ends[:, :-1] & ~ends[:, 1:]) | is_end[:, :-1]  # "..." ends a sentence once
    sentence = after.cumsum(1)
    rank = torch.rand(rows.ids.shape, device=rows.ids.device).argsort(1).gather(1, sentence)  # of the row's sentences
    key = document * (size + 1) + rank.masked_fill(is_end, size)
    return rows.taken(key.sort(dim=1, stable=True).indices)


def rotate_documents(rows: Rows, words: Words) -> Rows:
    """Rotate each document so that it begins with a random one of its tokens."""
    size = rows.ids.shape[1]
    document, is_end = words.document(rows.ids)
    column = torch.arange(size, device=rows.ids.device).expand_as(rows.ids)
    length = torch.zeros_like(column).scatter_add_(1, document, (~is_end).long())  # of document 0, 1, ... of a row
    shift = (torch.rand(length.shape, device=length.device) * length).long()
    length, shift = length.gather(1, document).clamp(min=1), shift.gather(1, document)  # of each token's document
    is_first = torch.ones_like(is_end)
    is_first[:, 1:] = is_end[:, :-1]
    first = column.masked_fill(~is_first, 0).cummax(1).values
    return rows.taken(torch.where(is_end, column, first + (column - first + shift) % length))


# --- MASS and T5: they also choose what is to be written ---


def mask_fragment(rows: Rows, words: Words, noise: Noise) -> Rows:
    """Mask n consecutive tokens, which are the target (MASS: arXiv 1905.02450).

    As there, most become the mask token, and some another one or stay, as in BERT.
    """
    assert words.mask is not None
    size, device = rows.ids.shape[1], rows.ids.device
    n = noise.tokens(size)
    start = torch.randint(size - n + 1, (len(rows.ids), 1), device=device)
    place = start + torch.arange(n, device=device)  # (B, n)
    target = rows.ids.gather(1, place)
    selection = MaskSelection(place, ~words.is_special[target], torch.arange(n, device=device).expand_as(place))
    ids = corrupt(rows.ids, selection, REPLACE, words.mask, words.ordinary)
    return Rows(ids, rows.origin, target, place)


def replace_spans_by_sentinels(rows: Rows, words: Words, noise: Noise) -> Rows:
    """Replace K spans of together n tokens by sentinels; the target is each sentinel with its span, (B, n + K).

    T5's span corruption (arXiv 1910.10683, sec. 3.1.4): (B, S) -> (B, S - n + K).
    """
    size = rows.ids.shape[1]
    n, k = noise.tokens(size), noise.spans(size)
    free, sentinels = words.free(rows.ids, n + k), words.sentinels[:k].expand(len(rows.ids), k)
    spans = segmented_spans(free, n, k)
    replaced = replace_spans(free, spans, n)
    at = torch.arange(n, device=rows.ids.device) + replaced.span + 1  # (B, n): of each removed token in the target
    sentinel_at = spans.length.cumsum(1) - spans.length + torch.arange(k, device=rows.ids.device)
    target = torch.zeros(len(rows.ids), n + k, dtype=torch.long, device=rows.ids.device)
    target.scatter_(1, at, rows.ids.gather(1, replaced.removed)).scatter_(1, sentinel_at, sentinels)
    return _with_markers(rows, replaced, sentinels)._replace(target=target)


# --- shared ---


def _choose(ids: Tensor, words: Words, n: int) -> Tensor:
    """Return which n tokens of each row are chosen at random, (B, S) bool."""
    draws = torch.rand(ids.shape, device=ids.device).masked_fill(~words.free(ids, n), 2)
    return torch.zeros_like(ids, dtype=torch.bool).scatter_(1, draws.topk(n, largest=False).indices, True)


def _with_markers(rows: Rows, replaced: Replaced, markers: Tensor) -> Rows:
    """Return rows with the markers (B, K) in place of the spans."""
    kept = rows.taken(replaced.column.clamp(min=0))
    ids = kept.ids.scatter(1, replaced.marker, markers)
    return kept._replace(ids=ids, origin=kept.origin.scatter(1, replaced.marker, MARKER))


def size_after(corruption: Corruption, noise: Noise, size: int) -> int:
    """Return how many tokens a corruption leaves of a row of `size`; below 1 if it leaves nothing."""
    n = noise.tokens(size)
    match corruption:
        case "delete":
            return size - n
        case "infill" | "spans":
            return size - n + noise.spans(size) if n < size else 0
    return size if corruption != "fragment" or n < size else 0
