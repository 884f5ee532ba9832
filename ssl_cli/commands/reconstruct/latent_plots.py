"""Plots of codes: maps of codes on a plane, the use of a codebook, and the mean image of each class."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from ssl_cli.commands.reconstruct.plots import decode_images, to_bytes
from ssl_cli.commands.reconstruct.predictions import ModelOutputs, is_continuous, is_discrete
from ssl_cli.evaluation.html import Figure
from ssl_cli.evaluation.metrics.clusters import NO_LABEL, majority_labels
from ssl_cli.evaluation.plots import images as image_plots
from ssl_cli.methods.protocols import Classifies, Embeds
from ssl_cli.models.pca import fit_pca
from ssl_cli.models.quantizer import perplexity

MAX_MAPPED, MIN_MAPPED = 2000, 8  # images
TSNE_COMPONENTS, TSNE_PERPLEXITY, TSNE_ITERATIONS = 50, 30.0, 750
MIN_TSNE_CODES = 10  # with fewer, t-SNE has too few neighbours
PLANE_SIDE = 15  # decoded codes in each direction
GRIDS_PER_ROW, MAX_CLASSES = 8, 60
Projection = Literal["code", "pca", "tsne"]
PROJECTION_TITLES = {"code": "as they are", "pca": "by PCA", "tsne": "by t-SNE"}


def draw(figures: Path, outputs: dict[str, ModelOutputs], classes: list[str], seed: int) -> Iterator[Figure]:
    """Draw the plots that the model's codes allow."""
    test, model = outputs["test"], outputs["test"].model
    mapped = test.take(np.arange(min(len(test), MAX_MAPPED)))
    if isinstance(model, Embeds) and len(mapped) >= MIN_MAPPED and mapped.embeddings.std() > 0:
        yield from draw_code_maps(figures, mapped, classes, seed)
        if mapped.embeddings.shape[1] == 2 and is_continuous(model):
            yield draw_decoded_plane(figures, outputs["train"])
    if not is_discrete(model):
        return
    yield draw_bits(figures, test) if model.alphabet == 2 else draw_codebook(figures, test)
    if grid := getattr(getattr(model, "network", None), "grid", None):
        yield draw_code_grids(figures, test, tuple(grid))
    if isinstance(model, Classifies):
        yield draw_code_means(figures, outputs["train"], classes)


# --- maps of codes ------------------------------------------------------------------------------------------


def draw_code_maps(figures: Path, test: ModelOutputs, classes: list[str], seed: int) -> Iterator[Figure]:
    """Draw the codes of test images on a plane: by PCA, by t-SNE, and a code of two dimensions as it is."""
    width = test.embeddings.shape[1]
    coloured = ", coloured by label" if test.label is not None else ""
    captions: dict[Projection, str] = {
        "code": f"The code of each test image, which has two dimensions{coloured}.",
        "pca": f"The first two principal components of the codes{coloured}.",
        "tsne": "A map that keeps neighbours together (t-SNE); distances between far groups mean little.",
    }
    for projection, caption in captions.items():
        if (projection == "code" and width != 2) or width < 2:
            continue
        xy, used, axes = project_to_plane(test.embeddings, projection, seed)
        if used == projection:  # else there are too few codes for it
            title = f"Codes of {len(test):,} test images {PROJECTION_TITLES[projection]}{coloured}"
            image_plots.scatter_map(figures / f"map_{projection}.png", title, xy, test.label, classes, axes)
            yield Figure(f"map_{projection}.png", caption)


def draw_map(
    path: Path, codes: np.ndarray, labels: list[str | None], projection: Projection, seed: int, noun: str = "image"
) -> None:
    """Draw one map of codes (N, Z), with a label or None for each; `noun` is what has a code.

    Codes of two dimensions are not projected.
    """
    rows = np.random.default_rng(seed).permutation(len(codes))[:MAX_MAPPED]
    xy, used, axes = project_to_plane(codes[rows], "code" if codes.shape[1] == 2 else projection, seed)
    classes, label = label_ids(labels)
    count = f"{len(rows):,} of {len(codes):,}" if len(rows) < len(codes) else f"{len(rows):,}"
    title = f"Codes of {count} {noun}{'s' if len(codes) > 1 else ''} {PROJECTION_TITLES[used]}"
    image_plots.scatter_map(path, title, xy, label[rows] if classes else None, classes, axes)


def label_ids(labels: list[str | None]) -> tuple[list[str], np.ndarray]:
    """Return the names of labels in order, with 2 before 10, and the index (N,) of each label; -1 for None."""
    classes = sorted({label for label in labels if label is not None}, key=lambda name: (len(name), name))
    if not all(name.isdecimal() for name in classes):
        classes.sort()
    index = {name: k for k, name in enumerate(classes)}
    return classes, np.array([-1 if label is None else index[label] for label in labels])


def project_to_plane(
    codes: np.ndarray, projection: Projection, seed: int
) -> tuple[np.ndarray, Projection, tuple[str, str]]:
    """Return points (N, 2) of codes (N, Z), the projection that was used, and the names of the axes.

    t-SNE is replaced by PCA if there are too few codes, or all are equal.
    """
    if projection == "code":
        return codes, projection, ("first latent dimension", "second latent dimension")
    components, share = _principal_components(codes.astype(np.float64), seed)
    plane = components[:, :2]
    if projection == "pca" or len(codes) < MIN_TSNE_CODES or not plane.std():
        first, second = (f"{share[k]:.0%}" for k in range(2))
        return plane, "pca", (f"first component ({first} of the variance)", f"second component ({second})")
    from sklearn.manifold import TSNE

    tsne = TSNE(
        perplexity=min(TSNE_PERPLEXITY, (len(codes) - 1) / 3),
        init=plane / plane[:, 0].std() * 1e-4,
        random_state=seed,
        max_iter=TSNE_ITERATIONS,
    )
    return tsne.fit_transform(components.astype(np.float32)), "tsne", ("t-SNE 1", "t-SNE 2")


