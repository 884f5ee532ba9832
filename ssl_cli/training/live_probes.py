"""Live probes: at each validation, what the vectors of held-out images are worth, as columns of the history."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from ssl_cli.data.images.datasets import ImageSplit
from ssl_cli.evaluation.metrics.probes import ProbeData, linear_accuracy
from ssl_cli.evaluation.metrics.representations import alignment, effective_rank, neighbor_accuracy, uniformity
from ssl_cli.methods.protocols import MakesViews
from ssl_cli.methods.scoring import device_of
from ssl_cli.models.images import float_batches, to_float
from ssl_cli.training.module import Learner
from ssl_cli.training.seeding import reseed

MAX_TRAIN, MAX_HELD_OUT = 5000, 1000  # images
EMBED_BATCH = 256
LINEAR_C, LINEAR_ITERATIONS = 0.01, 50
CURVES = {  # y-axis -> columns of history.csv
    "accuracy on held-out images": ["val/knn_accuracy", "val/linear_accuracy"],
    "effective rank": ["val/effective_rank"],
    "alignment": ["val/alignment"],
    "uniformity": ["val/uniformity"],
}


@dataclass(frozen=True)
class ProbedImages:
    """Images to probe with: those of training and held-out ones, (N, C, H, W) uint8, and their labels.

    Without labels in both, the labels are None.
    """

    train: np.ndarray
    held_out: np.ndarray
    labels: tuple[np.ndarray, np.ndarray] | None

    @classmethod
    def of_splits(cls, splits: Mapping[str, ImageSplit], seed: int) -> "ProbedImages":
        """Return some thousands of training and of held-out images, at random; training ones if none are held out.

        They are labelled images where there are labels of two classes.
        """
        train, held_out = splits["train"], splits.get("val", splits["train"])
        rows = [_some(split, most, seed) for split, most in ((train, MAX_TRAIN), (held_out, MAX_HELD_OUT))]
        x, others = train.x[rows[0]], held_out.x[rows[1]]
        if train.label is None or held_out.label is None:
            return cls(x, others, None)
        labels = train.label[rows[0]], held_out.label[rows[1]]
        return cls(x, others, labels if len(np.unique(labels[0])) > 1 and (labels[1] >= 0).all() else None)


class LiveProbes(Callback):
    """Compute the metrics of `live_metrics` at each validation; they stand in its row of the history.

    It changes nothing that training depends on: the method is in evaluation mode, and each step seeds its own draws.
    """

    def __init__(self, images: ProbedImages, seed: int):
        self.images, self.seed = images, seed

    def on_validation_epoch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Compute the metrics, on the first device alone."""
        assert isinstance(module, Learner)
        if trainer.is_global_zero:
            found = live_metrics(module.method, self.images, self.seed)
            module.live_metrics = {f"val/{name}": value for name, value in found.items()}


def live_metrics(method: Any, images: ProbedImages, seed: int) -> dict[str, float]:
    """Return `knn_accuracy` and `linear_accuracy` of held-out images, if there are labels; `effective_rank` of their
    vectors; and of a method with views `alignment` and `uniformity`."""
    held_out = vectors(method, images.held_out)
    metrics = {"effective_rank": effective_rank(held_out)}
    if images.labels is not None:
        train, (of_train, of_held_out) = vectors(method, images.train), images.labels
        metrics["knn_accuracy"] = neighbor_accuracy(train, of_train, held_out, of_held_out)
        data = ProbeData(train, held_out, of_train, of_held_out)
        metrics["linear_accuracy"] = linear_accuracy(data, np.arange(len(train)), LINEAR_C, LINEAR_ITERATIONS)
    if isinstance(method, MakesViews):
        first, second = (view_vectors(method, images.held_out, seed, k) for k in range(2))
        metrics |= {"alignment": alignment(first, second), "uniformity": uniformity(first)}
    return metrics


def vectors(method: Any, x: np.ndarray) -> np.ndarray:
    """Return the vectors (N, D) float32 of images (N, C, H, W) uint8."""
    with torch.inference_mode():
        parts = [
            method.embed({"x": part}).float().flatten(1).cpu()
            for part in float_batches(torch.from_numpy(x), EMBED_BATCH, device_of(method))
        ]
    return torch.cat(parts).numpy()


def view_vectors(method: MakesViews, x: np.ndarray, seed: int, k: int) -> np.ndarray:
    """Return the vectors of the k-th random view of each image."""
    device, parts = device_of(method), list[Tensor]()
    with torch.random.fork_rng(), torch.inference_mode():
        reseed(seed, k, 0, device)
        for part in torch.from_numpy(x).split(EMBED_BATCH):
            view = method.augment(to_float(part.to(device)))
            parts.append(method.embed({"x": view}).float().flatten(1).cpu())
    return torch.cat(parts).numpy()


def _some(split: ImageSplit, most: int, seed: int) -> np.ndarray:
    known = np.arange(len(split.x)) if split.label is None else np.flatnonzero(split.label >= 0)
    known = known if len(known) else np.arange(len(split.x))
    return np.sort(np.random.default_rng([seed, 24]).permutation(known)[:most])
