"""Tricks that make a CPU faster, in one place: what each is for, and what it gains.

Times as fast, with torch 2.13 on one core of an AMD CPU with AVX-512 and bfloat16 but no AMX; `scripts/bench cpu`
measures each of them on and off, and says which still pays (docs/benchmarks.md):

    Linear                    oneDNN in place of MKL, in the training of small networks                1.9
    inference_linear          the same without gradients, with tanh along with the product             2 to 3
    onednn_matmuls            the same for a whole transformer                                         1.7
    freed_memory_kept         large arrays without clearing of pages                               1.07; bfloat16: 1.3
    attend_by_matmul          attention with gradients by two plain products, up to 512 tokens         1.5 to 4
    mask_to_add               a mask of numbers, made once for all layers                              1.2
    attend_single_query       attention of one query in bfloat16, for generation                       3 to 4
    PackedLinear              weights laid out in advance, for generation                              1.2 to 2.7
    set_layout                weights of convolutions in channels_last, in training                    1.05 to 1.14

and those of a line or two that stand where they are used:

    has_bf16                  bfloat16 in training (`training/trainer.py`) and inference (`models/generation/
                              packed_weights.py`, `commands/finetune/inference.py`)                    1.6
    default_generator         seeded alone, without a stack trace for each absent device, once a step
                              (`training/seeding.py`)                                                  0.1 ms
"""

import ctypes
import math
import platform
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

# Parameters of glibc's mallopt, and their default values.
TRIM_THRESHOLD, TRIM_DEFAULT = -1, 128 * 1024
MMAP_MAX, MMAP_DEFAULT = -4, 65536
FUSED = {nn.Tanh: "tanh", nn.ReLU: "relu"}  # activations that oneDNN computes along with a product
LAYOUT_ROWS = 16  # the number of rows that packed weights are laid out for; they work for others too


def has_bf16(device: torch.device) -> bool:
    """Return whether the device has instructions for bfloat16 products, and does not emulate them."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    tests = (getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("avx512_bf16", "amx_tile"))
    return device.type == "cpu" and any(test() for test in tests if test)


@cache
def _has_onednn_avx512() -> bool:
    return torch.backends.mkldnn.is_available() and torch.backends.cpu.get_cpu_capability() == "AVX512"


class Linear(nn.Linear):
    """Linear layer that trains by oneDNN on a CPU with AVX-512: (..., n_in) -> (..., n_out), in float32.

    Torch multiplies by MKL, which uses half the vector width of an AMD CPU. Outside training the layer is the same as
    nn.Linear.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the linear map of `x`."""
        if self.training and torch.is_grad_enabled() and _can_use_onednn(x):
            return _OneDNNLinear.apply(x, self.weight, self.bias)
        return super().forward(x)


class _OneDNNLinear(torch.autograd.Function):
    """oneDNN's product, and its gradients as products of transposed views, which it takes without a copy. Torch has no
    derivative of those gradients: if one may be asked for, as in a contractive loss, they are plain products."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return the linear map of x (..., n_in)."""
        ctx.save_for_backward(x, weight)
        return onednn_linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x, weight and bias."""
        x, weight = ctx.saved_tensors
        # A view with gaps, as of half a code, would take oneDNN thirty times as long.
        rows, flat = gradient.flatten(0, -2).contiguous(), x.flatten(0, -2).contiguous()  # (N, n_out), (N, n_in)
        product = functional.linear if torch.is_grad_enabled() else onednn_linear  # with grad: create_graph=True
        return (
            product(gradient, weight.T) if ctx.needs_input_grad[0] else None,
            product(rows.T, flat.T) if ctx.needs_input_grad[1] else None,
            rows.sum(0) if ctx.needs_input_grad[2] else None,
        )


def onednn_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return the linear map (..., N) of x (..., K) by weight (N, K) and bias (N,), as torch.compile computes it."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


def inference_linear(x: Tensor, weight: Tensor, bias: Tensor, activation: nn.Module | None = None) -> Tensor:
    """Return the activation of the linear map (..., N) of x (..., K) by weight (N, K) and bias (N,), without gradient.

    oneDNN computes it where it is faster, and some activations along with the product.
    """
    if not _can_use_onednn(x):
        out = functional.linear(x, weight, bias)
    elif (fused := FUSED.get(type(activation))) is not None:
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, fused, [], "")
    else:
        out = onednn_linear(x, weight, bias)
    return out if activation is None else activation(out)


class ScoringLayers(nn.Sequential):
    """Linear layers, each but the last followed by an activation, which use `inference_linear` without gradients.

    It is for small layers that are trained on small batches, where MKL is as fast, and score large ones.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the output (B, n_out) of the last layer for x (B, n_in)."""
        if torch.is_grad_enabled():
            return super().forward(x)
        layers = list(self)
        for linear, activation in zip(layers[::2], [*layers[1::2], None], strict=True):
            assert isinstance(linear, nn.Linear)
            x = inference_linear(x, linear.weight, linear.bias, activation)
        return x


def _can_use_onednn(x: Tensor) -> bool:
    is_plain_float32 = x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    return x.device.type == "cpu" and is_plain_float32 and _has_onednn_avx512() and _has_onednn_operators()


@contextmanager
def tuned_for_large_matmuls() -> Iterator[None]:
    """Tune this process for large matrix products on a CPU, and restore its settings on exit.

    Small products become slower.
    """
    with ExitStack() as settings:
        settings.enter_context(onednn_matmuls())
        settings.enter_context(freed_memory_kept())
        yield


@contextmanager
def onednn_matmuls() -> Iterator[None]:
    """Compute float32 products by oneDNN: MKL, torch's default, uses half the vector width of an AMD CPU.

    Torch has no setting for this, but it calls oneDNN where float32 may be rounded to bfloat16. oneDNN rounds only on
    a CPU with AMX, where this function changes nothing. The tests compare the products with exact ones.
    """
    before = torch.get_float32_matmul_precision()
    if before == "highest" and onednn_float32_is_exact():
        torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def onednn_float32_is_exact() -> bool:
    """Return whether oneDNN multiplies in float32 even where it may round: on a CPU with AVX-512 but without AMX."""
    has_amx = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return _has_onednn_avx512() and has_amx is not None and not has_amx()


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep freed memory in the process for the next large array.

    By default glibc returns it to the system, which clears every page before it hands it out again.
    """
    if sys.platform != "linux" or not hasattr(libc := ctypes.CDLL(None), "mallopt"):  # another C library
        yield
        return
    libc.mallopt(MMAP_MAX, 0)
    libc.mallopt(TRIM_THRESHOLD, -1)  # never trim
    try:
        yield
    finally:
        libc.mallopt(MMAP_MAX, MMAP_DEFAULT)
        libc.mallopt(TRIM_THRESHOLD, TRIM_DEFAULT)
        libc.malloc_trim(0)