def _principal_components(codes: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the leading principal components (N, n) of codes (N, Z), and each one's share of the variance, (n,).

    n is 2 to TSNE_COMPONENTS; components that do not exist are zero.
    """
    n = min(TSNE_COMPONENTS, *codes.shape)
    missing = max(0, 2 - n)
    if len(codes) < 2 or not codes.std(0).any():
        return np.zeros((len(codes), n + missing)), np.zeros(n + missing)
    pca = fit_pca(codes, n, seed)
    return np.pad(pca.transform(codes), ((0, 0), (0, missing))), np.pad(pca.explained_variance_ratio_, (0, missing))


def draw_decoded_plane(figures: Path, train: ModelOutputs) -> Figure:
    """Draw what a plane of two-dimensional codes decodes to, in the range of nearly all training images."""
    low, high = np.quantile(train.embeddings, [0.01, 0.99], axis=0)  # (2,)
    first, second = np.linspace(low[0], high[0], PLANE_SIDE), np.linspace(high[1], low[1], PLANE_SIDE)
    codes = np.stack([np.tile(first, PLANE_SIDE), np.repeat(second, PLANE_SIDE)], axis=1)
    title = "What each point of the latent plane decodes to"
    image_plots.latent_plane(figures / "map_plane.png", title, decode_images(train.model, codes), first, second)
    return Figure(
        "map_plane.png", "The latent plane, decoded; in each direction it covers 98 % of the training images."
    )


# --- discrete codes -----------------------------------------------------------------------------------------


def draw_codebook(figures: Path, test: ModelOutputs) -> Figure:
    """Draw how often each code is used."""
    counts, alphabet = test.counts, test.model.alphabet
    used = int((counts > 0).sum())
    title = (
        f"Use of the {alphabet} codes by {len(test):,} test images: {used} used, perplexity {perplexity(counts):.1f}"
    )
    image_plots.sorted_shares(
        figures / "codebook.png", title, counts / counts.sum(), 1 / alphabet, "codes, most frequent first", "share"
    )
    return Figure("codebook.png", "How often each code is used, from the most to the least frequent.")


def draw_bits(figures: Path, test: ModelOutputs) -> Figure:
    """Draw how often each bit of the code is 1."""
    ones = test.codes.mean(0)  # (bits,)
    stuck = int(((ones == 0) | (ones == 1)).sum())
    title = f"The {len(ones)} bits of the code over {len(test):,} test images: {stuck} never change"
    axis, ylabel = "bits, those that are most often 1 first", "share of images with a 1"
    image_plots.sorted_shares(figures / "codebook.png", title, ones, 0.5, axis, ylabel)
    return Figure(
        "codebook.png", "How often each bit is 1; a bit carries most information if it is 1 half of the time."
    )


def draw_code_grids(figures: Path, test: ModelOutputs, grid: tuple[int, int]) -> Figure:
    """Draw test images, their grids of codes, and their reconstructions."""
    x = test.x[: 2 * GRIDS_PER_ROW]
    codes = test.codes[: len(x)].reshape(len(x), *grid)
    code_images = image_plots.codes_as_images(codes, test.model.alphabet, x.shape[2:])
    rows = [("image", x), ("codes", code_images), ("rebuilt", to_bytes(test.reconstructions[: len(x)]))]
    lines = [(name, images[k : k + GRIDS_PER_ROW]) for k in range(0, len(x), GRIDS_PER_ROW) for name, images in rows]
    title = f"Test images as grids of {grid[0]} x {grid[1]} codes, a colour for each of {test.model.alphabet}"
    image_plots.image_rows(figures / "code_grids.png", title, lines, group_size=3)
    return Figure("code_grids.png", "Test images, the grid of codes that each becomes, and what is rebuilt from it.")


def draw_code_means(figures: Path, train: ModelOutputs, classes: list[str]) -> Figure:
    """Draw the mean training image of each class that the model learned, the most frequent first."""
    codes, counts = train.codes[:, 0], train.counts
    labels = np.full(len(counts), NO_LABEL)
    if (known := train.labels >= 0).any():
        labels = majority_labels(codes[known], train.labels[known], len(counts))
    order = [int(k) for k in np.argsort(-counts, kind="stable") if counts[k]][:MAX_CLASSES]
    means = np.stack([train.x[codes == k].mean(0).round().astype(np.uint8) for k in order])
    captions = []
    for k in order:
        label = "" if labels[k] == NO_LABEL else f"\n{image_plots.truncate(classes[labels[k]], 10)}"
        captions.append(f"{counts[k] / counts.sum():.1%}{label}")
    used = int((counts > 0).sum())
    label_note = ", and its most frequent label" if (labels != NO_LABEL).any() else ""
    title = f"Mean training image of the {used} classes in use (of {len(counts)}), with its share{label_note}"
    image_plots.contact_sheet(figures / "code_means.png", title, means, 10, captions)
    return Figure("code_means.png", "The mean of the training images of each class that the model learned.")
