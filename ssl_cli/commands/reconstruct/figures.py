"""Figures of a finished run of ssl reconstruct; each is drawn if the model can do what it shows."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ssl_cli.commands.reconstruct import latent_plots
from ssl_cli.commands.reconstruct.evaluate import kl_per_dimension
from ssl_cli.commands.reconstruct.plots import decode, decode_images, to_bytes
from ssl_cli.commands.reconstruct.predictions import ModelOutputs, is_continuous, map_batches, seeded
from ssl_cli.commands.reconstruct.prior import PRIOR
from ssl_cli.evaluation.html import Figure
from ssl_cli.evaluation.plots import curves, images
from ssl_cli.methods.protocols import Corrupts, Generates, HasPosterior, HasPrior
from ssl_cli.models.images import to_uint8
from ssl_cli.runs.folder import HISTORY, read_history
from ssl_cli.training import live_probes

GRID_SIDE, ROW_IMAGES = 8, 12  # images: the side of a grid of samples; a row of originals
INTERPOLATION_STEPS, MAX_INTERPOLATIONS = 8, 7
MAX_TRAVERSALS, TRAVERSAL_STD, TRAVERSAL_STEPS = 10, 3, 7  # dimensions; standard deviations to each side; steps
KL_IMAGES = 2000  # test images on which the dimensions of a traversal are ranked


def draw(folder: Path, outputs: dict[str, ModelOutputs], classes: list[str], seed: int) -> list[Figure]:
    """Draw all figures that the model allows, and return them in order. All random draws follow from the seed."""
    figures, test, model = folder / "figures", outputs["test"], outputs["test"].model
    drawn = [draw_reconstructions(figures, test)]
    if isinstance(model, Corrupts):
        drawn.append(draw_denoising(figures, test, seed))
    if isinstance(model, Generates) and not (isinstance(model, HasPrior) and not model.prior_is_fitted):
        drawn.append(draw_samples(figures, model, seed))
    if is_continuous(model):
        drawn += [draw_interpolations(figures, test, seed), draw_traversals(figures, outputs)]
    drawn += latent_plots.draw(figures, outputs, classes, seed)
    return [*drawn, *draw_training(folder, model)]


def draw_reconstructions(figures: Path, test: ModelOutputs) -> Figure:
    """Draw test images and their reconstructions."""
    shown = evenly_spaced(len(test), 3 * ROW_IMAGES)
    x, rebuilt = test.x[shown], test.reconstructions[shown]
    rebuilt_bytes = to_bytes(rebuilt)
    lines = [
        line
        for k in range(0, len(x), ROW_IMAGES)
        for line in (("original", x[k : k + ROW_IMAGES]), ("rebuilt", rebuilt_bytes[k : k + ROW_IMAGES]))
    ]
    mse = float(np.mean([np.square(a - b).mean() for a, b in zip(x / 255, rebuilt, strict=True)]))
    title = f"Test images, and below each its reconstruction (mean squared error of these: {mse:.4f})"
    images.image_rows(figures / "reconstructions.png", title, lines, group_size=2)
    return Figure("reconstructions.png", "Test images, and below each what the model rebuilds from its code.")


def evenly_spaced(n: int, wanted: int) -> np.ndarray:
    """Return `wanted` evenly spaced positions among n (at most n): images are often sorted by class."""
    return np.linspace(0, n - 1, min(n, wanted)).round().astype(int)


def draw_denoising(figures: Path, test: ModelOutputs, seed: int) -> Figure:
    """Draw test images with noise, denoised, and without noise."""
    model, x = test.model, test.x[evenly_spaced(len(test), ROW_IMAGES)]
    with seeded(model, seed):
        noisy = map_batches(model, model.corrupt, x)
    denoised = map_batches(model, lambda batch: model.reconstruct({"x": batch}), noisy)
    lines = [("noisy", to_bytes(noisy)), ("denoised", to_bytes(denoised)), ("clean", x)]
    noise = " ".join(f"{getattr(model, name, '')}" for name in ("noise", "level")).strip().replace("_", " ")
    title = f"Noisy test images (noise: {noise}), denoised, and without noise"
    images.image_rows(figures / "denoising.png", title, lines)
    return Figure("denoising.png", "Test images with the noise of the training, denoised by the model, and clean.")


def draw_samples(figures: Path, model: Any, seed: int) -> Figure:
    """Draw a grid of generated images."""
    with seeded(model, seed), torch.inference_mode():
        generated = to_uint8(model.generate(GRID_SIDE * GRID_SIDE)).cpu().numpy()
    images.contact_sheet(figures / "samples.png", "Samples: random codes, decoded", generated, GRID_SIDE)
    return Figure("samples.png", "New images: random codes from the model's own distribution, decoded.")


def draw_interpolations(figures: Path, test: ModelOutputs, seed: int) -> Figure:
    """Draw even steps in code space from one test image to another, of a different class."""
    start, end = _image_pairs(test, np.random.default_rng([seed, 6]))
    weight = np.linspace(0, 1, INTERPOLATION_STEPS, dtype=np.float32)[None, :, None]
    codes = (1 - weight) * test.embeddings[start][:, None] + weight * test.embeddings[end][:, None]  # (pairs, steps, Z)
    between = decode_images(test.model, codes.reshape(-1, codes.shape[2]))
    between = between.reshape(len(start), INTERPOLATION_STEPS, *test.x.shape[1:])
    lines = [
        ("", np.concatenate([test.x[a][None], row, test.x[b][None]]))
        for a, b, row in zip(start, end, between, strict=True)
    ]
    columns = ["image", *(f"{share:.0%}" for share in weight[0, :, 0]), "image"]
    title = "Interpolations: from the code of the left test image to that of the right one"
    images.image_rows(figures / "interpolations.png", title, lines, columns)
    return Figure("interpolations.png", "Even steps in code space from one test image to another, decoded.")


def _image_pairs(test: ModelOutputs, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return positions of test images, (pairs,) each; if there are labels, the two of a pair differ in theirs."""
    start = rng.choice(len(test), min(MAX_INTERPOLATIONS, len(test)), replace=False)
    end = rng.choice(len(test), len(start))
    if test.label is not None:
        others = [np.flatnonzero(test.label != test.label[k]) for k in start]
        end = np.array([rng.choice(rows) if len(rows) else k for rows, k in zip(others, end, strict=True)])
    return start, end


