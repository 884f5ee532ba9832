"""A transformer for reading token by token: its matrices lie as the CPU reads them fastest, in the precision asked for.

A step of one token multiplies each matrix by a few rows, so it takes as long as reading the matrices does: half of that
in bfloat16. In oneDNN's own layout, made in advance, a product with 16 rows takes a quarter of torch's time in float32
and two thirds in bfloat16, where a row's result doesn't depend on how many rows there are (measured with torch 2.13 on
a CPU with AVX-512).
"""

import copy
import platform
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_cli.models.attention import Cache
from ssl_cli.models.cpu import has_bf16
from ssl_cli.models.transformer import Transformer

Precision = Literal["auto", "32-true", "bf16-true"]
ROWS = 16  # that the layout is made for; it serves others too


class PackedLinear(nn.Module):
    """(..., K) -> (..., N), as nn.Linear of the weight (N, K) and bias."""

    def __init__(self, weight: Tensor, bias: Tensor | None):
        super().__init__()
        self.bias, self.is_packed = bias, can_pack(weight)
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight, ROWS) if self.is_packed else weight

    def forward(self, x: Tensor) -> Tensor:
        if not self.is_packed:
            return functional.linear(x, self.weight, self.bias)
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")


class InferenceModel:
    """A causal transformer, ready to read token by token; a change of the original's weights is not seen."""

    def __init__(self, network: Transformer, precision: Precision = "auto"):
        dtype = chosen_type(precision, network.token_table.weight.device)
        with torch.inference_mode():
            self.network = cast(Transformer, _packed(network, dtype)).eval()
            self.output = PackedLinear(self.network.token_table.weight, None)
        self.context, self.device = network.context, network.token_table.weight.device

    def cache(self, rows: int, capacity: int, start: Tensor | None = None) -> Cache:
        """Room for what it reads of so many rows, see Transformer.cache"""
        return self.network.cache(rows, capacity, start)

    def next_logits(self, ids: Tensor, cache: Cache) -> Tensor:
        """The next tokens (B, T) of the rows in a cache -> (B, V) float32, of the token after the last"""
        return self.output(self.network(ids, cache=cache)[:, -1].contiguous()).float()


def chosen_type(precision: Precision, device: torch.device) -> torch.dtype:
    """auto: bfloat16 where the device has instructions for it."""
    if precision == "auto":
        return torch.bfloat16 if has_bf16(device) else torch.float32
    return torch.bfloat16 if precision == "bf16-true" else torch.float32


def can_pack(weight: Tensor) -> bool:
    """oneDNN's own layouts are for CPUs of the x86 family. The calls are those that torch.compile makes."""
    return (
        weight.device.type == "cpu"
        and platform.machine().lower() in ("x86_64", "amd64")
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def _packed(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy in another type, its linear layers packed; one layer at a time, so that no second copy is in memory."""
    if isinstance(module, nn.Linear):
        bias = None if module.bias is None else module.bias.detach().to(dtype)
        return PackedLinear(module.weight.detach().to(dtype), bias)
    own = copy.copy(module)
    own._parameters = {
        name: None if value is None else nn.Parameter(value.detach().to(dtype), requires_grad=False)
        for name, value in module._parameters.items()
    }
    own._buffers = {name: _as(value, dtype) for name, value in module._buffers.items()}
    own._modules = {name: None if child is None else _packed(child, dtype) for name, child in module._modules.items()}
    return own


def _as(value: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    return value.to(dtype) if value is not None and value.is_floating_point() else value
