"""Images as numbers: kept as bytes wherever they lie, made numbers where they are computed with."""

from collections.abc import Iterator

import torch
from torch import Tensor, float64, uint8
from torch.nn import functional

SMOOTHINGS, LEAST_SQUARE = 2, 1e-3
MOST_TOGETHER = 2**23  # numbers of images that go through a network together: 32 MB, and its layers some times that


def numbers(x: Tensor) -> Tensor:
    """Bytes 0..255 -> float32 0..1, on the device they are on; numbers stay as they are."""
    return x.float().div_(255) if x.dtype == uint8 else x


def parts(x: Tensor, most: int, device: torch.device) -> Iterator[Tensor]:
    """x (N, ...) as numbers on a device, part by part: `most` rows together, of large images as many as MOST_TOGETHER
    allows. The whole of x stays where it lies: it may be larger than the device's memory."""
    rows = min(most, max(1, MOST_TOGETHER // x.shape[1:].numel())) if x.dim() == 4 else most
    for part in x.split(rows):
        yield numbers(part.to(device))


def shifted(x: Tensor, most: int) -> Tensor:
    """Each image (B, C, H, W) moved by itself, by up to `most` whole pixels each way; what comes in is black.

    From torch's own random stream.
    """
    height, width = x.shape[2:]
    padded = functional.pad(x, (most, most, most, most))
    start = torch.randint(2 * most + 1, (2, len(x)), device=x.device)  # where each image's window begins
    rows = start[0][:, None] + torch.arange(height, device=x.device)  # (B, H)
    columns = start[1][:, None] + torch.arange(width, device=x.device)  # (B, W)
    which = torch.arange(len(x), device=x.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[which, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)


def misfit(rebuilt: Tensor, x: Tensor) -> Tensor:
    """The squared error of each pixel, (B, C, H, W), in units of the image's own mean square, of a smoothed error map.

    Smoothed twice by the mean of 3 x 3 pixels, so that a stroke which is rebuilt half a pixel beside its place counts
    little, and one that isn't rebuilt at all is seen. In the image's own units, since a bold digit has more to get
    wrong than a thin one (our own recipe: docs/benchmarks.md).
    """
    error = rebuilt - x
    for _ in range(SMOOTHINGS):
        error = functional.avg_pool2d(error, 3, stride=1, padding=1)
    return error.square() / (x.square().mean(dim=(1, 2, 3), keepdim=True) + LEAST_SQUARE)


def precise(x: Tensor) -> Tensor:
    """At least float32: what a network computed in bf16 is too coarse for logarithms, sums and small differences."""
    return x if x.dtype == float64 else x.float()


def in_bytes(x: Tensor) -> Tensor:
    """Numbers 0..1 -> the nearest bytes 0..255; what lies outside is cut off."""
    return x.clamp(0, 1).mul(255).round().to(uint8)
