"""Text generation: batches of rows decoded token by token, each row with its own random draws.

The samples of a prompt do not depend on how many are asked for. Prompts are batched in the order of their lengths, and
shorter ones are padded on the left. When a text outgrows the model's context, its window slides: the last half of the
window is read again, and generation continues from there. Rows that may slide are batched only with prompts of the same
length. So a text never depends on the other texts of its batch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from ssl_cli.config.types import Count, Seed
from ssl_cli.models.attention import KVCache
from ssl_cli.models.generation.detokenize import Completion, Detokenizer
from ssl_cli.models.generation.packed_weights import InferenceModel
from ssl_cli.models.generation.sampling import Sampling

Batch = list[tuple[int, list[int]]]  # prompts that are decoded together: (index, tokens) of each


@dataclass(frozen=True)
class GenerationRequest:
    """How many texts to generate, and how long."""

    n: Annotated[Count, "texts for each prompt"] = 1
    max_tokens: Annotated[Count, "largest number of tokens to generate for a text"] = 200
    seed: Annotated[Seed, "seed of all random draws"] = 0
    batch_size: Annotated[Count, "texts generated at a time"] = 16


def generate_tokens(
    model: Any, prompts: list[list[int]], max_tokens: int, temperature: float, seed: int, banned: Sequence[int] = ()
) -> list[list[int]]:
    """Return the tokens that a CausalLM generates for each prompt, none of them `banned`."""
    request = GenerationRequest(max_tokens=max_tokens, seed=seed)
    completions = generate(
        InferenceModel(model.network, "32-true"), prompts, request, Sampling(temperature), banned=banned
    )
    return [completion.tokens for (completion,) in completions]


def generate(
    model: InferenceModel,
    prompts: list[list[int]],
    request: GenerationRequest,
    sampling: Sampling,
    detokenizer: Detokenizer | None = None,
    banned: Sequence[int] = (),
) -> list[list[Completion]]:
    """Return `request.n` completions of each prompt, without `banned` tokens. A prompt has at least one token."""
    completions: list[list[Completion]] = [[] for _ in prompts]
    banned_ids = torch.tensor(banned, dtype=torch.long, device=model.device)
    with torch.inference_mode():
        for batch in batch_prompts(prompts, model.context, request):
            cache, logits = prefill(model, [ids for _, ids in batch], request.max_tokens)
            samples_at_a_time = max(1, request.batch_size // len(batch))
            for first in range(0, request.n, samples_at_a_time):
                samples = range(first, min(first + samples_at_a_time, request.n))
                rows = [(prompt, sample) for prompt, _ in batch for sample in samples]
                batch_completions = [Completion(prompts[prompt], detokenizer) for prompt, _ in rows]
                u = torch.stack([uniform_draws(request, prompt, sample) for prompt, sample in rows])
                copies = repeat_cache(cache, len(samples)), logits.repeat_interleave(len(samples), dim=0)
                decode_rows(model, *copies, batch_completions, u.to(logits.device), sampling, banned_ids)
                for (prompt, _), completion in zip(rows, batch_completions, strict=True):
                    completions[prompt].append(completion)
    return completions


def decode_rows(
    model: InferenceModel,
    cache: KVCache,
    logits: Tensor,
    completions: list[Completion],
    u: Tensor,
    sampling: Sampling,
    banned_ids: Tensor,
) -> None:
    """Decode all rows until each has finished.

    `logits` (B, V) are those of the first new tokens, `u` (B, max_tokens) the uniform draws, and `banned_ids` (N,) are
    tokens that are never chosen.
    """
    seen = seen_token_mask(completions, logits) if sampling.repetition_penalty != 1 else None
    max_tokens = u.shape[1]
    for step in range(max_tokens):
        chosen = sampling.choose(logits.index_fill_(1, banned_ids, -torch.inf), seen, u[:, step])  # (B,)
        for completion, token in zip(completions, chosen.tolist(), strict=True):
            completion.add(token)
        if step + 1 == max_tokens or all(completion.finish_reason for completion in completions):
            break
        if seen is not None:
            seen.scatter_(1, chosen[:, None], True)
        if cache.length < model.context:
            logits = model.next_logits(chosen[:, None], cache)
        else:
            cache, logits = slide_window(model, completions, max_tokens - step)
    for completion in completions:
        completion.finish()


def prefill(model: InferenceModel, prompts: list[list[int]], new_tokens: int) -> tuple[KVCache, Tensor]:
    """Read the prompts; return their cache with room for `new_tokens` more, and the logits (B, V) of the next token.

    Of a prompt longer than the context only the end is read.
    """
    prompts = [ids[-model.context :] for ids in prompts]
    longest = max(map(len, prompts))
    padded = torch.tensor([[0] * (longest - len(ids)) + ids for ids in prompts], device=model.device)  # (B, T)
    padding = torch.tensor([longest - len(ids) for ids in prompts], device=model.device)
    capacity = min(model.context, longest + new_tokens)
    cache = model.new_cache(len(prompts), capacity, padding if padding.any() else None)
    return cache, model.next_logits(padded, cache)


def repeat_cache(cache: KVCache, times: int) -> KVCache:
    """Return a copy of the cache with each row repeated `times` times."""
    padding = None if cache.left_padding is None else cache.left_padding.repeat_interleave(times)
    copy = KVCache(cache.keys.repeat_interleave(times, dim=1), cache.values.repeat_interleave(times, dim=1), padding)
    copy.length = cache.length
    return copy


def slide_window(model: InferenceModel, completions: list[Completion], new_tokens: int) -> tuple[KVCache, Tensor]:
    """Read the last half context of each row again, with room for `new_tokens` more.

    Finished rows are replaced by a copy of an unfinished one: the batch keeps its shape, and their tokens are ignored.
    """
    half = max(1, model.context // 2)
    unfinished = next(completion for completion in completions if not completion.finish_reason)
    rows = [unfinished if completion.finish_reason else completion for completion in completions]
    return prefill(model, [row.ids[-half:] for row in rows], new_tokens)


def batch_prompts(prompts: list[list[int]], context: int, request: GenerationRequest) -> Iterator[Batch]:
    """Yield batches of prompts of similar length, or of equal length if a text may outgrow the context."""
    batch: Batch = []
    for index in sorted(range(len(prompts)), key=lambda index: len(prompts[index])):
        ids = prompts[index]
        fits = not batch or len(batch[0][1]) == len(ids) or len(ids) + request.max_tokens <= context
        if batch and (len(batch) == request.batch_size or not fits):
            yield batch
            batch = []
        batch.append((index, ids))
    if batch:
        yield batch


def uniform_draws(request: GenerationRequest, prompt: int, sample: int) -> Tensor:
    """Return the uniform draws of one text, (max_tokens,) in [0, 1).

    They depend only on the seed and the indices of prompt and sample. A smaller `max_tokens` gives a prefix of them.
    """
    rng = np.random.default_rng([request.seed, prompt, sample])
    return torch.from_numpy(rng.random(request.max_tokens))


def seen_token_mask(completions: list[Completion], logits: Tensor) -> Tensor:
    """Return which tokens are in each row's text so far, (B, V) bool."""
    seen = torch.zeros_like(logits, dtype=torch.bool)
    for row, completion in enumerate(completions):
        seen[row, completion.ids] = True
    return seen
