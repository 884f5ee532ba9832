"""From logits to the next token: what is left to choose from, and the choice. Pure functions; no state, no seed."""

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from ssl_cli.config.types import Count, NonNegative, Range, Share

AboveZero = Annotated[float, Range(0, 1, open_low=True)]
Penalty = Annotated[float, Range(1)]

FEW = 512  # tokens that nearly always make up top_p


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen from logits. The parts follow each other as they do in transformers."""

    temperature: Annotated[NonNegative, "logits are divided by it; 0: always the likeliest token"] = 1.0
    top_k: Annotated[Count | None, "only the k likeliest tokens (arXiv 1805.04833)"] = None
    top_p: Annotated[AboveZero | None, "only the likeliest tokens that make up this share (arXiv 1904.09751)"] = None
    min_p: Annotated[Share | None, "only tokens this likely, against the likeliest one (arXiv 2407.01082)"] = None
    repetition_penalty: Annotated[Penalty, "makes tokens that were there less likely (arXiv 1909.05858)"] = 1.0

    def choose(self, logits: Tensor, seen: Tensor | None, u: Tensor) -> Tensor:
        """Logits (B, V) float, tokens `seen` (B, V) bool, a number in [0, 1) for each row (B,) -> tokens (B,)"""
        if seen is not None and self.repetition_penalty != 1:
            logits = penalised(logits, seen, self.repetition_penalty)
        if self.temperature == 0:
            return logits.argmax(dim=-1)
        scaled = (logits - logits.amax(dim=-1, keepdim=True)) / self.temperature  # the largest is 0: never infinite
        if self.top_k is None and self.top_p in (None, 1):
            return drawn(above_min_p(scaled, self.min_p), u)
        left, ids = likeliest(scaled, self.top_k, self.top_p)
        place = drawn(above_min_p(left, self.min_p), u)
        return ids.gather(-1, place[:, None]).squeeze(-1)


def likeliest(logits: Tensor, top_k: int | None, top_p: float | None) -> tuple[Tensor, Tensor]:
    """The `top_k` largest logits of (B, V) and their tokens, (B, K) each, falling; -inf from where the likelier ones
    already make up the share `top_p` of these."""
    size = logits.shape[-1]
    left, ids = logits.topk(min(top_k or FEW, size))
    if top_p is None or top_p == 1:
        return left, ids
    total = (left if top_k else logits).logsumexp(dim=-1, keepdim=True)
    share = (left - total).exp()
    if not top_k and size > FEW and bool((share.sum(dim=-1) < top_p).any()):
        return likeliest(logits, size, top_p)  # rare, and slow: a large vocabulary takes long to sort
    before = share.cumsum(dim=-1) - share
    return left.masked_fill(before >= top_p, -torch.inf), ids


def penalised(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Logits (B, V) with those of `seen` tokens (B, V) divided by the penalty where positive, else multiplied."""
    return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def above_min_p(logits: Tensor, min_p: float | None) -> Tensor:
    """Logits (B, K), the largest of each row 0, with -inf where a token is less likely than `min_p` of that one."""
    return logits if not min_p else logits.masked_fill(logits.exp() < min_p, -torch.inf)


def drawn(logits: Tensor, u: Tensor) -> Tensor:
    """Places (B,) in logits (B, K), each as likely as its softmax says, by the numbers u (B,) in [0, 1).

    The inverse of the cumulative distribution: the same u gives the same place, whatever the other rows are.
    """
    ends = logits.softmax(dim=-1).cumsum(dim=-1, dtype=torch.float64)
    wanted = (u.to(ends) * ends[:, -1])[:, None]
    return torch.searchsorted(ends, wanted, right=True).squeeze(-1).clamp(max=logits.shape[-1] - 1)
