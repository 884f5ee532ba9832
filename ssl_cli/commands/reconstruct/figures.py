"""The pictures of a finished run: each is drawn where the model can do what it shows."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ssl_cli.commands.reconstruct import latent_plots
from ssl_cli.commands.reconstruct.evaluate import kl_per_dimension
from ssl_cli.commands.reconstruct.plots import decoded, decoded_numbers, picture
from ssl_cli.commands.reconstruct.predictions import ModelOutputs, is_continuous, mapped, seeded
from ssl_cli.commands.reconstruct.prior import PRIOR
from ssl_cli.evaluation.html import Figure
from ssl_cli.evaluation.plots import curves, images
from ssl_cli.models.images import in_bytes
from ssl_cli.runs.folder import HISTORY, read_history

SIDE, ACROSS = 8, 12  # images: a grid's side, and a row of originals
STEPS, PAIRS = 8, 7  # of an interpolation, and how many there are
MOST_DIMS, REACH, TRAVERSED = 10, 3, 7  # dimensions, standard deviations to each side, steps
SHOWN_FOR_KL = 2000  # test images


def draw(folder: Path, views: dict[str, ModelOutputs], classes: list[str], seed: int) -> list[Figure]:
    """All figures that this model has, in the order a reader wants them. Every random draw follows from the seed."""
    figures, test, model = folder / "figures", views["test"], views["test"].model
    drawn = [reconstructions(figures, test)]
    if hasattr(model, "corrupt"):
        drawn.append(denoising(figures, test, seed))
    if hasattr(model, "generate") and getattr(model, "prior_is_fitted", True):
        drawn.append(samples(figures, model, seed))
    if is_continuous(model):
        drawn += [interpolations(figures, test, seed), traversals(figures, views)]
    drawn += latent_plots.draw(figures, views, classes, seed)
    return [*drawn, *training(folder, model)]


def reconstructions(figures: Path, test: ModelOutputs) -> Figure:
    some = spread(len(test), 3 * ACROSS)
    x, rebuilt = test.x[some], picture(test.rebuilt[some])
    lines = [
        line
        for k in range(0, len(x), ACROSS)
        for line in (("original", x[k : k + ACROSS]), ("rebuilt", rebuilt[k : k + ACROSS]))
    ]
    mse = float(np.mean([np.square(a - b).mean() for a, b in zip(x / 255, test.rebuilt[some], strict=True)]))
    title = f"Test images over what is rebuilt of them (squared error a pixel of these: {mse:.4f})"
    images.rows(figures / "reconstructions.png", title, lines, bands=2)
    return Figure("reconstructions.png", "Test images, and below each what the model rebuilds from its code.")


def spread(n: int, wanted: int) -> np.ndarray:
    """So many places among n, evenly: images often lie in the order of their classes."""
    return np.linspace(0, n - 1, min(n, wanted)).round().astype(int)


def denoising(figures: Path, test: ModelOutputs, seed: int) -> Figure:
    model, x = test.model, test.x[spread(len(test), ACROSS)]
    with seeded(model, seed):
        noisy = mapped(model, model.corrupt, x)
    cleaned = mapped(model, lambda part: model.reconstruct({"x": part}), noisy)
    lines = [("noisy", picture(noisy)), ("cleaned", picture(cleaned)), ("clean", x)]
    noise = " ".join(f"{getattr(model, name, '')}" for name in ("noise", "level")).strip().replace("_", " ")
    images.rows(figures / "denoising.png", f"Noisy test images (noise: {noise}), cleaned, and as they were", lines)
    return Figure("denoising.png", "Test images with the noise of the training, cleaned by the model; the clean ones.")


def samples(figures: Path, model: Any, seed: int) -> Figure:
    with seeded(model, seed), torch.inference_mode():
        drawn = in_bytes(model.generate(SIDE * SIDE)).cpu().numpy()
    title = "Samples: codes drawn at random, decoded"
    images.sheet(figures / "samples.png", title, drawn, SIDE)
    return Figure("samples.png", "New images: codes drawn as the model says they are spread, decoded.")


def interpolations(figures: Path, test: ModelOutputs, seed: int) -> Figure:
    """From one test image to another of a different class, in even steps of the code."""
    start, end = _pairs(test, np.random.default_rng([seed, 6]))
    weight = np.linspace(0, 1, STEPS, dtype=np.float32)[None, :, None]
    path = (1 - weight) * test.embedded[start][:, None] + weight * test.embedded[end][:, None]  # (pairs, STEPS, Z)
    between = decoded(test.model, path.reshape(-1, path.shape[2])).reshape(len(start), STEPS, *test.x.shape[1:])
    lines = [
        ("", np.concatenate([test.x[a][None], row, test.x[b][None]]))
        for a, b, row in zip(start, end, between, strict=True)
    ]
    columns = ["image", *(f"{share:.0%}" for share in weight[0, :, 0]), "image"]
    title = "Interpolations: from the code of the left test image to that of the right one"
    images.rows(figures / "interpolations.png", title, lines, columns)
    return Figure("interpolations.png", "Even steps in code space from one test image to another, decoded.")


def _pairs(test: ModelOutputs, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Places of test images, (pairs,) each; two of a pair differ in their label, where there are labels."""
    start = rng.choice(len(test), min(PAIRS, len(test)), replace=False)
    end = rng.choice(len(test), len(start))
    if test.label is not None:
        others = [np.flatnonzero(test.label != test.label[k]) for k in start]
        end = np.array([rng.choice(rows) if len(rows) else k for rows, k in zip(others, end, strict=True)])
    return start, end


