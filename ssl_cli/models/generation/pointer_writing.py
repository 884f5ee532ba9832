"""Texts written by a pointer-generator, whole batches at a time: what an auto-encoder with a text as code needs."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_cli.models.generation.constraints import Constraints
from ssl_cli.models.pointer_generator import PointerGenerator, ReadSource


@dataclass(frozen=True)
class Written:
    """Texts: tokens (B, T) padded with 0, their numbers (B,), and the Gumbel noise (B, T, V) that chose them, if kept.

    No end token is among them.
    """

    ids: Tensor
    length: Tensor
    noise: Tensor | None = None

    def take(self, rows: Tensor) -> "Written":
        """Return some of the texts."""
        return Written(self.ids[rows], self.length[rows], None if self.noise is None else self.noise[rows])

    def trimmed(self) -> "Written":
        """Return the texts without padding that all of them have."""
        return Written(self.ids[:, : max(1, int(self.length.max()))], self.length)

    @property
    def is_real(self) -> Tensor:
        """Return which tokens are no padding, (B, T)."""
        return torch.arange(self.ids.shape[1], device=self.ids.device) < self.length[:, None]

    def with_end(self, end: int) -> tuple[Tensor, Tensor]:
        """Return the tokens and an end token after each text (B, T + 1), and which of them are no padding."""
        n = self.ids.shape[1]
        is_end = torch.arange(n + 1, device=self.ids.device) == self.length[:, None]
        ids = torch.cat([self.ids, self.ids.new_zeros(len(self.ids), 1)], 1)
        return torch.where(is_end, end, ids), is_end | (torch.arange(n + 1, device=ids.device) < self.length[:, None])


@torch.no_grad()
def write(
    pointer: PointerGenerator,
    source: ReadSource,
    prefix: Sequence[int],
    constraints: Constraints,
    max_tokens: int,
    sampled: bool,
    keep_noise: bool = False,
) -> Written:
    """Write a text of at most `max_tokens` tokens for each source: drawn from the model, or always the likeliest token.

    The decoder reads the tokens of `prefix` first. Keys and values of earlier tokens are cached. A draw is the largest
    of log-probabilities plus Gumbel noise (Maddison et al., arXiv 1411.0030).
    """
    n, device, end = len(source.ids), source.ids.device, constraints.end
    cache = pointer.new_cache(source, len(prefix) + max_tokens - 1)
    ids = torch.zeros(n, max_tokens, dtype=torch.int64, device=device)
    length = torch.full((n,), max_tokens, device=device)
    read = torch.tensor(prefix, device=device).expand(n, -1)
    has_ended, noises = torch.zeros(n, dtype=torch.bool, device=device), list[Tensor]()
    for step in range(max_tokens):
        scores = pointer.next_log_probabilities(source, read, cache)  # (B, V)
        scores = constraints.apply(scores, ids[:, :step], step, is_last=False)
        if sampled:
            noise = -torch.empty_like(scores).exponential_().log()
            scores = scores + noise
            noises += [noise] if keep_noise else []
        token = scores.argmax(1)  # (B,)
        if end is not None:
            length = torch.where(~has_ended & (token == end), step, length)
            has_ended = has_ended | (token == end)
        ids[:, step] = torch.where(has_ended, 0, token)
        read = torch.where(has_ended, read[:, -1], token)[:, None]
        if bool(has_ended.all()) and not keep_noise:
            break
    return Written(ids, length, torch.stack(noises, 1) if keep_noise else None)


def constrained(scores: Tensor, ids: Tensor, constraints: Constraints) -> Tensor:
    """Return log-probabilities (B, T, V) at the places of tokens (B, T), as `write` draws from them.

    What may not come there has -inf, and the others add up to 1 again.
    """
    bans = [
        constraints.apply(torch.zeros_like(scores[:, step].detach()), ids[:, :step], step, is_last=False)
        for step in range(ids.shape[1])
    ]
    return (scores + torch.stack(bans, 1)).log_softmax(2)
