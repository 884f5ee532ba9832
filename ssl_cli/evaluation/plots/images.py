"""Plots of images and of their codes, one PNG each. Images are (N, C, H, W) uint8, grey or RGB."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from ssl_cli.evaluation.plots.curves import ANOMALOUS, MUTED, NORMAL, STYLE, truncate
from ssl_cli.evaluation.plots.fonts import fitting_fonts

CELL_INCHES = 0.62  # an image's width
MIN_PIXELS, GAP = 56, 6  # an image's smallest width, and the gap between images
MIN_WIDTH_INCHES = 4.2  # of a figure
MAX_CLASSES = 20  # with a legend, and a colour of a qualitative palette each
Rows = Sequence[tuple[str, np.ndarray]]


def image_rows(path: Path, title: str, lines: Rows, columns: Sequence[str] = (), group_size: int = 0) -> None:
    """Plot named rows of images, with a wider gap after every `group_size` rows (0: none)."""
    across = max(len(images) for _, images in lines)
    tiles = [[_tile(image) for image in images] for _, images in lines]
    height, width = tiles[0][0].shape[:2]
    tops = [k * (height + GAP) + (k // group_size * 3 * GAP if group_size else 0) for k in range(len(lines))]
    canvas = np.full((tops[-1] + height, across * (width + GAP) - GAP, 3), 255, np.uint8)
    for top, line in zip(tops, tiles, strict=True):
        for k, tile in enumerate(line):
            canvas[top : top + height, k * (width + GAP) : k * (width + GAP) + width] = tile
    with plt.rc_context(STYLE):
        figure, axes = _canvas_figure(canvas, across * CELL_INCHES, title)
        axes.set_yticks([top + height / 2 for top in tops], [truncate(name, 24) for name, _ in lines], fontsize=8)
        places = [k * (width + GAP) + width / 2 for k in range(len(columns))]
        axes.set_xticks(places, columns, fontsize=7)
        _save(figure, path)


def contact_sheet(path: Path, title: str, images: np.ndarray, across: int, captions: Sequence[str] = ()) -> None:
    """Plot images, `across` in a row, each with its caption above it if there are `captions`."""
    tiles = [_tile(image) for image in images]
    height, width = tiles[0].shape[:2]
    across = min(across, len(tiles))
    down, above = -(-len(tiles) // across), round(0.42 * width) if captions else 0
    step = height + above + GAP
    canvas = np.full((down * step - GAP, across * (width + GAP) - GAP, 3), 255, np.uint8)
    places = [(k // across * step + above, k % across * (width + GAP)) for k in range(len(tiles))]
    for (top, left), tile in zip(places, tiles, strict=True):
        canvas[top : top + height, left : left + width] = tile
    with plt.rc_context(STYLE):
        figure, axes = _canvas_figure(canvas, across * CELL_INCHES * (1.25 if captions else 1), title)
        for (top, left), caption in zip(places, captions, strict=False):
            axes.text(left + width / 2, top - 2, caption, ha="center", va="bottom", fontsize=6.5, linespacing=1.0)
        axes.set_xticks([])
        axes.set_yticks([])
        _save(figure, path)


def _tile(image: np.ndarray) -> np.ndarray:
    """Convert (C, H, W) -> (h, w, 3), enlarging small images by a whole number.

    Of an image that is neither grey nor RGB the first channel is shown.
    """
    scale = max(1, -(-MIN_PIXELS // image.shape[2]))
    rgb = image if len(image) == 3 else np.repeat(image[:1], 3, axis=0)
    return rgb.transpose(1, 2, 0).repeat(scale, axis=0).repeat(scale, axis=1)


def _canvas_figure(canvas: np.ndarray, width: float, title: str) -> tuple[plt.Figure, plt.Axes]:
    """Return a figure of a canvas (h, w, 3) without axes, `width` inches wide."""
    height = width * canvas.shape[0] / canvas.shape[1]
    figure, axes = plt.subplots(figsize=(max(width + 0.9, MIN_WIDTH_INCHES), height + 0.75))
    axes.imshow(canvas, interpolation="nearest" if canvas.shape[1] < 130 * width else "antialiased")
    _set_title(axes, title, max(width + 0.9, MIN_WIDTH_INCHES))
    axes.grid(False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure, axes


def _set_title(axes: plt.Axes, title: str, width: float) -> None:
    """Set a title that is wrapped to a figure's width in inches, in lines of similar length."""
    title, max_chars = title.replace("$", r"\$"), int(12.5 * width)
    lines = textwrap.wrap(title, max_chars)
    if len(lines) > 1:
        lines = textwrap.wrap(title, min(max_chars, len(title) // len(lines) + 8))
    axes.set_title("\n".join(lines), fontsize=9.5)


def codes_as_images(codes: np.ndarray, num_codes: int, size: tuple[int, int]) -> np.ndarray:
    """Return grids of codes (N, h, w) as images (N, 3, H, W) uint8 of `size`, with a colour for each code."""
    order = np.random.default_rng(0).permutation(num_codes)  # adjacent codes get dissimilar colours
    colours = (plt.get_cmap("nipy_spectral")(order / max(num_codes - 1, 1))[:, :3] * 255).astype(np.uint8)
    down, right = (np.arange(n) * grid // n for n, grid in zip(size, codes.shape[1:], strict=True))
    return colours[codes[:, down][:, :, right]].transpose(0, 3, 1, 2)


def scatter_map(
    path: Path, title: str, xy: np.ndarray, label: np.ndarray | None, classes: Sequence[str], names: tuple[str, str]
) -> None:
    """Plot points (N, 2), coloured by label (N,) if given, where -1 is unknown; `names` are those of the axes."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(6.4, 4.9))
        for members, colour, name in _groups(label, classes, len(xy)):
            axes.scatter(xy[members, 0], xy[members, 1], s=9, color=colour, alpha=0.75, linewidths=0, label=name)
        if label is not None and 1 < len(classes) <= MAX_CLASSES:
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), markerscale=2, fontsize=8)
        axes.set(xlabel=names[0], ylabel=names[1])
        _set_title(axes, title, 5.2)
        _save(figure, path)


def _groups(
    label: np.ndarray | None, classes: Sequence[str], n: int
) -> list[tuple[np.ndarray, tuple[float, ...] | str, str]]:
    """Return the points (N,) bool, the colour and the name of each class that occurs."""
    if label is None:
        return [(np.ones(n, bool), NORMAL, "images")]
    colours = plt.get_cmap("tab10" if len(classes) <= 10 else "tab20" if len(classes) <= MAX_CLASSES else "turbo")
    colour = [colours(k if len(classes) <= MAX_CLASSES else k / (len(classes) - 1)) for k in range(len(classes))]
    known = [(label == k, colour[k], truncate(name, 18)) for k, name in enumerate(classes) if (label == k).any()]
    return [*([(label < 0, MUTED, "unknown")] if (label < 0).any() else []), *known]


def latent_plane(path: Path, title: str, images: np.ndarray, first: np.ndarray, second: np.ndarray) -> None:
    """Plot the images (n * m, C, H, W) that a plane of codes decodes to, row by row from the top.

    The values of the two latent dimensions are `first` (m,), to the right, and `second` (n,), downwards.
    """
    tiles = np.stack([np.pad(_tile(image), ((0, 2), (0, 2), (0, 0)), constant_values=255) for image in images])
    height, width = tiles.shape[1:3]
    n, m = len(second), len(first)
    canvas = tiles.reshape(n, m, height, width, 3).transpose(0, 2, 1, 3, 4).reshape(n * height, m * width, 3)
    with plt.rc_context(STYLE):
        figure, axes = _canvas_figure(canvas, 6.2, title)
        at = np.linspace(0, m - 1, 5).round().astype(int), np.linspace(0, n - 1, 5).round().astype(int)
        axes.set_xticks((at[0] + 0.5) * width, [f"{first[k]:.2g}" for k in at[0]], fontsize=8)
        axes.set_yticks((at[1] + 0.5) * height, [f"{second[k]:.2g}" for k in at[1]], fontsize=8)
        axes.set(xlabel="first latent dimension", ylabel="second latent dimension")
        _save(figure, path)


def sorted_shares(path: Path, title: str, values: np.ndarray, even: float, axis: str, ylabel: str) -> None:
    """Plot shares (K,) in descending order, with a line at an even share."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots()
        ordered, place = np.sort(values)[::-1], np.arange(1, len(values) + 1)
        if len(values) <= 64:
            axes.bar(place, ordered, color=NORMAL, width=0.8)
        else:
            axes.fill_between(place, ordered, color=NORMAL, alpha=0.6, step="mid", linewidth=0)
        axes.axhline(even, color=ANOMALOUS, linestyle="--", linewidth=1, label=f"even use: {100 * even:.3g}%")
        axes.set(xlabel=axis, ylabel=ylabel, xlim=(0.5, len(values) + 0.5), ylim=(0, None))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.3g}" if value >= 1 else f"{value:.1%}")
        _set_title(axes, title, STYLE["figure.figsize"][0])
        axes.legend()
        _save(figure, path)


def history_curve(
    path: Path, title: str, history: list[dict[str, float]], name: str, axis: str, maximum: float
) -> None:
    """Plot one column of history.csv over steps, with a line at the maximum that it can reach."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots()
        points = [(row["step"], row[name]) for row in history if name in row]
        axes.plot(*zip(*points, strict=True), color=NORMAL, marker="." if len(points) < 40 else None)
        axes.axhline(maximum, linestyle="--", color=MUTED, linewidth=1, label=f"at most {maximum:g}")
        axes.set(xlabel="optimizer step", ylabel=axis, ylim=(0, 1.08 * maximum))
        _set_title(axes, title, STYLE["figure.figsize"][0])
        axes.legend(loc="lower right")
        _save(figure, path)


def _save(figure: plt.Figure, path: Path) -> None:
    with fitting_fonts(figure):
        figure.savefig(path, bbox_inches="tight", pad_inches=0.12)  # the row names at the side may be long
    plt.close(figure)
