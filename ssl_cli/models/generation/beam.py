"""Beam search: the likeliest texts, found by extending the best few beginnings token by token.

It finds the same texts as transformers' `generate(num_beams=..., early_stopping=False)`, and decodes only what can
still change the result: a text whose search is over leaves the batch.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ssl_cli.models.generation.constraints import Constraints

NEVER = -1e30  # a score below that of any text, also with the smallest length penalty


@dataclass(frozen=True)
class Hypothesis:
    """A text of a beam search: the tokens after the prefix, the end token included if it was written.

    `log_probability` in nats is that of its tokens, `score` the same after the length penalty.
    """

    tokens: list[int]
    log_probability: float
    score: float


@dataclass
class Beams:
    """State of the search for B texts with K beams each. Tokens include the prefix; L of them have been read."""

    text: Tensor  # (B,) the index of the text
    tokens: Tensor  # (B, K, L) the beams; K is 1 before the first step
    scores: Tensor  # (B, K) log-probabilities, descending
    finished: Tensor  # (B, K, capacity) the best finished texts so far, descending by score; -1 after their ends
    finished_scores: Tensor  # (B, K) after the length penalty
    finished_sums: Tensor  # (B, K) log-probabilities
    can_improve: Tensor  # (B,) bool: whether a beam may still become one of the best

    @classmethod
    def begin(cls, prefix: Tensor, beams: int, max_tokens: int) -> "Beams":
        """Return the state before the first step, given the tokens (B, L) that the texts begin with."""
        n_texts, length = prefix.shape
        scores = torch.zeros(n_texts, 1, device=prefix.device)
        none = torch.full((n_texts, beams), NEVER, device=prefix.device)
        empty = torch.full((n_texts, beams, length + max_tokens), -1, device=prefix.device)
        text = torch.arange(n_texts, device=prefix.device)
        return cls(text, prefix[:, None], scores, empty, none, none, torch.ones_like(text, dtype=torch.bool))

    def take(self, index: Tensor) -> "Beams":
        """Return the state of some of the texts."""
        return Beams(*(getattr(self, field.name)[index] for field in fields(self)))

    def extend(self, log_probabilities: Tensor, end: int | None, length: int, penalty: float, is_last: bool) -> Tensor:
        """Extend each beam by the next token; return the beam (B, K) that each new one continues.

        `log_probabilities` (B * K, V) are those of the next token; `length` is that of the texts for the penalty.
        """
        n_texts, n_old, _ = self.tokens.shape
        n_beams, n_vocab = self.finished.shape[1], log_probabilities.shape[-1]
        totals = (log_probabilities.view(n_texts, n_old, -1) + self.scores[..., None]).flatten(1)
        best, place = totals.topk(min(2 * n_beams, totals.shape[1]))  # each beam may end: twice as many as beams
        parent, token = place // n_vocab, place % n_vocab  # (B, 2K) each
        ends = torch.ones_like(token, dtype=torch.bool) if is_last else token == (-1 if end is None else end)
        # As in transformers, an end that is not among the first K does not count.
        if ends[:, :n_beams].any():
            counts = ends[:, :n_beams] & self.can_improve[:, None]
            self.finish(best[:, :n_beams], parent[:, :n_beams], token[:, :n_beams], counts, length**penalty)
        self.scores, choice = (best + NEVER * ends).topk(n_beams)
        parent, new = parent.gather(1, choice), token.gather(1, choice)[..., None]
        self.tokens = torch.cat([_gather(self.tokens, parent), new], dim=2)
        # As transformers does by default: a beam is hopeless if it would have to be better than the worst finished
        # text at its present length.
        worst = torch.where((self.finished_scores > NEVER).all(1), self.finished_scores[:, -1], NEVER)
        self.can_improve = self.can_improve & (self.scores[:, 0] / length**penalty > worst)
        return parent

    def finish(self, sums: Tensor, parent: Tensor, token: Tensor, counts: Tensor, divisor: float) -> None:
        """Keep the best finished texts, of those so far and of M candidates: beams and their last tokens.

        (B, M) each: log-probabilities, the beams, the tokens, and whether a candidate counts.
        """
        n_beams, length = self.finished.shape[1], self.tokens.shape[2]
        new = torch.full_like(self.finished[:, :1], -1).repeat(1, counts.shape[1], 1)
        new[..., :length] = _gather(self.tokens, parent)
        new[..., length] = token
        scores = torch.cat([self.finished_scores, torch.where(counts, sums / divisor, NEVER)], dim=1)
        self.finished_scores, choice = scores.topk(n_beams)
        self.finished = _gather(torch.cat([self.finished, new], dim=1), choice)
        self.finished_sums = torch.cat([self.finished_sums, sums], dim=1).gather(1, choice)

    def finish_all(self, closed: Tensor) -> None:
        """Count each beam as a finished text; `closed` (B * K,) is the log-probability that it is complete."""
        sums = closed.view_as(self.scores) + self.scores
        beam = torch.arange(sums.shape[1], device=sums.device).expand_as(sums)
        self.finish(sums, beam, torch.full_like(beam, -1), torch.ones_like(beam, dtype=torch.bool), 1.0)


def beam_search(
    model: Any,
    cache: Any,
    logits: Tensor,
    prefix: Tensor,
    constraints: Constraints,
    beams: int,
    max_tokens: int,
    length_penalty: float = 1.0,
    first_length: int = 0,
    closing: Callable[[Tensor, Any], Tensor] | None = None,
) -> list[list[Hypothesis]]:
    """Return the best `beams` texts for each row of a cache, best first.

    `logits` (B, V) are those of the first token, `prefix` (B, L) the tokens before it (negative ones are padding). A
    score is a log-probability divided by length ** `length_penalty`; `first_length` is the length before the first
    token. With `closing(log_probabilities, cache)`, which returns the log-probability (R,) that the text of a row is
    complete, there is no end token and no length penalty, and every beam counts as a text at each step.
    """
    found: dict[int, list[Hypothesis]] = {}
    state = Beams.begin(prefix, beams, max_tokens)
    for step in range(max_tokens):
        is_last = step + 1 == max_tokens
        log_probabilities = functional.log_softmax(logits, dim=-1)
        if closing is not None:
            state.finish_all(closing(log_probabilities, cache))
            log_probabilities = log_probabilities + (NEVER if is_last else 0)  # what is not complete now never is
        allowed = constraints.apply(log_probabilities, state.tokens.flatten(0, 1), step, is_last)
        n_old = state.tokens.shape[1]
        parent = state.extend(allowed, constraints.end, first_length + step + 1, length_penalty, is_last)
        kept = torch.arange(len(parent), device=parent.device)
        if is_last or not state.can_improve.all():
            kept = state.can_improve.nonzero()[:, 0] if not is_last else kept[:0]
            left = torch.ones_like(state.can_improve).index_fill_(0, kept, False)
            found |= _hypotheses(state.take(left.nonzero()[:, 0]), prefix.shape[1])
            if not len(kept):
                break
            state = state.take(kept)
        cache = cache.select((kept[:, None] * n_old + parent[kept]).flatten())
        logits = model.next_logits(state.tokens[..., -1].reshape(-1, 1), cache)
    return [found[text] for text in range(len(prefix))]


def _hypotheses(state: Beams, n_prefix: int) -> dict[int, list[Hypothesis]]:
    """Return the finished texts by the index of their text."""
    rows = zip(state.finished.tolist(), state.finished_sums.tolist(), state.finished_scores.tolist(), strict=True)
    return {
        text: [
            Hypothesis([token for token in tokens[n_prefix:] if token >= 0], total, score)
            for tokens, total, score in zip(*of_text, strict=True)
            if score > NEVER
        ]
        for text, of_text in zip(state.text.tolist(), rows, strict=True)
    }


def _gather(values: Tensor, index: Tensor) -> Tensor:
    """Return values[b, index[b, k]] for values (B, N, L) and an index (B, K): (B, K, L)."""
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[2]))
