"""What a model of images has learned without labels: classifiers of its vectors, beside those of simpler features."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from sklearn.cluster import MiniBatchKMeans

from ssl_cli import console
from ssl_cli.data.images.datasets import ImageData
from ssl_cli.evaluation.metrics.probes import (
    ProbeData,
    choose_c,
    few_label_accuracies,
    linear_accuracy,
    stratified_order,
)
from ssl_cli.evaluation.metrics.representations import effective_rank, neighbor_accuracy
from ssl_cli.methods.build import new_model
from ssl_cli.methods.scoring import device_of
from ssl_cli.models.batch_norm import BatchNorm
from ssl_cli.models.images import to_float
from ssl_cli.models.patch_features import PatchFeatures
from ssl_cli.training.live_probes import vectors

FEW_LABELS, DRAWS = (100, 1000), 3
FULL_ITERATIONS = 100
MAX_TRAIN = 20_000  # labelled training images that probes read
N_PATCHES, N_CENTERS, PATCH = 100_000, 400, 6  # of k-means patches
CALIBRATION_BATCHES, CALIBRATION_IMAGES = 4, 256  # through an untrained network, for its batch statistics
RUN, RANDOM, PIXELS, PATCHES = "run", "random", "pixels", "patches"
# What is probed -> its name in the table. The keys end those of the metrics, but for the run.
NAMES = {RUN: "this run", RANDOM: "untrained network", PIXELS: "pixels", PATCHES: "k-means patches"}
Table = dict[str, dict[str, float]]  # what is probed -> metric -> value


def last_row(history: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the metrics of val in the last row of the history."""
    return {key: value for key, value in history[-1].items() if key.startswith("val/")} if history else {}


def probe(model: Any, data: ImageData, cfg: DictConfig) -> Table:
    """Return `knn_accuracy`, `linear_accuracy` and `linear_accuracy_N` of few labels on test images, of each feature,
    and the `effective_rank` of vectors of a network.

    Empty without labels of two classes. `baselines=false` leaves all but the run out.
    """
    train, test = data.splits["train"], data.splits["test"]
    if train.label is None or test.label is None or len(np.unique(train.label[train.label >= 0])) < 2:
        return {}
    rows = np.random.default_rng([cfg.seed, 25]).permutation(np.flatnonzero(train.label >= 0))[:MAX_TRAIN]
    known = np.flatnonzero(test.label >= 0)
    if not len(known):
        return {}
    x, labels = (train.x[rows], test.x[known]), (train.label[rows], test.label[known])
    console.say(f"probing with {len(rows):,} labelled training images, on {len(known):,} of the test split")
    features: dict[str, Callable[[np.ndarray], np.ndarray]] = {RUN: lambda images: vectors(model, images)}
    if cfg.baselines:
        features |= baselines(x[0], cfg, device_of(model))
    table: Table = {}
    for name, of in features.items():
        probed = ProbeData(of(x[0]), of(x[1]), *labels)
        rank = {"effective_rank": effective_rank(probed.test)} if name in (RUN, RANDOM) else {}
        table[name] = accuracies(probed, cfg.seed) | rank
    return table


def baselines(x: np.ndarray, cfg: DictConfig, device: torch.device) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Return functions images -> features that have learned from training images x what needs no gradient."""
    untrained = calibrated(new_model(cfg), x).to(device)
    found = {RANDOM: lambda images: vectors(untrained, images), PIXELS: flat_pixels}
    if min(x.shape[2:]) < 2 * PATCH:
        return found
    patches = k_means_patches(x, cfg.seed).to(device)
    return found | {PATCHES: lambda images: vectors(patches, images)}


def accuracies(data: ProbeData, seed: int) -> dict[str, float]:
    """Return the test accuracies of neighbours, and of logistic regression on all labels and on few."""
    order = stratified_order(data.train_label, np.random.default_rng([seed, 26]))
    c = choose_c(data.train[order], data.train_label[order])
    few = few_label_accuracies(data, FEW_LABELS, DRAWS, seed)
    return {
        "knn_accuracy": neighbor_accuracy(data.train, data.train_label, data.test, data.test_label),
        "linear_accuracy": linear_accuracy(data, order, c, FULL_ITERATIONS),
        **{f"linear_accuracy_{n}": float(values.mean()) for n, values in few.items()},
    }


def probe_metrics(table: Table) -> dict[str, float]:
    """Return the table as metrics: test/knn_accuracy, test/pixels_knn_accuracy, ..."""
    return {
        f"test/{'' if name == RUN else f'{name}_'}{metric}": value
        for name, row in table.items()
        for metric, value in row.items()
    }


def calibrated(model: Any, x: np.ndarray) -> Any:
    """Return an untrained model whose batch normalizations know the statistics of images x (N, C, H, W) bytes."""
    for norm in model.train().modules():
        if isinstance(norm, BatchNorm):
            norm.momentum, norm.shares = None, False  # the mean of all batches, of this process alone
    with torch.inference_mode():
        for k in range(CALIBRATION_BATCHES):
            batch = x[k * CALIBRATION_IMAGES : (k + 1) * CALIBRATION_IMAGES]
            if len(batch) > 1:
                model.embed({"x": to_float(torch.from_numpy(batch))})
    return model.eval()


def flat_pixels(x: np.ndarray) -> np.ndarray:
    """Return the pixels of images as rows (N, C * H * W) in 0..1."""
    return x.reshape(len(x), -1).astype(np.float32) / 255


def k_means_patches(x: np.ndarray, seed: int) -> PatchFeatures:
    """Return features of whitened patches by their distance to k-means centers (Coates et al., AISTATS 2011)."""
    patches = random_patches(x, min(N_PATCHES, 50 * len(x)), np.random.default_rng([seed, 27]))
    features = PatchFeatures.of_patches(patches, PATCH)
    n_centers = min(N_CENTERS, len(patches) // 10)
    means = MiniBatchKMeans(n_centers, batch_size=4096, n_init=1, max_iter=20, random_state=seed)
    features.set_centers(means.fit(features.whiten(patches)).cluster_centers_)
    return features


def random_patches(x: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Return n patches of images x (N, C, H, W), flat in the order of their dimensions: (n, C * PATCH * PATCH)."""
    height, width = x.shape[2:]
    image, top, left = (rng.integers(end, size=n) for end in (len(x), height - PATCH + 1, width - PATCH + 1))
    places = np.arange(PATCH)
    rows, columns = (top[:, None] + places)[:, :, None], (left[:, None] + places)[:, None]
    patches = x[image[:, None, None], :, rows, columns]  # (n, PATCH, PATCH, C)
    return patches.transpose(0, 3, 1, 2).reshape(n, -1)
