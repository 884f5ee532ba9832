"""Metrics of a trained autoencoder: reconstruction, likelihood, codes, probes. docs/reconstruct.md defines each one."""

import math

import numpy as np
import torch

from ssl_cli.commands.reconstruct.predictions import ModelOutputs, is_discrete, map_batches, seeded
from ssl_cli.evaluation.metrics import clusters, images
from ssl_cli.evaluation.metrics.probes import (
    FULL_ITERATIONS,
    SUBSET_ITERATIONS,
    ProbeData,
    choose_c,
    knn_accuracy,
    linear_accuracy,
    stratified_order,
)
from ssl_cli.methods.autoencoders.variational import kl_by_dimension
from ssl_cli.methods.protocols import Classifies, DecodesCodes, HasLikelihood, HasPosterior
from ssl_cli.methods.scoring import device_of
from ssl_cli.models.images import to_float
from ssl_cli.models.pca import fit_pca
from ssl_cli.models.quantizer import perplexity

ACTIVE_NATS = 0.01  # mean KL from which a latent dimension is active
ELBO_SAMPLES, LIKELIHOOD_BATCH = 16, 250
SUBSET_SIZES, N_DRAWS = (100, 1000), 3  # labelled images of a probe, and how often they are drawn
MAX_PROBE_VALUES = 200_000_000  # float32 features of the training images of a probe: 0.8 GB


def measure(
    outputs: dict[str, ModelOutputs], seed: int, importance_samples: int, likelihood_images: int, probes: bool
) -> dict[str, float]:
    """Return all metrics that the model and the data allow, for metrics.json. All random draws follow from the seed."""
    test, model = outputs["test"], outputs["test"].model
    metrics = reconstruction_metrics(test)
    if isinstance(model, HasLikelihood):
        metrics |= likelihood_metrics(test, seed, importance_samples, likelihood_images)
    if isinstance(model, HasPosterior):
        metrics["kl_active_dims"] = int((kl_per_dimension(test) >= ACTIVE_NATS).sum())
    if is_discrete(model):
        metrics |= code_usage(test)
    train, test = _labelled(outputs["train"]), _labelled(test)
    if len(np.unique(train.labels)) > 1 and len(test):
        if isinstance(model, Classifies):
            metrics |= cluster_metrics(train, test)
        if probes:
            metrics |= probe_metrics(train, test, seed)
    return {f"test/{name}": value for name, value in metrics.items()}


def _labelled(split: ModelOutputs) -> ModelOutputs:
    """Return the outputs for the images whose label is known."""
    return split if (split.labels >= 0).all() else split.take(np.flatnonzero(split.labels >= 0))


def reconstruction_metrics(split: ModelOutputs) -> dict[str, float]:
    """Return the errors of the rebuilt images, for pixels in 0..1."""
    x = split.features.reshape(split.x.shape)
    mse = images.mean_squared_error(x, split.reconstructions)
    metrics = {"mse": mse, "squared_error": mse * x[0].size, "ssim": images.ssim(x, split.reconstructions)}
    return metrics | ({"psnr": images.psnr(mse)} if mse > 0 else {})


# --- models with a likelihood -------------------------------------------------------------------------------


def likelihood_metrics(split: ModelOutputs, seed: int, samples: int, n_images: int) -> dict[str, float]:
    """Return the ELBO and the importance-weighted NLL, in nats per image, and bits per dimension."""
    model = split.model
    x = to_float(torch.from_numpy(split.x[:n_images]).to(device_of(model)))
    with seeded(model, seed), torch.inference_mode():
        x = model.binarized(x)  # once, so that both estimates are for the same images
        batches = x.split(LIKELIHOOD_BATCH)
        elbo = torch.cat([model.elbo(batch, ELBO_SAMPLES) for batch in batches]).double().mean()
        nll = -torch.cat([model.log_likelihood(batch, samples) for batch in batches]).double().mean()
    # A Gaussian density is over 0..1, of which each of the 256 pixel values takes 1/256.
    values_bits = 8 if model.likelihood == "gaussian" else 0
    bits = float(nll) / (x[0].numel() * math.log(2)) + values_bits
    return {"elbo": float(elbo), "nll": float(nll), "bits_per_dim": bits}


def kl_per_dimension(split: ModelOutputs) -> np.ndarray:
    """Return the mean KL divergence from the prior of each latent dimension in nats, (Z,)."""

    def kl(x: torch.Tensor) -> torch.Tensor:
        return kl_by_dimension(*split.model.posterior(x))

    return map_batches(split.model, kl, split.x).mean(0, dtype=np.float64)


# --- models with discrete codes -----------------------------------------------------------------------------


