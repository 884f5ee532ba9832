"""Texts that go on from prompts: batches of rows, token by token, each row's draws its own.

A prompt's samples don't depend on how many are asked for. Rows are batched in the order of their prompts' lengths, the
shorter ones filled up on the left. When a text outgrows the model's context, its window slides: the last half of it is
read anew, and it goes on from there. Such rows are batched only with prompts of the same length, so that a text is the
same whatever others are written beside it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from ssl_cli.config.types import Count, Seed
from ssl_cli.models.attention import Cache
from ssl_cli.models.generation.detokenize import Completion, Detokenizer
from ssl_cli.models.generation.packed_weights import InferenceModel
from ssl_cli.models.generation.sampling import Sampling

Batch = list[tuple[int, list[int]]]  # prompts that are read together: the how manieth each is, and its tokens


@dataclass(frozen=True)
class GenerationRequest:
    """How much is to be written."""

    n: Annotated[Count, "texts for each prompt"] = 1
    max_tokens: Annotated[Count, "tokens written at most, after the prompt's"] = 200
    seed: Annotated[Seed, "every draw follows from it"] = 0
    batch_size: Annotated[Count, "texts written at a time"] = 16


def generate_tokens(
    model: Any, prompts: list[list[int]], max_tokens: int, temperature: float, seed: int, barred: Sequence[int] = ()
) -> list[list[int]]:
    """Token ids -> those that go on, a list each, none of them `barred`: of a CausalLM, as it is."""
    wish = GenerationRequest(max_tokens=max_tokens, seed=seed)
    found = generate(InferenceModel(model.network, "32-true"), prompts, wish, Sampling(temperature), barred=barred)
    return [writer.tokens for (writer,) in found]


def generate(
    model: InferenceModel,
    prompts: list[list[int]],
    wish: GenerationRequest,
    sampling: Sampling,
    spelling: Detokenizer | None = None,
    barred: Sequence[int] = (),
) -> list[list[Completion]]:
    """Prompts, of one token at least -> `wish.n` texts of each, without the tokens `barred`."""
    found: list[list[Completion]] = [[] for _ in prompts]
    never = torch.tensor(barred, dtype=torch.long, device=model.device)
    with torch.inference_mode():
        for batch in batches(prompts, model.context, wish):
            cache, logits = read(model, [ids for _, ids in batch], wish.max_tokens)
            at_a_time = max(1, wish.batch_size // len(batch))
            for first in range(0, wish.n, at_a_time):
                samples = range(first, min(first + at_a_time, wish.n))
                rows = [(number, sample) for number, _ in batch for sample in samples]
                writers = [Completion(prompts[number], spelling) for number, _ in rows]
                u = torch.stack([draws(wish, number, sample) for number, sample in rows])
                copies = repeated(cache, len(samples)), logits.repeat_interleave(len(samples), dim=0)
                write(model, *copies, writers, u.to(logits.device), sampling, never)
                for (number, _), writer in zip(rows, writers, strict=True):
                    found[number].append(writer)
    return found


def write(
    model: InferenceModel,
    cache: Cache,
    logits: Tensor,
    writers: list[Completion],
    u: Tensor,
    sampling: Sampling,
    never: Tensor,
) -> None:
    """Go on with every row until all have ended: `logits` (B, V) of their first tokens, draws `u` (B, max_tokens), and
    tokens `never` (N,) that are not to be drawn."""
    seen = tokens_seen(writers, logits) if sampling.repetition_penalty != 1 else None
    most = u.shape[1]
    for step in range(most):
        chosen = sampling.choose(logits.index_fill_(1, never, -torch.inf), seen, u[:, step])  # (B,)
        for writer, token in zip(writers, chosen.tolist(), strict=True):
            writer.add(token)
        if step + 1 == most or all(writer.ended for writer in writers):
            break
        if seen is not None:
            seen.scatter_(1, chosen[:, None], True)
        if cache.length < model.context:
            logits = model.next_logits(chosen[:, None], cache)
        else:
            cache, logits = slid(model, writers, most - step)
    for writer in writers:
        writer.finish()


def read(model: InferenceModel, prompts: list[list[int]], more: int) -> tuple[Cache, Tensor]:
    """The cache of prompts, with room for so many more tokens, and the logits (B, V) of the next; of a prompt longer
    than the context its end is read."""
    prompts = [ids[-model.context :] for ids in prompts]
    longest = max(map(len, prompts))
    filled = torch.tensor([[0] * (longest - len(ids)) + ids for ids in prompts], device=model.device)  # (B, T)
    start = torch.tensor([longest - len(ids) for ids in prompts], device=model.device)
    cache = model.cache(len(prompts), min(model.context, longest + more), start if start.any() else None)
    return cache, model.next_logits(filled, cache)


def repeated(cache: Cache, times: int) -> Cache:
    """A copy, each of its rows so many times"""
    start = None if cache.start is None else cache.start.repeat_interleave(times)
    copy = Cache(cache.keys.repeat_interleave(times, dim=1), cache.values.repeat_interleave(times, dim=1), start)
    copy.length = cache.length
    return copy


def slid(model: InferenceModel, writers: list[Completion], more: int) -> tuple[Cache, Tensor]:
    """The last half of a context read anew. A row that has ended stands for none: it repeats one that goes on."""
    half = max(1, model.context // 2)
    going = next(writer for writer in writers if not writer.ended)
    return read(model, [(going if writer.ended else writer).ids[-half:] for writer in writers], more)


def batches(prompts: list[list[int]], context: int, wish: GenerationRequest) -> Iterator[Batch]:
    """Prompts of like lengths together; of one length alone, where a text may outgrow the context."""
    batch: Batch = []
    for number in sorted(range(len(prompts)), key=lambda number: len(prompts[number])):
        ids = prompts[number]
        fits = not batch or len(batch[0][1]) == len(ids) or len(ids) + wish.max_tokens <= context
        if batch and (len(batch) == wish.batch_size or not fits):
            yield batch
            batch = []
        batch.append((number, ids))
    if batch:
        yield batch


def draws(wish: GenerationRequest, prompt: int, sample: int) -> Tensor:
    """Those of one text, (max_tokens,) in [0, 1): its own, however many others there are; fewer are the first."""
    own = np.random.default_rng([wish.seed, prompt, sample])
    return torch.from_numpy(own.random(wish.max_tokens))


def tokens_seen(writers: list[Completion], logits: Tensor) -> Tensor:
    """(B, V) bool, which tokens are in each row's prompt"""
    seen = torch.zeros_like(logits, dtype=torch.bool)
    for row, writer in enumerate(writers):
        seen[row, writer.ids] = True
    return seen
