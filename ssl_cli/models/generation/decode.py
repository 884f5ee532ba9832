"""Text generation with a causal model: prompts in batches, continued token by token.

The samples of a prompt do not depend on how many are asked for. Prompts are batched in the order of their lengths, and
shorter ones are padded on the left. When a text outgrows the model's context, its window slides: the last half of the
window is read again, and generation continues from there. Rows that may slide are batched only with prompts of the same
length. So a text never depends on the other texts of its batch.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ssl_cli.models.attention import KVCache
from ssl_cli.models.generation.constraints import Constraints
from ssl_cli.models.generation.detokenize import Completion, Detokenizer
from ssl_cli.models.generation.packed_weights import InferenceModel
from ssl_cli.models.generation.request import GenerationRequest
from ssl_cli.models.generation.rows import Prefilled, complete_rows
from ssl_cli.models.generation.sampling import Sampling

Batch = list[tuple[int, list[int]]]  # prompts that are decoded together: (index, tokens) of each


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
    """Return `request.n` completions of each prompt, without `banned` tokens. A prompt has at least one token.

    With beams, prompt and text must fit into the model's context.
    """
    completions: list[list[Completion]] = [[] for _ in prompts]
    end = detokenizer.end if detokenizer else None
    constraints = Constraints.of(banned, end, model.device, **request.constraints)
    with torch.inference_mode():
        for batch in batch_prompts(prompts, model.context, request):
            cache, logits = prefill(model, [ids for _, ids in batch], request.max_tokens)
            prefilled = Prefilled([index for index, _ in batch], [ids for _, ids in batch], cache, logits)
            slide = partial(slide_window, model)
            for index, text in complete_rows(model, prefilled, request, sampling, constraints, detokenizer, slide):
                completions[index].append(text)
    return completions


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
        if batch and (len(batch) == request.prompts_at_a_time or not fits):
            yield batch
            batch = []
        batch.append((index, ids))
    if batch:
        yield batch
