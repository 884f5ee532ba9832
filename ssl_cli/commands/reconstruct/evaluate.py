"""What a finished auto-encoder can do, in numbers; docs/reconstruct.md says what each one is."""

import math

import numpy as np
import torch

from ssl_cli.commands.reconstruct.predictions import ModelOutputs, is_discrete, mapped, seeded
from ssl_cli.evaluation.metrics import clusters, images
from ssl_cli.evaluation.metrics.probes import (
    FEW,
    MANY,
    Features,
    choose_strength,
    linear_accuracy,
    neighbor_accuracy,
    stratified,
)
from ssl_cli.methods.autoencoders.variational import kl_by_dimension
from ssl_cli.methods.scoring import device_of
from ssl_cli.models.images import numbers
from ssl_cli.models.pca import leading_components
from ssl_cli.models.quantizer import perplexity

ACTIVE = 0.01  # nats: a number of the code with less than this on average says nothing
ELBO_SAMPLES, LIKELIHOOD_BATCH = 16, 250
LABELLED, DRAWS = (100, 1000), 3
MOST_NUMBERS = 200_000_000  # of the training images that a probe sees, as float32: 0.8 GB


def measure(
    views: dict[str, ModelOutputs], seed: int, importance_samples: int, likelihood_images: int, probes: bool
) -> dict[str, float]:
    """Everything that goes into metrics.json, as far as the model and the data have it.

    Every random draw follows from the seed.
    """
    test, model = views["test"], views["test"].model
    found = rebuilding(test)
    if hasattr(model, "log_likelihood"):
        found |= likelihood(test, seed, importance_samples, likelihood_images)
    if hasattr(model, "posterior"):
        found["kl_active_dims"] = int((kl_per_dimension(test) >= ACTIVE).sum())
    if is_discrete(model):
        found |= usage(test)
    train, test = _labelled(views["train"]), _labelled(test)
    if len(np.unique(train.labels)) > 1 and len(test):
        if hasattr(model, "classify"):
            found |= sorting(train, test)
        if probes:
            found |= probing(train, test, seed)
    return {f"test/{name}": value for name, value in found.items()}


def _labelled(view: ModelOutputs) -> ModelOutputs:
    """Only the images whose label is known."""
    return view if (view.labels >= 0).all() else view.take(np.flatnonzero(view.labels >= 0))


def rebuilding(view: ModelOutputs) -> dict[str, float]:
    """Errors of the rebuilt images, pixels in 0..1."""
    x = view.features.reshape(view.x.shape)
    mse = images.mean_squared_error(x, view.rebuilt)
    found = {"mse": mse, "squared_error": mse * x[0].size, "ssim": images.ssim(x, view.rebuilt)}
    return found | ({"psnr": images.psnr(mse)} if mse > 0 else {})


# --- of models with a likelihood ---


def likelihood(view: ModelOutputs, seed: int, samples: int, n_images: int) -> dict[str, float]:
    """ELBO, importance-weighted negative log-likelihood in nats an image, and bits per dimension."""
    model = view.model
    x = numbers(torch.from_numpy(view.x[:n_images]).to(device_of(model)))
    with seeded(model, seed), torch.inference_mode():
        x = model.look(x)  # black and white, where the model draws it: once, for both
        parts = x.split(LIKELIHOOD_BATCH)
        elbo = torch.cat([model.elbo(part, ELBO_SAMPLES) for part in parts]).double().mean()
        nll = -torch.cat([model.log_likelihood(part, samples) for part in parts]).double().mean()
    # A density of pixels in 0..1: one of 256 values takes up 1/256 of that range.
    values_bits = 8 if getattr(model, "likelihood", None) == "gaussian" else 0
    bits = float(nll) / (x[0].numel() * math.log(2)) + values_bits
    return {"elbo": float(elbo), "nll": float(nll), "bits_per_dim": bits}


def kl_per_dimension(view: ModelOutputs) -> np.ndarray:
    """(Z,): what each number of the code says of an image, in nats, on average"""

    def kl(x: torch.Tensor) -> torch.Tensor:
        return kl_by_dimension(*view.model.posterior(x))

    return mapped(view.model, kl, view.x).mean(0, dtype=np.float64)


# --- of discrete codes ---


