"""Grids of images as one PNG, pixel by pixel: each image enlarged by a whole number, with thin gaps between images.

The figures of a report are in `plots.images`: matplotlib fits images into a page and resamples them. A grid is a result
itself: its pixels are exactly those of the model, so that a program can cut the images out.
"""

from pathlib import Path

import numpy as np
from PIL import Image

GAP, GROUP_GAP = 2, 10  # pixels between images; between groups of rows
BACKGROUND = 160  # a grey that neither black nor white images blend into
TARGET_SIZE = 64  # pixels: the width and height that images are enlarged to, roughly
MAX_IMAGES = 400  # in a grid of samples
PAIR_COLUMNS, MAX_PAIR_ROWS = 12, 5


def grid(path: Path, x: np.ndarray) -> None:
    """Draw the first images of x (N, C, H, W) uint8 in about as many rows as columns."""
    x = x[:MAX_IMAGES]
    _draw(path, _rows(x, int(np.ceil(np.sqrt(len(x))))), group_size=MAX_IMAGES)


def pairs(path: Path, above: np.ndarray, below: np.ndarray) -> None:
    """Draw the first images of two arrays (N, C, H, W) uint8, each of `above` directly over that of `below`."""
    shown = slice(PAIR_COLUMNS * MAX_PAIR_ROWS)
    row_pairs = zip(_rows(above[shown], PAIR_COLUMNS), _rows(below[shown], PAIR_COLUMNS), strict=True)
    _draw(path, [row for pair in row_pairs for row in pair], group_size=2)


def columns(path: Path, rows: list[np.ndarray]) -> None:
    """Draw rows of images (N, C, H, W) uint8 one below the other: a column is one image in several forms."""
    _draw(path, rows, group_size=len(rows))


def lines(path: Path, first: np.ndarray, others: list[np.ndarray]) -> None:
    """Draw each image of `first` (N, C, H, W) uint8 at the left of a line of others, with an empty place between."""
    gap = np.full((1, *first.shape[1:]), BACKGROUND, np.uint8)
    rows = [np.concatenate([image[None], gap, line]) for image, line in zip(first, others, strict=True)]
    _draw(path, rows, group_size=len(rows))


def save(path: Path, image: np.ndarray) -> None:
    """Write one image (C, H, W) uint8 unchanged."""
    _to_pil(image).save(path, "PNG")


def _rows(x: np.ndarray, columns: int) -> list[np.ndarray]:
    return [x[start : start + columns] for start in range(0, len(x), columns)]


def _draw(path: Path, rows: list[np.ndarray], group_size: int) -> None:
    """Draw rows of images (n, C, H, W), with a wider gap after every `group_size` rows."""
    channels, height, width = rows[0][0].shape
    zoom = max(1, round(TARGET_SIZE / max(height, width)))
    across, down = width * zoom + GAP, height * zoom + GAP
    tops = [GAP + k * down + k // group_size * (GROUP_GAP - GAP) for k in range(len(rows))]
    canvas = Image.new("L" if channels == 1 else "RGB", (GAP + len(rows[0]) * across, tops[-1] + down))
    canvas.paste(BACKGROUND if channels == 1 else (BACKGROUND,) * 3, (0, 0, *canvas.size))
    for top, row in zip(tops, rows, strict=True):
        for k, image in enumerate(row):
            large = _to_pil(image).resize((width * zoom, height * zoom), Image.Resampling.NEAREST)
            canvas.paste(large, (GAP + k * across, top))
    canvas.save(path, "PNG")


def _to_pil(image: np.ndarray) -> Image.Image:
    """Convert (C, H, W) uint8, grey or RGB."""
    return Image.fromarray(np.ascontiguousarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)))
