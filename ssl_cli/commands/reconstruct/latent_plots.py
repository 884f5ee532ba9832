"""Pictures of codes: maps of them, how a codebook is used, what each class looks like."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from ssl_cli.commands.reconstruct.plots import decoded, picture
from ssl_cli.commands.reconstruct.predictions import ModelOutputs, is_continuous, is_discrete
from ssl_cli.evaluation.html import Figure
from ssl_cli.evaluation.metrics.clusters import UNNAMED, majority_labels
from ssl_cli.evaluation.plots import images as image_plots
from ssl_cli.models.pca import leading_components
from ssl_cli.models.quantizer import perplexity

MOST_MAPPED, LEAST_MAPPED = 2000, 8  # images
MOST_FOR_TSNE, NEIGHBOURS, ITERATIONS = 50, 30.0, 750  # principal components, perplexity, of t-SNE
LEAST_FOR_TSNE = 10  # codes, so that each has neighbours
PLANE = 15  # decoded codes in each direction
SHOWN, MOST_CLASSES = 8, 60
How = Literal["code", "pca", "tsne"]
METHODS = {"code": "as they are", "pca": "by PCA", "tsne": "by t-SNE"}


def draw(figures: Path, views: dict[str, ModelOutputs], classes: list[str], seed: int) -> Iterator[Figure]:
    test, model = views["test"], views["test"].model
    few = test.take(np.arange(min(len(test), MOST_MAPPED)))
    if hasattr(model, "embed") and len(few) >= LEAST_MAPPED and few.embedded.std() > 0:
        yield from code_maps(figures, few, classes, seed)
        if few.embedded.shape[1] == 2 and is_continuous(model):
            yield decoded_plane(figures, views["train"])
    if not is_discrete(model):
        return
    yield bits(figures, test) if model.alphabet == 2 else codebook(figures, test)
    if grid := getattr(getattr(model, "network", None), "grid", None):
        yield code_grids(figures, test, tuple(grid))
    if hasattr(model, "classify"):
        yield code_means(figures, views["train"], classes)


def code_maps(figures: Path, test: ModelOutputs, classes: list[str], seed: int) -> Iterator[Figure]:
    """Codes of test images on a plane: by PCA, by t-SNE, and a code of two numbers as it is."""
    width = test.embedded.shape[1]
    coloured = ", coloured by label" if test.label is not None else ""
    captions: dict[How, str] = {
        "code": f"The two numbers of the code of each test image{coloured}.",
        "pca": f"The codes' two leading principal components{coloured}.",
        "tsne": "A map that keeps neighbours together (t-SNE); distances between far groups mean little.",
    }
    for how, caption in captions.items():
        if (how == "code" and width != 2) or width < 2:
            continue
        xy, done, axes = positions(test.embedded, how, seed)
        if done == how:  # else there are too few for it
            title = f"Codes of {len(test):,} test images {METHODS[how]}{coloured}"
            image_plots.points(figures / f"map_{how}.png", title, xy, test.label, classes, axes)
            yield Figure(f"map_{how}.png", caption)


def draw_map(path: Path, codes: np.ndarray, labels: list[str | None], how: How, seed: int) -> None:
    """One map of codes (N, Z) with a label or None for each; codes of two numbers are points already."""
    rows = np.random.default_rng(seed).permutation(len(codes))[:MOST_MAPPED]
    xy, done, axes = positions(codes[rows], "code" if codes.shape[1] == 2 else how, seed)
    classes, label = numbered(labels)
    some = f"{len(rows):,} of {len(codes):,}" if len(rows) < len(codes) else f"{len(rows):,}"
    title = f"Codes of {some} image{'s' if len(codes) > 1 else ''} {METHODS[done]}"
    image_plots.points(path, title, xy, label[rows] if classes else None, classes, axes)


def numbered(labels: list[str | None]) -> tuple[list[str], np.ndarray]:
    """Labels -> their names in order, 2 before 10, and the number (N,) of each; -1 for None."""
    classes = sorted({label for label in labels if label is not None}, key=lambda name: (len(name), name))
    if not all(name.isdecimal() for name in classes):
        classes.sort()
    place = {name: k for k, name in enumerate(classes)}
    return classes, np.array([-1 if label is None else place[label] for label in labels])


def positions(codes: np.ndarray, how: How, seed: int) -> tuple[np.ndarray, How, tuple[str, str]]:
    """(N, Z) -> (N, 2), by what method, and the axes' names. A few codes, or equal ones, are too few for t-SNE."""
    if how == "code":
        return codes, how, ("first number of the code", "second number of the code")
    parts, share = _components(codes.astype(np.float64), seed)
    plane = parts[:, :2]
    if how == "pca" or len(codes) < LEAST_FOR_TSNE or not plane.std():
        first, second = (f"{share[k]:.0%}" for k in range(2))
        return plane, "pca", (f"first component ({first} of the variance)", f"second component ({second})")
    from sklearn.manifold import TSNE

    near = min(NEIGHBOURS, (len(codes) - 1) / 3)
    start = plane / plane[:, 0].std() * 1e-4
    found = TSNE(perplexity=near, init=start, random_state=seed, max_iter=ITERATIONS)
    return found.fit_transform(parts.astype(np.float32)), "tsne", ("t-SNE 1", "t-SNE 2")