def draw_traversals(figures: Path, outputs: dict[str, ModelOutputs]) -> Figure:
    """Draw what changes when one latent dimension moves about the mean code; the most active dimensions first."""
    train, test = outputs["train"], outputs["test"]
    mean, std = train.embeddings.mean(0), train.embeddings.std(0)  # (Z,)
    activity, unit, meaning = _activity(test, mean, std)
    steps = np.linspace(-TRAVERSAL_STD, TRAVERSAL_STD, TRAVERSAL_STEPS)
    dims = np.argsort(-activity, kind="stable")[:MAX_TRAVERSALS]
    lines = []
    for dim in dims:
        codes = np.tile(mean, (TRAVERSAL_STEPS, 1))
        codes[:, dim] += steps * std[dim]
        lines.append((f"z{dim + 1}: {unit.format(activity[dim])}", decode_images(test.model, codes)))
    columns = [f"{step:+.2g}" if step else "mean" for step in steps]
    title = "Traversals: one latent dimension at a time, in standard deviations from the mean code; most active first"
    images.image_rows(figures / "traversals.png", title, lines, columns)
    caption = f"What each latent dimension changes, with all others at their mean ({meaning})."
    return Figure("traversals.png", caption)


def _activity(test: ModelOutputs, mean: np.ndarray, std: np.ndarray) -> tuple[np.ndarray, str, str]:
    """Return how active each latent dimension is, (Z,), with a format and an explanation of the number."""
    if isinstance(test.model, HasPosterior):
        kl = kl_per_dimension(test.take(np.arange(min(KL_IMAGES, len(test)))))
        return kl, "KL {:.2f} nats", "KL is the information that it has about an image"
    minus, plus = (decode(test.model, mean + sign * np.diag(std)) for sign in (-1, 1))
    change = np.sqrt(np.square(plus - minus).reshape(len(std), -1).sum(1))
    return change, "change {:.2f}", "change is the distance in pixel values between -1 and +1"


def draw_training(folder: Path, model: Any) -> Iterator[Figure]:
    """Draw the training curves of the model, and of its prior."""
    figures, history = folder / "figures", read_history(folder / HISTORY)
    if history:
        curves.training_curves(figures / "training.png", history)
        yield Figure("training.png", "The loss over the steps of training.")
    if any("val/effective_rank" in row for row in history):
        title = "What the code of held-out images is worth"
        curves.history_panels(figures / "probes.png", title, history, live_probes.CURVES)
        yield Figure("probes.png", "Live probes over the steps: accuracies by the labels, which the model never reads.")
    if any("val/perplexity" in row for row in history):
        title = "Perplexity of the codes of the validation images"
        images.history_curve(figures / "perplexity.png", title, history, "val/perplexity", "perplexity", model.alphabet)
        yield Figure("perplexity.png", "The number of codes that would be as uncertain if all were used equally often.")
    if prior := read_history(folder / PRIOR / HISTORY):
        curves.training_curves(figures / "training_prior.png", prior, "Training of the prior (nats per code)")
        yield Figure(
            "training_prior.png", "The loss of the prior, which generates new grids of codes, in nats per code."
        )
