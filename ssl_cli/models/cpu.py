"""Fast matrix products on a CPU: bfloat16 where it has instructions for it, oneDNN in place of MKL, reuse of memory."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

# Parameters of glibc's mallopt, and their default values.
TRIM_THRESHOLD, TRIM_DEFAULT = -1, 128 * 1024
MMAP_MAX, MMAP_DEFAULT = -4, 65536


def has_bf16(device: torch.device) -> bool:
    """Return whether the device has instructions for bfloat16 products, and does not emulate them."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    tests = (getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("avx512_bf16", "amx_tile"))
    return device.type == "cpu" and any(test() for test in tests if test)


def _has_onednn_avx512() -> bool:
    return torch.backends.mkldnn.is_available() and torch.backends.cpu.get_cpu_capability() == "AVX512"


class Linear(nn.Linear):
    """Linear layer that trains by oneDNN on a CPU with AVX-512: (..., n_in) -> (..., n_out), in float32.

    Torch multiplies by MKL, which uses half the vector width of an AMD CPU. A training step of an image network takes
    1.6 times as long with it (docs/benchmarks.md). Outside training the layer is the same as nn.Linear.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the linear map of `x`."""
        if self.training and torch.is_grad_enabled() and _can_use_onednn(x):
            return _OneDNNLinear.apply(x, self.weight, self.bias)
        return super().forward(x)


class _OneDNNLinear(torch.autograd.Function):
    """oneDNN's product and its gradients. Torch has no derivative of those gradients: if one may be asked for, as in a
    contractive loss, they are plain products."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return the linear map of x (..., n_in)."""
        ctx.save_for_backward(x, weight)
        ctx.onednn_x = x.detach().to_mkldnn()
        return functional.linear(ctx.onednn_x, weight, bias).to_dense()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x, weight and bias."""
        x, weight = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph=True
            rows, flat = gradient.flatten(0, -2), x.flatten(0, -2)
            return gradient @ weight, rows.T @ flat, rows.sum(0) if ctx.needs_input_grad[2] else None
        needed = list(ctx.needs_input_grad)
        found = torch.ops.aten.mkldnn_linear_backward(ctx.onednn_x, gradient.contiguous().to_mkldnn(), weight, needed)
        return tuple(
            (part.to_dense() if part.is_mkldnn else part) if wanted else None
            for part, wanted in zip(found, needed, strict=True)
        )


def _can_use_onednn(x: Tensor) -> bool:
    is_plain_float32 = x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    return x.device.type == "cpu" and is_plain_float32 and _has_onednn_avx512()


@contextmanager
def tuned_for_large_matmuls() -> Iterator[None]:
    """Tune this process for large matrix products on a CPU, and restore its settings on exit.

    A transformer trains about twice as fast in float32 and a sixth faster in bfloat16 (docs/benchmarks.md). Small
    products become slower.
    """
    with ExitStack() as settings:
        settings.enter_context(_onednn_matmuls())
        settings.enter_context(_freed_memory_kept())
        yield


@contextmanager
def _onednn_matmuls() -> Iterator[None]:
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
def _freed_memory_kept() -> Iterator[None]:
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
