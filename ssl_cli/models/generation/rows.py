"""Rows of a batch completed token by token: by draws, each row with its own, or by beam search.

What a row becomes does not depend on the others. Rows that have finished leave the batch when they are half of it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ssl_cli.models.generation.beam import beam_search
from ssl_cli.models.generation.constraints import Constraints
from ssl_cli.models.generation.detokenize import Completion, Detokenizer
from ssl_cli.models.generation.request import GenerationRequest, uniform_draws
from ssl_cli.models.generation.sampling import Sampling

PADDING = -1  # in rows of tokens of different lengths
# Returns a cache and logits for rows that have outgrown the model's context, with room for so many more tokens.
SlideWindow = Callable[[list[Completion], int], tuple[Any, Tensor]]


@dataclass(frozen=True)
class Prefilled:
    """A batch of prompts that a model has read: its cache, and the logits (B, V) of the next token.

    `index` are the prompts' indices, and `prefixes` their tokens. Their draws depend on `numbers`, by default the
    indices. `hidden_prefix`: the prefixes are no part of the text, but special tokens that a decoder reads first.
    """

    index: list[int]
    prefixes: list[list[int]]
    cache: Any
    logits: Tensor
    numbers: Sequence[int] | None = None
    hidden_prefix: bool = False

    def padded(self) -> Tensor:
        """Return the prompts' tokens (B, L), padded on the left."""
        longest = max(map(len, self.prefixes))
        rows = [[PADDING] * (longest - len(ids)) + ids for ids in self.prefixes]
        return torch.tensor(rows, device=self.logits.device)

    def draws(self, request: GenerationRequest, row: int, sample: int) -> Tensor:
        """Return the uniform draws of a sample of a row, (max_tokens,)."""
        index = self.index[row]
        return uniform_draws(request, index if self.numbers is None else self.numbers[index], sample)

    def completion(self, row: int, detokenizer: Detokenizer | None) -> Completion:
        """Return a completion of a row, without tokens."""
        return Completion([] if self.hidden_prefix else self.prefixes[row], detokenizer)


def complete_rows(
    model: Any,
    batch: Prefilled,
    request: GenerationRequest,
    sampling: Sampling,
    constraints: Constraints,
    detokenizer: Detokenizer | None,
    slide_window: SlideWindow | None = None,
) -> Iterator[tuple[int, Completion]]:
    """Yield `request.n` completions of each prompt of a batch, with the prompt's index; those of a prompt in order."""
    if request.beams > 1:
        yield from search_rows(model, batch, request, constraints, detokenizer)
        return
    n_prompts, prefixes = len(batch.index), batch.padded()
    samples_at_a_time = max(1, request.batch_size // n_prompts)
    for first in range(0, request.n, samples_at_a_time):
        samples = range(first, min(first + samples_at_a_time, request.n))
        pairs = [(row, sample) for row in range(n_prompts) for sample in samples]
        completions = [batch.completion(row, detokenizer) for row, _ in pairs]
        u = torch.stack([batch.draws(request, row, sample) for row, sample in pairs])
        rows = torch.tensor([row for row, _ in pairs], device=batch.logits.device)
        copies = batch.cache.select(rows), batch.logits[rows]
        draws = u.to(batch.logits.device)
        decode_rows(model, *copies, completions, prefixes[rows], draws, sampling, constraints, slide_window)
        for (row, _), completion in zip(pairs, completions, strict=True):
            yield batch.index[row], completion


def search_rows(
    model: Any,
    batch: Prefilled,
    request: GenerationRequest,
    constraints: Constraints,
    detokenizer: Detokenizer | None,
) -> Iterator[tuple[int, Completion]]:
    """Yield the best `request.n` texts of a beam search for each prompt, best first."""
    lengths = (request.max_tokens, request.length_penalty)
    prefixes = batch.padded()
    # A decoder's special tokens after the first count as written, as in transformers.
    first_length = prefixes.shape[1] - 1 if batch.hidden_prefix else 0
    search = (constraints, max(request.beams, request.n), *lengths, first_length)
    texts = beam_search(model, batch.cache, batch.logits, prefixes, *search)
    for row, hypotheses in enumerate(texts):
        for hypothesis in hypotheses[: request.n]:
            completion = batch.completion(row, detokenizer)
            completion.log_probability = hypothesis.log_probability
            is_cut = constraints.forces_end and len(hypothesis.tokens) == request.max_tokens
            for token in hypothesis.tokens[:-1] if is_cut else hypothesis.tokens:
                completion.add(token)
            completion.finish()
            yield batch.index[row], completion


def decode_rows(
    model: Any,
    cache: Any,
    logits: Tensor,
    completions: list[Completion],
    prefixes: Tensor,
    u: Tensor,
    sampling: Sampling,
    constraints: Constraints,
    slide_window: SlideWindow | None = None,
) -> None:
    """Decode all rows until each has finished.

    `logits` (B, V) are those of the first new tokens, `prefixes` (B, L) the tokens before them, and `u` (B, max_tokens)
    the uniform draws. A row whose cache is full goes on by `slide_window`.
    """
    seen = seen_token_mask(completions, logits) if sampling.repetition_penalty != 1 else None
    rows, earlier, n_steps = completions, prefixes, u.shape[1] - constraints.forces_end
    for step in range(n_steps):
        allowed = constraints.apply(logits, earlier, step, is_last=False)
        chosen = sampling.choose(allowed, seen, u[:, step])  # (B,)
        for completion, token in zip(rows, chosen.tolist(), strict=True):
            completion.add(token)
        unfinished = [row for row, completion in enumerate(rows) if not completion.finish_reason]
        if step + 1 == n_steps or not unfinished:
            break
        earlier = torch.cat([earlier, chosen[:, None]], dim=1)
        if seen is not None:
            seen.scatter_(1, chosen[:, None], True)
        if len(unfinished) <= len(rows) // 2:
            kept = torch.tensor(unfinished, device=chosen.device)
            rows, cache = [rows[row] for row in unfinished], cache.select(kept)
            chosen, earlier, u, seen = chosen[kept], earlier[kept], u[kept], None if seen is None else seen[kept]
        if slide_window is None or cache.length < model.context:
            logits = model.next_logits(chosen[:, None], cache)
        else:
            cache, logits = slide_window(rows, n_steps - step)
    for completion in completions:
        completion.finish()


def seen_token_mask(completions: list[Completion], logits: Tensor) -> Tensor:
    """Return which tokens are in each row's text so far, (B, V) bool."""
    seen = torch.zeros_like(logits, dtype=torch.bool)
    for row, completion in enumerate(completions):
        seen[row, completion.ids] = True
    return seen
