"""Outputs of a finished model for images: reconstructions, embeddings and codes, each computed when first used."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl_cli.data.images.datasets import ImageData, ImageSplit
from ssl_cli.methods.protocols import Decodes, Embeds, HasCodes
from ssl_cli.methods.scoring import device_of
from ssl_cli.models.images import float_batches

MODEL_BATCH = 512  # images; fewer if they are large


class ModelOutputs:
    """Images of a split, `x` (N, C, H, W) uint8 and `label` (N,) or None, and what `model` outputs for them."""

    def __init__(self, model: Any, split: ImageSplit):
        self.model, self.x, self.label = model, split.x, split.label

    def __len__(self) -> int:
        return len(self.x)

    @cached_property
    def labels(self) -> np.ndarray:
        """The labels (N,), -1 for an image without one."""
        return np.full(len(self.x), -1) if self.label is None else self.label

    @cached_property
    def reconstructions(self) -> np.ndarray:
        """The rebuilt images (N, C, H, W) float32, neither rounded nor clipped."""
        return map_batches(self.model, lambda x: self.model.reconstruct({"x": x}), self.x)

    @cached_property
    def embeddings(self) -> np.ndarray:
        """The codes of numbers (N, Z) float32."""
        return map_batches(self.model, lambda x: self.model.embed({"x": x}).flatten(1), self.x)

    @cached_property
    def codes(self) -> np.ndarray:
        """The discrete codes (N, L) int64."""
        return map_batches(self.model, lambda x: self.model.codes({"x": x}), self.x)

    @cached_property
    def counts(self) -> np.ndarray:
        """How often each discrete code is used, at all L places together, (K,)."""
        return np.bincount(self.codes.ravel(), minlength=self.model.alphabet)

    @cached_property
    def features(self) -> np.ndarray:
        """The pixels (N, C * H * W) float32, in 0..1."""
        return self.x.reshape(len(self.x), -1).astype(np.float32) / 255

    def take(self, rows: np.ndarray) -> "ModelOutputs":
        """Return the outputs for some of the images; `rows` (n,) are their positions."""
        return ModelOutputs(
            self.model, ImageSplit(self.x[rows], None if self.label is None else self.label[rows], rows)
        )


def model_outputs(model: Any, data: ImageData) -> dict[str, ModelOutputs]:
    """Return the outputs for each split; nothing is computed yet."""
    return {name: ModelOutputs(model, split) for name, split in data.splits.items()}


def is_discrete(model: Any) -> bool:
    """Return whether a model has discrete codes."""
    return isinstance(model, HasCodes)


def is_continuous(model: Any) -> bool:
    """Return whether a model has codes of numbers that can be changed a little and decoded."""
    return isinstance(model, Decodes) and isinstance(model, Embeds) and not is_discrete(model)


def map_batches(model: Any, function: Callable[[Tensor], Tensor], x: np.ndarray) -> np.ndarray:
    """Apply `function` to x (N, ...), bytes or numbers, in batches of MODEL_BATCH on the model's device."""
    device = device_of(model)
    with torch.inference_mode():
        batches = float_batches(torch.from_numpy(x), MODEL_BATCH, device)
        return torch.cat([function(batch).cpu() for batch in batches]).numpy()


@contextmanager
def seeded(model: Any, seed: int) -> Iterator[None]:
    """Seed torch's random draws in this context; afterwards the generators have their earlier state."""
    device = device_of(model)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