def usage(view: ModelOutputs) -> dict[str, float]:
    """How the alphabet is used over all images and places; and the size of a code, where it is all that is kept."""
    model, counts = view.model, view.counts
    found = {"perplexity": perplexity(counts), "codes_used": float((counts > 0).mean())}
    if hasattr(model, "decode_codes"):
        found["bits_per_image"] = view.codes.shape[1] * math.log2(model.alphabet)
    return found


def sorting(train: ModelOutputs, test: ModelOutputs) -> dict[str, float]:
    """How well the classes that the model made up agree with the labels of the test images."""
    names = clusters.majority_labels(train.codes[:, 0], train.labels, train.model.alphabet)
    codes, labels = test.codes[:, 0], test.labels
    return {
        "cluster_accuracy": clusters.cluster_accuracy(codes, labels),
        "majority_accuracy": clusters.majority_accuracy(names, codes, labels),
        **clusters.agreement(codes, labels),
    }


# --- probes ---


def probing(train: ModelOutputs, test: ModelOutputs, seed: int) -> dict[str, float]:
    """Accuracy of simple classifiers on the code, beside the pixels themselves and their principal components."""
    width, n_pixels = test.embedded.shape[1], test.x[0].size
    train = within_bounds(train, max(width, n_pixels), seed)
    orders = [stratified(train.labels, np.random.default_rng([seed, 5, k])) for k in range(DRAWS)]
    kinds = {
        "": (train.embedded, test.embedded),
        "_pixels": (train.features, test.features),
        "_pca": components(train.features, test.features, width, seed),
    }
    found: dict[str, float] = {}
    for kind, (x, x_test) in kinds.items():
        data = Features(x, x_test, train.labels, test.labels)
        accuracy = by_line(data, orders)
        if kind == "_pca" and x.shape[1] == n_pixels:  # the pixels, turned: neighbours stay what they were
            accuracy |= {f"knn_{n}": found[f"knn_{n}_pixels"] for n in (*_sizes(orders), "all")}
        else:
            accuracy |= by_neighbors(data, orders)
        found |= {f"{name}{kind}": value for name, value in accuracy.items()}
    return found


def within_bounds(train: ModelOutputs, width: int, seed: int) -> ModelOutputs:
    """As many of the images as MOST_NUMBERS allows where each has `width` features, each label by its share."""
    most = max(LABELLED[-1], MOST_NUMBERS // width)
    if len(train) <= most:
        return train
    return train.take(np.sort(stratified(train.labels, np.random.default_rng([seed, 8]))[:most]))


def _sizes(orders: list[np.ndarray]) -> list[int]:
    return [n for n in LABELLED if n < len(orders[0])]


def by_line(data: Features, orders: list[np.ndarray]) -> dict[str, float]:
    """A linear probe with 100, 1,000 and all labels; `orders` are draws of training rows, begun for the smaller ones.

    C is chosen for each draw; for all rows it is the middle one of those chosen for the largest draws before.
    """
    found, everything, strengths = {}, orders[0], list[float]()
    for n in _sizes(orders):
        draws = [order[:n] for order in orders]
        strengths = [choose_strength(data.train[rows], data.train_label[rows]) for rows in draws]
        pairs = zip(draws, strengths, strict=True)
        found[f"linear_probe_{n}"] = float(np.mean([linear_accuracy(data, rows, c, FEW) for rows, c in pairs]))
    if not strengths:
        strengths = [choose_strength(data.train[everything], data.train_label[everything])]
    middle = sorted(strengths)[len(strengths) // 2]
    return found | {"linear_probe_all": linear_accuracy(data, everything, middle, MANY)}


def by_neighbors(data: Features, orders: list[np.ndarray]) -> dict[str, float]:
    """The same by a vote of neighbours."""
    found = {}
    for n in _sizes(orders):
        found[f"knn_{n}"] = float(np.mean([neighbor_accuracy(data, order[:n]) for order in orders]))
    return found | {"knn_all": neighbor_accuracy(data, orders[0])}


def components(train: np.ndarray, test: np.ndarray, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The leading `n` principal components of rows (N, D), as many as there are, and of (M, D)."""
    pca = leading_components(train, min(n, *train.shape), seed)
    return pca.transform(train).astype(np.float32), pca.transform(test).astype(np.float32)