def code_usage(split: ModelOutputs) -> dict[str, float]:
    """Return how evenly the codes are used over all images and places, and the size of an image's codes."""
    model, counts = split.model, split.counts
    metrics = {"perplexity": perplexity(counts), "codes_used": float((counts > 0).mean())}
    if isinstance(model, DecodesCodes):
        metrics["bits_per_image"] = split.codes.shape[1] * math.log2(model.alphabet)
    return metrics


def cluster_metrics(train: ModelOutputs, test: ModelOutputs) -> dict[str, float]:
    """Return how well the classes that the model learned agree with the labels of the test images."""
    code_labels = clusters.majority_labels(train.codes[:, 0], train.labels, train.model.alphabet)
    codes, labels = test.codes[:, 0], test.labels
    return {
        "cluster_accuracy": clusters.cluster_accuracy(codes, labels),
        "majority_accuracy": clusters.majority_accuracy(code_labels, codes, labels),
        **clusters.nmi_and_ari(codes, labels),
    }


# --- probes -------------------------------------------------------------------------------------------------


def probe_metrics(train: ModelOutputs, test: ModelOutputs, seed: int) -> dict[str, float]:
    """Return the accuracy of simple classifiers on the codes, on the pixels and on their principal components."""
    width, n_pixels = test.embeddings.shape[1], test.x[0].size
    train = limit_images(train, max(width, n_pixels), seed)
    orders = [stratified_order(train.labels, np.random.default_rng([seed, 5, k])) for k in range(N_DRAWS)]
    features = {
        "": (train.embeddings, test.embeddings),
        "_pixels": (train.features, test.features),
        "_pca": principal_components(train.features, test.features, width, seed),
    }
    metrics: dict[str, float] = {}
    for suffix, (x, x_test) in features.items():
        data = ProbeData(x, x_test, train.labels, test.labels)
        accuracy = linear_probe(data, orders)
        if suffix == "_pca" and x.shape[1] == n_pixels:  # rotated pixels have the same neighbours as the pixels
            accuracy |= {f"knn_{n}": metrics[f"knn_{n}_pixels"] for n in (*_subset_sizes(orders), "all")}
        else:
            accuracy |= knn_probe(data, orders)
        metrics |= {f"{name}{suffix}": value for name, value in accuracy.items()}
    return metrics


def limit_images(train: ModelOutputs, width: int, seed: int) -> ModelOutputs:
    """Return as many of the images as MAX_PROBE_VALUES allows at `width` features each, stratified by label."""
    max_images = max(SUBSET_SIZES[-1], MAX_PROBE_VALUES // width)
    if len(train) <= max_images:
        return train
    return train.take(np.sort(stratified_order(train.labels, np.random.default_rng([seed, 8]))[:max_images]))


def _subset_sizes(orders: list[np.ndarray]) -> list[int]:
    """Return the numbers of labelled images that are fewer than all."""
    return [n for n in SUBSET_SIZES if n < len(orders[0])]


def linear_probe(data: ProbeData, orders: list[np.ndarray]) -> dict[str, float]:
    """Return the accuracy of logistic regression with 100, 1,000 and all labels.

    `orders` are random orders of the training rows, of which subsets take the first. C is chosen for each subset; for
    all rows it is the median of those chosen for the largest subsets.
    """
    accuracy, all_rows, strengths = {}, orders[0], list[float]()
    for n in _subset_sizes(orders):
        draws = [order[:n] for order in orders]
        strengths = [choose_c(data.train[rows], data.train_label[rows]) for rows in draws]
        accuracy[f"linear_probe_{n}"] = float(
            np.mean(
                [linear_accuracy(data, rows, c, SUBSET_ITERATIONS) for rows, c in zip(draws, strengths, strict=True)]
            )
        )
    if not strengths:
        strengths = [choose_c(data.train[all_rows], data.train_label[all_rows])]
    median = sorted(strengths)[len(strengths) // 2]
    return accuracy | {"linear_probe_all": linear_accuracy(data, all_rows, median, FULL_ITERATIONS)}


def knn_probe(data: ProbeData, orders: list[np.ndarray]) -> dict[str, float]:
    """Return the accuracy of a vote of nearest neighbours, for the same numbers of labels."""
    accuracy = {}
    for n in _subset_sizes(orders):
        accuracy[f"knn_{n}"] = float(np.mean([knn_accuracy(data, order[:n]) for order in orders]))
    return accuracy | {"knn_all": knn_accuracy(data, orders[0])}


def principal_components(train: np.ndarray, test: np.ndarray, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the leading components of rows (N, D) and (M, D): n, or as many as the training rows have."""
    pca = fit_pca(train, min(n, *train.shape), seed)
    return pca.transform(train).astype(np.float32), pca.transform(test).astype(np.float32)
