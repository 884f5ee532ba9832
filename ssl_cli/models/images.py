"""Image tensors: bytes in storage, floats in computation, and errors between images."""

from collections.abc import Iterator

import torch
from torch import Tensor, float64, uint8
from torch.nn import functional

SMOOTHINGS, MIN_MEAN_SQUARE = 2, 1e-3
MAX_BATCH_VALUES = 2**23  # image values in one batch: 32 MB, and a few times that in a network's layers


def to_float(x: Tensor) -> Tensor:
    """Return bytes 0..255 as float32 in 0..1, on the same device; return other dtypes unchanged."""
    return x.float().div_(255) if x.dtype == uint8 else x


def float_batches(x: Tensor, max_rows: int, device: torch.device) -> Iterator[Tensor]:
    """Yield x (N, ...) as floats on `device`, at most `max_rows` rows at a time.

    A batch of large images has fewer rows, at most MAX_BATCH_VALUES values. Only one batch is moved at a time, since x
    may be larger than the device's memory.
    """
    rows = min(max_rows, max(1, MAX_BATCH_VALUES // x.shape[1:].numel())) if x.dim() == 4 else max_rows
    for part in x.split(rows):
        yield to_float(part.to(device))


def smoothed_relative_error(reconstruction: Tensor, x: Tensor) -> Tensor:
    """Return the squared smoothed error of each pixel divided by the image's mean square, (B, C, H, W).

    The error is smoothed twice by the mean of 3 x 3 pixels: a stroke that is reconstructed half a pixel beside its
    place counts little, a missing stroke counts fully. It is relative to the image, because a bold digit has more
    pixels to get wrong than a thin one (our own recipe: docs/benchmarks.md).
    """
    error = reconstruction - x
    for _ in range(SMOOTHINGS):
        error = functional.avg_pool2d(error, 3, stride=1, padding=1)
    return error.square() / (x.square().mean(dim=(1, 2, 3), keepdim=True) + MIN_MEAN_SQUARE)


def at_least_float32(x: Tensor) -> Tensor:
    """Return x in float32, or in float64 if it is that already.

    bfloat16 is too coarse for logarithms, sums and small differences.
    """
    return x if x.dtype == float64 else x.float()


def to_uint8(x: Tensor) -> Tensor:
    """Return floats in 0..1 as the nearest bytes 0..255; values outside are clipped."""
    return x.clamp(0, 1).mul(255).round().to(uint8)