def _components(codes: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(N, Z) -> the leading principal components (N, n), 2 to MOST_FOR_TSNE of them, zero where there are fewer; and
    each one's share of the variance (n,)."""
    n = min(MOST_FOR_TSNE, *codes.shape)
    missing = max(0, 2 - n)
    if len(codes) < 2 or not codes.std(0).any():
        return np.zeros((len(codes), n + missing)), np.zeros(n + missing)
    pca = leading_components(codes, n, seed)
    return np.pad(pca.transform(codes), ((0, 0), (0, missing))), np.pad(pca.explained_variance_ratio_, (0, missing))


def decoded_plane(figures: Path, train: ModelOutputs) -> Figure:
    """What the plane of a code of two numbers decodes to, where nearly all training images lie."""
    low, high = np.quantile(train.embedded, [0.01, 0.99], axis=0)  # (2,)
    first, second = np.linspace(low[0], high[0], PLANE), np.linspace(high[1], low[1], PLANE)
    codes = np.stack([np.tile(first, PLANE), np.repeat(second, PLANE)], axis=1)
    title = "What each place of the code's plane decodes to"
    image_plots.plane(figures / "map_plane.png", title, decoded(train.model, codes), first, second)
    return Figure(
        "map_plane.png", "The code's plane, decoded; 98 % of the training images lie within in each direction."
    )


def codebook(figures: Path, test: ModelOutputs) -> Figure:
    counts, alphabet = test.counts, test.model.alphabet
    used = int((counts > 0).sum())
    title = (
        f"Use of the {alphabet} codes by {len(test):,} test images: {used} used, perplexity {perplexity(counts):.1f}"
    )
    image_plots.shares(
        figures / "codebook.png", title, counts / counts.sum(), 1 / alphabet, "codes, the commonest first", "share"
    )
    return Figure("codebook.png", "How often each code is used, from the commonest to the rarest.")


def bits(figures: Path, test: ModelOutputs) -> Figure:
    ones = test.codes.mean(0)  # (bits,)
    stuck = int(((ones == 0) | (ones == 1)).sum())
    title = f"The {len(ones)} bits of the code over {len(test):,} test images: {stuck} never change"
    image_plots.shares(
        figures / "codebook.png",
        title,
        ones,
        0.5,
        "bits, those that are most often 1 first",
        "share of images with a 1",
    )
    return Figure("codebook.png", "How often each bit is 1; a bit tells most where that is half of the time.")


def code_grids(figures: Path, test: ModelOutputs, grid: tuple[int, int]) -> Figure:
    x = test.x[: 2 * SHOWN]
    codes = test.codes[: len(x)].reshape(len(x), *grid)
    shown = image_plots.codes_as_images(codes, test.model.alphabet, x.shape[2:])
    lines = [("image", x), ("codes", shown), ("rebuilt", picture(test.rebuilt[: len(x)]))]
    lines = [(name, images[k : k + SHOWN]) for k in range(0, len(x), SHOWN) for name, images in lines]
    title = f"Test images as grids of {grid[0]} x {grid[1]} codes, a colour for each of {test.model.alphabet}"
    image_plots.rows(figures / "code_grids.png", title, lines, bands=3)
    return Figure("code_grids.png", "Test images, the grid of codes that is kept of each, and what is rebuilt from it.")


def code_means(figures: Path, train: ModelOutputs, classes: list[str]) -> Figure:
    """The mean training image of each class that the model made up; the commonest first."""
    codes, counts = train.codes[:, 0], train.counts
    names = np.full(len(counts), UNNAMED)
    if (known := train.labels >= 0).any():
        names = majority_labels(codes[known], train.labels[known], len(counts))
    order = [int(k) for k in np.argsort(-counts, kind="stable") if counts[k]][:MOST_CLASSES]
    means = np.stack([train.x[codes == k].mean(0).round().astype(np.uint8) for k in order])
    captions = []
    for k in order:
        label = "" if names[k] == UNNAMED else f"\n{image_plots.cut(classes[names[k]], 10)}"
        captions.append(f"{counts[k] / counts.sum():.1%}{label}")
    used = int((counts > 0).sum())
    below = ", and its commonest label" if (names != UNNAMED).any() else ""
    title = f"Mean training image of the {used} classes in use (of {len(counts)}), with its share{below}"
    image_plots.sheet(figures / "code_means.png", title, means, 10, captions)
    return Figure("code_means.png", "The mean of the training images of each class that the model made up.")
