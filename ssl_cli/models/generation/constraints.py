"""Constraints on the next token: tokens that are never written, n-grams that are not repeated, a least length."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Constraints:
    """Which tokens may come next.

    `banned` (N,) are tokens that are never written, `end` is the token that ends a text; `other_ends` (M,) count as it.
    No n-gram of `no_repeat_ngram` tokens is written twice (0: it may be); no text ends before `min_tokens` tokens. With
    `forces_end`, the last token that fits is the end, as in BART.
    """

    banned: Tensor
    end: int | None = None
    no_repeat_ngram: int = 0
    min_tokens: int = 0
    forces_end: bool = False
    other_ends: Tensor | None = None

    @classmethod
    def of(
        cls,
        banned: Sequence[int],
        end: int | None,
        device: torch.device,
        other_ends: Sequence[int] = (),
        **options: Any,
    ) -> "Constraints":
        """Return constraints, given tokens as numbers."""
        others = torch.tensor(other_ends, device=device) if other_ends else None
        banned_ids = torch.tensor(banned, dtype=torch.long, device=device)
        return cls(banned_ids, end, other_ends=others, **options)

    def apply(self, scores: Tensor, earlier: Tensor | None, n_written: int, is_last: bool) -> Tensor:
        """Return the scores (R, V) of the next token with -inf for tokens that may not come, changed in place.

        `earlier` (R, L) are all tokens of the rows so far, only needed for n-grams; `n_written` of them are of the text
        itself. `is_last`: whether the text has to end with this token.
        """
        if is_last and self.forces_end:
            assert self.end is not None
            scores.fill_(-torch.inf)
            scores[:, self.end] = 0
            return scores
        if len(self.banned):
            scores.index_fill_(1, self.banned, -torch.inf)
        if self.other_ends is not None:
            ends = scores[:, [self.end, *self.other_ends.tolist()]].logsumexp(1)
            scores[:, self.other_ends] = -torch.inf
            scores[:, self.end] = ends
        if self.no_repeat_ngram:
            assert earlier is not None
            scores = ban_repeated_ngrams(scores, earlier, self.no_repeat_ngram)
        if self.end is not None and n_written < self.min_tokens:
            scores[:, self.end] = -torch.inf
        return scores


def ban_repeated_ngrams(scores: Tensor, earlier: Tensor, n: int) -> Tensor:
    """Return the scores (R, V) with -inf for each token that would complete an n-gram of the `earlier` tokens (R, L).

    Negative tokens are padding. The scores are finite or -inf.
    """
    if earlier.shape[1] < n:
        return scores
    windows = earlier.unfold(1, n, 1)  # (R, W, n)
    begun = earlier[:, earlier.shape[1] + 1 - n :]  # (R, n - 1): the beginning of an n-gram
    repeated = (windows[..., :-1] == begun[:, None]).all(-1) & (windows >= 0).all(-1)  # (R, W)
    bans = torch.zeros_like(repeated, dtype=scores.dtype).masked_fill_(repeated, -torch.inf)
    return scores.scatter_add(1, windows[..., -1].clamp(min=0), bans)
