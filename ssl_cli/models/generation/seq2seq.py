"""Text generation with an encoder-decoder: it reads a source once, and writes a target token by token.

Sources are padded to a multiple of PAD_MULTIPLE tokens, and batched with those of the same padded length. So a target
never depends on the other sources of its batch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ssl_cli.data.tokenizers.seq2seq_template import Seq2SeqTemplate
from ssl_cli.models.cross_attention import Seq2SeqCache
from ssl_cli.models.encoder_decoder import PADDING, EncoderDecoder, check_length
from ssl_cli.models.generation.constraints import Constraints
from ssl_cli.models.generation.detokenize import Completion, Detokenizer
from ssl_cli.models.generation.packed_weights import Precision, Seq2SeqInferenceModel
from ssl_cli.models.generation.request import GenerationRequest
from ssl_cli.models.generation.rows import Prefilled, complete_rows
from ssl_cli.models.generation.sampling import Sampling

PAD_MULTIPLE = 16


def generate_from_sources(
    network: EncoderDecoder | Seq2SeqInferenceModel,
    sources: list[list[int]],
    template: Seq2SeqTemplate,
    request: GenerationRequest,
    sampling: Sampling,
    precision: Precision = "auto",
    detokenizer: Detokenizer | None = None,
    banned: Sequence[int] = (),
    other_ends: Sequence[int] = (),
    numbers: Sequence[int] | None = None,
) -> list[list[Completion]]:
    """Return `request.n` targets for each source, without `banned` tokens.

    `sources` have the template's special tokens already; targets come without them. A target has at most as many tokens
    as the network's context has room for; if targets begin with a special token, as BART's do, the last that fits is
    the end. `other_ends` are tokens that end a target too. Draws depend on the `numbers` of the sources, by default
    their indices. Raises InputError if a source is longer than the context.
    """
    model = network if isinstance(network, Seq2SeqInferenceModel) else Seq2SeqInferenceModel(network, precision)
    prefix = [template.start, *template.target_prefix]
    request = replace(request, max_tokens=min(request.max_tokens, model.context - len(template.target_prefix)))
    options = request.constraints | {"forces_end": bool(template.target_prefix)}
    constraints = Constraints.of(banned, template.end, model.device, other_ends, **options)
    decode = replace(detokenizer, end=template.end) if detokenizer else Detokenizer(_no_text, template.end)
    completions: list[list[Completion]] = [[] for _ in sources]
    with torch.inference_mode():
        for index in batch_sources(sources, model.context, request.prompts_at_a_time):
            cache, logits = read_sources(model, [sources[k] for k in index], prefix, request.max_tokens)
            batch = Prefilled(index, [prefix for _ in index], cache, logits, numbers, hidden_prefix=True)
            for row, completion in complete_rows(model, batch, request, sampling, constraints, decode):
                completions[row].append(completion)
    return completions


def read_sources(
    model: Seq2SeqInferenceModel, sources: list[list[int]], prefix: list[int], new_tokens: int
) -> tuple[Seq2SeqCache, Tensor]:
    """Read sources, and the tokens that every target begins with.

    Return the cache with room for `new_tokens` more, and the logits (B, V) of the next token.
    """
    check_length(max(map(len, sources)), model.context)
    length = min(padded_length(max(map(len, sources))), model.context)
    ids = torch.tensor([[*source, *[0] * (length - len(source))] for source in sources], device=model.device)
    n_tokens = torch.tensor([len(source) for source in sources], device=model.device)
    is_padding = torch.arange(length, device=model.device) >= n_tokens[:, None]  # (B, S)
    cache = model.read(ids, torch.where(is_padding, PADDING, 0), min(model.context, len(prefix) + new_tokens))
    return cache, model.next_logits(torch.tensor(prefix, device=model.device).expand(len(sources), -1), cache)


def batch_sources(sources: list[list[int]], context: int, batch_size: int) -> Iterator[list[int]]:
    """Yield the indices of sources of the same padded length, at most `batch_size` at a time; the shortest first."""
    by_length: dict[int, list[int]] = {}
    for index, source in enumerate(sources):
        by_length.setdefault(min(padded_length(len(source)), context), []).append(index)
    for length in sorted(by_length):
        for first in range(0, len(by_length[length]), batch_size):
            yield by_length[length][first : first + batch_size]


def padded_length(length: int) -> int:
    """Return the smallest multiple of PAD_MULTIPLE that is not below a length."""
    return -(-length // PAD_MULTIPLE) * PAD_MULTIPLE


def _no_text(ids: list[int]) -> str:
    return ""
