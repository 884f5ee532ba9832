"""Transformer for token-by-token inference, with its matrices in the CPU's fastest layout and the chosen precision.

A step of one token multiplies each matrix by a few rows, so it takes as long as reading the matrices from memory: half
of that in bfloat16. In oneDNN's own layout, made in advance, it is faster still (`models/cpu.py`); in bfloat16 a row's
result then does not depend on the number of rows (measured with torch 2.13 on a CPU with AVX-512).
"""

import copy
from typing import Literal, cast

import torch
from torch import Tensor, nn

from ssl_cli.models.attention import KVCache
from ssl_cli.models.cpu import PackedLinear, has_bf16
from ssl_cli.models.cross_attention import Seq2SeqCache
from ssl_cli.models.encoder_decoder import EncoderDecoder
from ssl_cli.models.transformer import Transformer

Precision = Literal["auto", "32-true", "bf16-true"]


class InferenceModel:
    """Copy of a causal transformer for token-by-token inference. Later changes of the original have no effect on it."""

    def __init__(self, network: Transformer, precision: Precision = "auto"):
        dtype = resolve_dtype(precision, network.token_table.weight.device)
        with torch.inference_mode():
            self.network = cast(Transformer, _pack(network, dtype)).eval()
            self.output = PackedLinear(self.network.token_table.weight, None)
        self.context, self.device = network.context, network.token_table.weight.device

    def new_cache(self, rows: int, capacity: int, left_padding: Tensor | None = None) -> KVCache:
        """Return an empty cache; see Transformer.new_cache."""
        return self.network.new_cache(rows, capacity, left_padding)

    def next_logits(self, ids: Tensor, cache: KVCache) -> Tensor:
        """Read the next tokens (B, T) of the rows in a cache; return the logits (B, V) float32 of the token after."""
        return self.output(self.network(ids, cache=cache)[:, -1].contiguous()).float()


class Seq2SeqInferenceModel:
    """Copy of an encoder-decoder for token-by-token inference. Later changes of the original have no effect on it."""

    def __init__(self, network: EncoderDecoder, precision: Precision = "auto"):
        dtype = resolve_dtype(precision, network.token_table.weight.device)
        with torch.inference_mode():
            self.network = cast(EncoderDecoder, _pack(network, dtype)).eval()
            output = self.network.output  # packed already, if it is a layer of its own
            self.output = PackedLinear(self.network.token_table.weight, None) if output is None else output
        self.context, self.device = network.context, network.token_table.weight.device
        self._first_position = 0

    def at(self, position: int) -> "Seq2SeqInferenceModel":
        """Return the same model for targets that begin at another position, such as MASS's fragments."""
        moved = copy.copy(self)
        moved._first_position = position
        return moved

    def read(self, sources: Tensor, document: Tensor | None, capacity: int) -> Seq2SeqCache:
        """Read sources (B, S), whose padding has the `document` -1; return a cache for `capacity` target tokens."""
        return self.network.new_cache(self.network.encode(sources, document), document, capacity)

    def next_logits(self, ids: Tensor, cache: Seq2SeqCache) -> Tensor:
        """Read the next target tokens (B, T) of a cache's rows; return the logits (B, V) float32 of the token after."""
        return self.all_logits(ids, cache, last=1)[:, -1]

    def all_logits(self, ids: Tensor, cache: Seq2SeqCache, last: int = 0) -> Tensor:
        """Read the next target tokens (B, T); return the logits (B, T, V) float32 after each, or the `last` of them."""
        position = None
        if self._first_position:
            first = self._first_position + cache.length
            position = torch.arange(first, first + ids.shape[1], device=ids.device).expand_as(ids)
        hidden = self.network.decode(ids, None, position=position, cache=cache)
        return self.output(hidden[:, -last:].contiguous()).float()


def resolve_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """Return the data type of a precision; `auto` is bfloat16 if the device has instructions for it."""
    if precision == "auto":
        return torch.bfloat16 if has_bf16(device) else torch.float32
    return torch.bfloat16 if precision == "bf16-true" else torch.float32


def _pack(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Return a copy in another dtype with packed linear layers.

    It converts one layer at a time, so that there is never a second unpacked copy in memory.
    """
    if isinstance(module, nn.Linear):
        bias = None if module.bias is None else module.bias.detach().to(dtype)
        return PackedLinear(module.weight.detach().to(dtype), bias)
    packed = copy.copy(module)
    packed._parameters = {
        name: None if value is None else nn.Parameter(value.detach().to(dtype), requires_grad=False)
        for name, value in module._parameters.items()
    }
    packed._buffers = {name: _cast(value, dtype) for name, value in module._buffers.items()}
    packed._modules = {name: None if child is None else _pack(child, dtype) for name, child in module._modules.items()}
    return packed


def _cast(value: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    return value.to(dtype) if value is not None and value.is_floating_point() else value