# --- attention ---


def attend_single_query(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Compute attention for a single query, (B, H, 1, D).

    In bfloat16 it is faster than torch's function, whose blocks are made for many queries.
    """
    score = torch.matmul(k, (q / math.sqrt(q.shape[-1])).transpose(-1, -2)).transpose(-1, -2)  # (B, H, 1, S)
    if mask is not None:
        score = add_mask(score, mask)
    return torch.matmul(score.softmax(dim=-1), v)


def attend_by_matmul(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, dropout: float) -> Tensor:
    """Compute attention by two plain products, with the attention weights in memory: the gradient is faster."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)  # (B, H, T, S)
    if mask is not None:
        scores = add_mask(scores, mask)
    elif causal:
        scores += torch.full(scores.shape[-2:], -math.inf, dtype=q.dtype).triu(1)
    weights = scores.softmax(-1)
    return (functional.dropout(weights, dropout) if dropout else weights) @ v


def add_mask(scores: Tensor, mask: Tensor) -> Tensor:
    """Return scores (B, H, T, S) with -inf where a mask of bool is false, or with a mask of numbers added in place."""
    return scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores.add_(mask)


def mask_to_add(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Return numbers that are added to scores in place of a mask of bool: 0 where it is true, otherwise -inf.

    A network makes them once for all of its layers; and each layer adds them faster than it fills in -inf.
    """
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, -math.inf)


# --- layouts of weights ---


def set_layout(module: nn.Module, layout: torch.memory_format) -> None:
    """Set the memory layout of the weights of convolutions; others have only one."""
    module.to(memory_format=layout)  # type: ignore[call-overload]


class PackedLinear(nn.Module):
    """Inference version of nn.Linear with weight (N, K) and bias (N,): (..., K) -> (..., N)."""

    def __init__(self, weight: Tensor, bias: Tensor | None):
        super().__init__()
        self.bias, self.is_packed = bias, can_pack(weight)
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight, LAYOUT_ROWS) if self.is_packed else weight

    def forward(self, x: Tensor) -> Tensor:
        """Return the linear map of x."""
        if not self.is_packed:
            return functional.linear(x, self.weight, self.bias)
        return onednn_linear(x, self.weight, self.bias)


def can_pack(weight: Tensor) -> bool:
    """Return whether oneDNN's own layouts are available: on x86 CPUs, by the operators that torch.compile uses.

    For bfloat16 it needs AVX-512.
    """
    if weight.device.type != "cpu" or platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    return _has_onednn_operators() and (weight.dtype == torch.float32 or _has_onednn_avx512())


@cache
def _has_onednn_operators() -> bool:
    names = ("_reorder_linear_weight", "_linear_pointwise")
    return torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in names)
