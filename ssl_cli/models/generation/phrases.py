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
    """A gap in what a decoder writes: the tokens `before` it, and those that can follow a phrase in it.

    The phrase ends before any of the tokens `closers`, and `after` must follow that one. `banned` tokens are in no
    phrase, nor is `end`, the token that ends a text.
    """

    before: list[int]
    closers: list[int]
    after: list[int]
    banned: list[int]
    end: int


def likeliest_phrases(
    model: Seq2SeqInferenceModel, source: list[int], gap: Gap, n: int, max_tokens: int
) -> list[tuple[list[int], float]]:
    """Return the likeliest phrases for a gap, best first: at least `n` if there are, their tokens and log-probabilities.

    That is the probability of the phrase and what closes the gap, given the source and what comes before. The phrases
    are found by a beam search, and have at most `max_tokens` tokens. Raises InputError if the source is too long.
    """
    room = model.context - len(gap.before) - len(gap.after)
    closers, after = (torch.tensor(ids, device=model.device) for ids in (gap.closers, gap.after))

    def closing(log_probabilities: Tensor, cache: Seq2SeqCache) -> Tensor:
        """Return the log-probability (R,) that the gap is closed now: of any closer, and of what must follow."""
        total = log_probabilities[:, closers].logsumexp(1)
        if len(after):
            read = torch.cat([closers[:1], after[:-1]]).expand(len(total), -1)
            length = cache.own.length
            log_p = functional.log_softmax(model.all_logits(read, cache), dim=-1)  # (R, N, V)
            cache.own.length = length  # what was read is no part of the text
            total = total + log_p.gather(2, after.expand(len(total), -1)[..., None])[..., 0].sum(1)
        return total

    with torch.inference_mode():
        cache, logits = read_sources(model, [source], gap.before, max_tokens + len(gap.after) + 1)
        constraints = Constraints(torch.tensor(gap.banned, dtype=torch.long, device=model.device), gap.end)
        beams, n_steps = max(2 * n, MIN_BEAMS), max(1, min(max_tokens + 1, room))
        before = torch.tensor([gap.before], device=model.device)
        (found,) = beam_search(
            model, cache, logits, before, constraints, beams, n_steps, length_penalty=0.0, closing=closing
        )
    return [(text.tokens[:-1], text.log_probability) for text in found]
