"""Codes -> a map in two dimensions, coloured by label."""

from pathlib import Path
from typing import Literal

import numpy as np
from sklearn.manifold import TSNE

from ssl_cli import image_plots

SHOWN = 2000  # images on the map, drawn at random where there are more
MOST_FOR_TSNE = 50  # numbers in a code; of a larger one, its principal components
LEAST = 10  # images that t-SNE needs to have neighbours among
Method = Literal["tsne", "pca"]
AXES = {
    "as they are": ("first number of the code", "second number of the code"),
    "by PCA": ("first principal component", "second principal component"),
    "by t-SNE": ("", ""),
}


def draw(path: Path, codes: np.ndarray, labels: list[str | None], how: Method, seed: int) -> None:
    """`codes` (N, Z) and a label or None for each, to a PNG."""
    rows = np.random.default_rng(seed).permutation(len(codes))[:SHOWN]
    xy, method = positions(codes[rows], how, seed)
    classes, label = numbered(labels)
    some = f"{len(rows):,} of {len(codes):,}" if len(rows) < len(codes) else f"{len(rows):,}"
    title = f"Codes of {some} image{'s' if len(codes) > 1 else ''}, {method}"
    image_plots.points(path, title, xy, label[rows] if classes else None, classes, AXES[method])


def numbered(labels: list[str | None]) -> tuple[list[str], np.ndarray]:
    """Labels -> their names in order, 2 before 10, and the number (N,) of each; -1 for None."""
    classes = sorted({label for label in labels if label is not None}, key=lambda name: (len(name), name))
    if not all(name.isdecimal() for name in classes):
        classes.sort()
    place = {name: k for k, name in enumerate(classes)}
    return classes, np.array([-1 if label is None else place[label] for label in labels])


def positions(codes: np.ndarray, how: Method, seed: int) -> tuple[np.ndarray, str]:
    """(N, Z) -> (N, 2), and by what method: codes of two numbers are points already, a few are too few for t-SNE."""
    codes = codes.astype(np.float64)
    if codes.shape[1] == 2:
        return codes, "as they are"
    parts = components(codes, MOST_FOR_TSNE)
    plane = parts[:, :2]
    if how == "pca" or len(codes) < LEAST or not plane.std():
        return plane, "by PCA"
    start = plane / plane[:, 0].std() * 1e-4
    perplexity = min(30.0, (len(codes) - 1) / 3)
    return TSNE(perplexity=perplexity, init=start, random_state=seed).fit_transform(parts), "by t-SNE"


def components(codes: np.ndarray, most: int) -> np.ndarray:
    """(N, Z) -> (N, n): the leading principal components, 2 to `most` of them; zero where there are fewer than 2."""
    u, s, _ = np.linalg.svd(codes - codes.mean(0), full_matrices=False)
    scores = u[:, :most] * s[:most]
    return np.pad(scores, ((0, 0), (0, max(0, 2 - scores.shape[1]))))