def traversals(figures: Path, views: dict[str, ModelOutputs]) -> Figure:
    """One number of the code moved about the mean code, all others held; those that tell most first."""
    train, test = views["train"], views["test"]
    mean, std = train.embedded.mean(0), train.embedded.std(0)  # (Z,)
    steps = np.linspace(-REACH, REACH, TRAVERSED)
    if hasattr(test.model, "posterior"):
        activity = kl_per_dimension(test.take(np.arange(min(SHOWN_FOR_KL, len(test)))))
        unit = "KL {:.2f} nats"
    else:
        sides = [decoded_numbers(test.model, mean + sign * np.diag(std)) for sign in (-1, 1)]
        activity = np.sqrt(np.square(sides[1] - sides[0]).reshape(len(std), -1).sum(1))
        unit = "change {:.2f}"
    dims = np.argsort(-activity, kind="stable")[:MOST_DIMS]
    lines = []
    for dim in dims:
        codes = np.tile(mean, (TRAVERSED, 1))
        codes[:, dim] += steps * std[dim]
        lines.append((f"z{dim + 1}: {unit.format(activity[dim])}", decoded(test.model, codes)))
    what = "one number" if len(dims) > 1 else "the number"
    title = (
        f"Traversals: {what} of the code at a time, in standard deviations from the mean code; the most active first"
    )
    images.rows(figures / "traversals.png", title, lines, [f"{step:+.2g}" if step else "mean" for step in steps])
    told = (
        "KL is what it tells of an image"
        if "KL" in unit
        else "change is the distance between -1 and +1, in pixels' units"
    )
    return Figure("traversals.png", f"What each number of the code does, all others at their mean ({told}).")


def training(folder: Path, model: Any) -> Iterator[Figure]:
    """Curves of the model's own training, and of its prior's."""
    figures, history = folder / "figures", read_history(folder / HISTORY)
    if history:
        curves.training_curves(figures / "training.png", history)
        yield Figure("training.png", "The loss over the steps of training.")
    if any("val/perplexity" in row for row in history):
        title = "Perplexity of the codes of the watched images"
        images.curve(figures / "perplexity.png", title, history, "val/perplexity", "perplexity", model.alphabet)
        yield Figure("perplexity.png", "How many codes, used equally often, would be as uncertain as those in use.")
    if prior := read_history(folder / PRIOR / HISTORY):
        curves.training_curves(figures / "training_prior.png", prior, "Training of the prior (nats a code)")
        yield Figure("training_prior.png", "The loss of the prior that draws new grids of codes, in nats a code.")
