"""What a finished model makes of images: computed once, when it is first asked for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl_cli.data.images.datasets import ImageData, ImageSplit
from ssl_cli.methods.scoring import device_of
from ssl_cli.models.images import parts

AT_ONCE = 512  # images; fewer of large ones


class ModelOutputs:
    """A split of the images as `model` sees it: `x` (N, C, H, W) uint8, `label` (N,) or None."""

    def __init__(self, model: Any, split: ImageSplit):
        self.model, self.x, self.label = model, split.x, split.label

    def __len__(self) -> int:
        return len(self.x)

    @cached_property
    def labels(self) -> np.ndarray:
        """(N,): -1 where there is none"""
        return np.full(len(self.x), -1) if self.label is None else self.label

    @cached_property
    def rebuilt(self) -> np.ndarray:
        """(N, C, H, W) float32, as the model gives it: neither rounded nor cut off at black and white"""
        return mapped(self.model, lambda x: self.model.reconstruct({"x": x}), self.x)

    @cached_property
    def embedded(self) -> np.ndarray:
        """(N, Z) float32"""
        return mapped(self.model, lambda x: self.model.embed({"x": x}).flatten(1), self.x)

    @cached_property
    def codes(self) -> np.ndarray:
        """(N, places) int64"""
        return mapped(self.model, lambda x: self.model.codes({"x": x}), self.x)

    @cached_property
    def counts(self) -> np.ndarray:
        """(K,): how often each code was used, in all places together"""
        return np.bincount(self.codes.ravel(), minlength=self.model.alphabet)

    @cached_property
    def features(self) -> np.ndarray:
        """(N, C * H * W) float32, the pixels"""
        return self.x.reshape(len(self.x), -1).astype(np.float32) / 255

    def take(self, rows: np.ndarray) -> "ModelOutputs":
        """Of some of the images only: `rows` (n,) are their places."""
        return ModelOutputs(
            self.model, ImageSplit(self.x[rows], None if self.label is None else self.label[rows], rows)
        )


def model_outputs(model: Any, data: ImageData) -> dict[str, ModelOutputs]:
    """A view of each split; nothing is computed yet."""
    return {name: ModelOutputs(model, split) for name, split in data.splits.items()}


def is_discrete(model: Any) -> bool:
    """Whether its code is of letters: `codes` (B, places), each below `alphabet`."""
    return hasattr(model, "codes") and hasattr(model, "alphabet")


def is_continuous(model: Any) -> bool:
    """Whether its code is of numbers that can be changed a little and decoded."""
    return hasattr(model, "decode") and hasattr(model, "embed") and not is_discrete(model)


def mapped(model: Any, function: Callable[[Tensor], Tensor], x: np.ndarray) -> np.ndarray:
    """`function` of images x (N, ...), bytes or numbers, AT_ONCE at a time on the model's device."""
    device = device_of(model)
    with torch.inference_mode():
        return torch.cat([function(part).cpu() for part in parts(torch.from_numpy(x), AT_ONCE, device)]).numpy()


@contextmanager
def seeded(model: Any, seed: int) -> Iterator[None]:
    """Draws from torch's own stream follow from the seed; afterwards the stream is where it was."""
    device = device_of(model)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
