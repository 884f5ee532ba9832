"""What makes matrix products fast on a CPU: bfloat16 where it pays, oneDNN where MKL is slow, memory that is reused."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional


def has_bf16(device: torch.device) -> bool:
    """Whether a product of bfloat16 numbers is one instruction there, and not many."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    tests = (getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("avx512_bf16", "amx_tile"))
    return device.type == "cpu" and any(test() for test in tests if test)


class Linear(nn.Linear):
    """nn.Linear, in training by oneDNN where the CPU has AVX-512: (..., n_in) -> (..., n_out), float32 as before.

    Torch multiplies by MKL, which on an AMD uses half the width of its vectors: a training step of an image network
    takes 1.6 times as long (docs/benchmarks.md). Outside training nothing is different.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.training and torch.is_grad_enabled() and _suits_onednn(x):
            return functional.linear(x.to_mkldnn(), self.weight, self.bias).to_dense()
        return super().forward(x)


def _suits_onednn(x: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and torch.backends.mkldnn.is_available()
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
    )


# glibc's mallopt: which setting, and what it is unless one is made.
TRIM_THRESHOLD, TRIM_DEFAULT = -1, 128 * 1024
MMAP_MAX, MMAP_DEFAULT = -4, 65536


@contextmanager
def for_large_products() -> Iterator[None]:
    """Within it a CPU trains a transformer about twice as fast in float32, and a sixth faster in bfloat16
    (docs/benchmarks.md). Small products would be slower."""
    with ExitStack() as settings:
        settings.enter_context(_by_onednn())
        settings.enter_context(_memory_kept())
        yield


@contextmanager
def _by_onednn() -> Iterator[None]:
    """Float32 products by oneDNN; MKL, torch's first choice, uses half the width of an AMD's vectors.

    Torch has no such setting, but asks oneDNN where float32 may be rounded to bfloat16. oneDNN rounds only on a CPU
    with AMX, where nothing is changed here; the tests hold the products against exact ones.
    """
    before = torch.get_float32_matmul_precision()
    if before == "highest" and multiplies_exactly():
        torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def multiplies_exactly() -> bool:
    """Whether oneDNN's float32 products are such, even where it may round: AVX-512 without AMX"""
    has_amx = getattr(torch.cpu, "_is_amx_tile_supported", None)
    wide = torch.backends.mkldnn.is_available() and torch.backends.cpu.get_cpu_capability() == "AVX512"
    return wide and has_amx is not None and not has_amx()


@contextmanager
def _memory_kept() -> Iterator[None]:
    """Large arrays get the memory of earlier ones. glibc would give it back to the system each time, which clears
    every page before it lends it again."""
    if sys.platform != "linux" or not hasattr(libc := ctypes.CDLL(None), "mallopt"):  # another C library
        yield
        return
    libc.mallopt(MMAP_MAX, 0)
    libc.mallopt(TRIM_THRESHOLD, -1)  # never
    try:
        yield
    finally:
        libc.mallopt(MMAP_MAX, MMAP_DEFAULT)
        libc.mallopt(TRIM_THRESHOLD, TRIM_DEFAULT)
        libc.malloc_trim(0)
