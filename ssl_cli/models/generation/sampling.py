"""Sampling of the next token from logits: top-k, top-p, min-p, temperature. Pure functions without state or seed."""

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from ssl_cli.config.types import Count, NonNegative, Range, Share

AboveZero = Annotated[float, Range(0, 1, open_low=True)]
Penalty = Annotated[float, Range(1)]

TOP_P_CANDIDATES = 512  # tokens that nearly always make up top_p


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen from logits. The steps are applied in the same order as in transformers."""

    temperature: Annotated[NonNegative, "divides the logits; 0: always the likeliest token"] = 1.0
    top_k: Annotated[Count | None, "keep the k likeliest tokens (arXiv 1805.04833)"] = None
    top_p: Annotated[AboveZero | None, "keep the likeliest tokens with this total share (arXiv 1904.09751)"] = None
    min_p: Annotated[Share | None, "keep tokens with this share of the top probability (arXiv 2407.01082)"] = None
    repetition_penalty: Annotated[Penalty, "makes tokens that occurred before less likely (arXiv 1909.05858)"] = 1.0

    def choose(self, logits: Tensor, seen: Tensor | None, u: Tensor) -> Tensor:
        """Return the chosen tokens (B,) of logits (B, V) float.

        `seen` (B, V) bool are the tokens so far; `u` (B,) is a number in [0, 1) for each row.
        """
        if seen is not None and self.repetition_penalty != 1:
            logits = apply_repetition_penalty(logits, seen, self.repetition_penalty)
        if self.temperature == 0:
            return logits.argmax(dim=-1)
        scaled = (logits - logits.amax(dim=-1, keepdim=True)) / self.temperature  # the largest is 0: never infinite
        if self.top_k is None and self.top_p in (None, 1):
            return sample_index(apply_min_p(scaled, self.min_p), u)
        candidates, ids = top_candidates(scaled, self.top_k, self.top_p)
        index = sample_index(apply_min_p(candidates, self.min_p), u)
        return ids.gather(-1, index[:, None]).squeeze(-1)


def top_candidates(logits: Tensor, top_k: int | None, top_p: float | None) -> tuple[Tensor, Tensor]:
    """Return the `top_k` largest logits of (B, V) and their tokens, (B, K) each, in descending order.

    A logit is -inf if likelier tokens already have a total share of `top_p`.
    """
    size = logits.shape[-1]
    candidates, ids = logits.topk(min(top_k or TOP_P_CANDIDATES, size))
    if top_p is None or top_p == 1:
        return candidates, ids
    total = (candidates if top_k else logits).logsumexp(dim=-1, keepdim=True)
    share = (candidates - total).exp()
    if not top_k and size > TOP_P_CANDIDATES and bool((share.sum(dim=-1) < top_p).any()):
        return top_candidates(logits, size, top_p)  # rare, and slow: sorting a large vocabulary takes long
    before = share.cumsum(dim=-1) - share
    return candidates.masked_fill(before >= top_p, -torch.inf), ids


def apply_repetition_penalty(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Divide positive logits (B, V) of `seen` tokens (B, V) by the penalty, and multiply negative ones by it."""
    return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def apply_min_p(logits: Tensor, min_p: float | None) -> Tensor:
    """Set logits (B, K) to -inf if their token is less likely than `min_p` times the likeliest one.

    The largest logit of each row must be 0.
    """
    return logits if not min_p else logits.masked_fill(logits.exp() < min_p, -torch.inf)


def sample_index(logits: Tensor, u: Tensor) -> Tensor:
    """Return indices (B,) into logits (B, K), sampled from their softmax by the numbers u (B,) in [0, 1).

    It inverts the cumulative distribution: the same u gives the same index, whatever the other rows are.
    """
    cumulative = logits.softmax(dim=-1).cumsum(dim=-1, dtype=torch.float64)
    target = (u.to(cumulative) * cumulative[:, -1])[:, None]
    return torch.searchsorted(cumulative, target, right=True).squeeze(-1).clamp(max=logits.shape[-1] - 1)
