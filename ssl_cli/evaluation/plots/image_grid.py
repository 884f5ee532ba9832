"""Images -> one PNG of many, pixel by pixel: each enlarged by a whole number, thin gaps between them.

The figures of a report are image_plots, by matplotlib, which fits images into a page and resamples them. These are
results of their own: as many images as there are, their pixels just as the model gave them, for a program to cut out.
"""

from pathlib import Path

import numpy as np
from PIL import Image

GAP, BETWEEN = 2, 10  # pixels between images; between what doesn't belong together
AROUND = 160  # the grey that they lie on, which neither black nor white images run into
ABOUT = 64  # pixels an image should be wide and high
SHOWN = 400  # images on a sheet of samples
COLUMNS, BANDS = 12, 5  # of a sheet of pairs


def grid(path: Path, x: np.ndarray) -> None:
    """The first images of x (N, C, H, W) uint8, row by row, about as many rows as columns."""
    x = x[:SHOWN]
    _draw(path, _rows(x, int(np.ceil(np.sqrt(len(x))))), together=SHOWN)


def pairs(path: Path, above: np.ndarray, below: np.ndarray) -> None:
    """The first images of (N, C, H, W) uint8, each of `above` right over its like of `below`."""
    shown = slice(COLUMNS * BANDS)
    bands = zip(_rows(above[shown], COLUMNS), _rows(below[shown], COLUMNS), strict=True)
    _draw(path, [row for band in bands for row in band], together=2)


def save(path: Path, image: np.ndarray) -> None:
    """One image (C, H, W) uint8 as it is."""
    _picture(image).save(path, "PNG")


def _rows(x: np.ndarray, columns: int) -> list[np.ndarray]:
    return [x[start : start + columns] for start in range(0, len(x), columns)]


def _draw(path: Path, rows: list[np.ndarray], together: int) -> None:
    """Rows of images (n, C, H, W); after every `together` of them comes a wider gap."""
    channels, height, width = rows[0][0].shape
    zoom = max(1, round(ABOUT / max(height, width)))
    across, down = width * zoom + GAP, height * zoom + GAP
    tops = [GAP + k * down + k // together * (BETWEEN - GAP) for k in range(len(rows))]
    sheet = Image.new("L" if channels == 1 else "RGB", (GAP + len(rows[0]) * across, tops[-1] + down))
    sheet.paste(AROUND if channels == 1 else (AROUND,) * 3, (0, 0, *sheet.size))
    for top, row in zip(tops, rows, strict=True):
        for k, image in enumerate(row):
            large = _picture(image).resize((width * zoom, height * zoom), Image.Resampling.NEAREST)
            sheet.paste(large, (GAP + k * across, top))
    sheet.save(path, "PNG")


def _picture(image: np.ndarray) -> Image.Image:
    """(C, H, W) uint8, grey or RGB"""
    return Image.fromarray(np.ascontiguousarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)))
