"""Phrases for a gap in a text: what an encoder-decoder writes there, between what comes before and what follows."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ssl_cli.models.cross_attention import Seq2SeqCache
from ssl_cli.models.generation.beam import beam_search
from ssl_cli.models.generation.constraints import Constraints
from ssl_cli.models.generation.packed_weights import Seq2SeqInferenceModel
from ssl_cli.models.generation.seq2seq import read_sources

MIN_BEAMS = 8


@dataclass(frozen=True)
class Gap:
    """A gap in what a decoder writes, after the tokens `before`.

    A phrase in it ends before any of the tokens `closers`, which `after` must follow; without closers it ends by
    itself. It has `min_tokens` to `max_tokens` tokens, none of them `banned`.
    """

    before: list[int]
    closers: list[int]
    after: list[int]
    banned: list[int]
    min_tokens: int
    max_tokens: int


@dataclass(frozen=True)
class Phrase:
    """Tokens for a gap, and the log-probability that they and what closes the gap come next."""

    tokens: list[int]
    log_probability: float


def likeliest_phrases(model: Seq2SeqInferenceModel, source: list[int], gap: Gap, n: int) -> list[Phrase]:
    """Return the likeliest phrases for a gap in the target of a source, best first: `n` or more, if there are so many.

    They are found by a beam search. Raises InputError if the source, or the target so far, is too long for the model.
    """
    closers, after = (torch.tensor(ids, dtype=torch.long, device=model.device) for ids in (gap.closers, gap.after))

    def closing(log_probabilities: Tensor, cache: Seq2SeqCache) -> Tensor:
        """Return the log-probability (R,) that the gap is closed now, by any closer and what must follow it."""
        if cache.length - len(gap.before) < gap.min_tokens:
            return torch.full_like(log_probabilities[:, 0], -torch.inf)
        if not len(closers):
            return torch.zeros_like(log_probabilities[:, 0])
        total = log_probabilities[:, closers].logsumexp(1)
        if not len(after):
            return total
        length = cache.own.length
        logits = model.all_logits(torch.cat([closers[:1], after[:-1]]).expand(len(total), -1), cache)  # (R, N, V)
        cache.own.length = length  # what was read is no part of the phrase
        each = functional.log_softmax(logits, dim=-1).gather(2, after.expand(len(total), -1)[..., None])
        return total + each[..., 0].sum(1)

    with torch.inference_mode():
        n_more = min(gap.max_tokens + 1, model.context - len(gap.before) - len(gap.after))
        cache, logits = read_sources(model, [source], gap.before, n_more + len(gap.after))
        constraints = Constraints.of(gap.banned, None, model.device)
        (found,) = beam_search(
            model,
            *(cache, logits, torch.tensor([gap.before], device=model.device), constraints),
            beams=min(max(2 * n, MIN_BEAMS), logits.shape[1] // 2),
            max_tokens=max(1, n_more),
            length_penalty=0.0,
            closing=closing,
        )
    return [Phrase(text.tokens, text.log_probability) for text in found]
