"""Arrays of images and codes -> figures. Each function draws one PNG. Images are (N, C, H, W) uint8, grey or RGB."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from ssl_cli.evaluation.plots.curves import MUTED, NORMAL, STRANGE, STYLE, cut

CELL = 0.62  # inches, an image's width
LEAST_PIXELS, GAP = 56, 6  # of an image as it is drawn, and between two
LEAST_WIDTH = 4.2  # inches, of a figure
MOST_CLASSES = 20  # with a colour each
Rows = Sequence[tuple[str, np.ndarray]]


def rows(path: Path, title: str, lines: Rows, columns: Sequence[str] = (), bands: int = 0) -> None:
    """Rows of images under one another, each with its name; after every `bands` rows, if any, comes a wider gap."""
    across = max(len(images) for _, images in lines)
    tiles = [[_tile(image) for image in images] for _, images in lines]
    height, width = tiles[0][0].shape[:2]
    tops = [k * (height + GAP) + (k // bands * 3 * GAP if bands else 0) for k in range(len(lines))]
    canvas = np.full((tops[-1] + height, across * (width + GAP) - GAP, 3), 255, np.uint8)
    for top, line in zip(tops, tiles, strict=True):
        for k, tile in enumerate(line):
            canvas[top : top + height, k * (width + GAP) : k * (width + GAP) + width] = tile
    with plt.rc_context(STYLE):
        figure, axes = _canvas(canvas, across * CELL, title)
        axes.set_yticks([top + height / 2 for top in tops], [cut(name, 24) for name, _ in lines], fontsize=8)
        places = [k * (width + GAP) + width / 2 for k in range(len(columns))]
        axes.set_xticks(places, columns, fontsize=7)
        _save(figure, path)


def sheet(path: Path, title: str, images: np.ndarray, across: int, captions: Sequence[str] = ()) -> None:
    """Images side by side, `across` in a row, each with a caption above it, where there are some."""
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
        figure, axes = _canvas(canvas, across * CELL * (1.25 if captions else 1), title)
        for (top, left), caption in zip(places, captions, strict=False):
            axes.text(left + width / 2, top - 2, caption, ha="center", va="bottom", fontsize=6.5, linespacing=1.0)
        axes.set_xticks([])
        axes.set_yticks([])
        _save(figure, path)


def _tile(image: np.ndarray) -> np.ndarray:
    """(C, H, W) -> (h, w, 3), enlarged by a whole number where it is small; what has no colours of ours, its first."""
    scale = max(1, -(-LEAST_PIXELS // image.shape[2]))
    shown = image if len(image) == 3 else np.repeat(image[:1], 3, axis=0)
    return shown.transpose(1, 2, 0).repeat(scale, axis=0).repeat(scale, axis=1)


def _canvas(canvas: np.ndarray, width: float, title: str) -> tuple[plt.Figure, plt.Axes]:
    """A picture as a figure without axes, `width` inches wide."""
    height = width * canvas.shape[0] / canvas.shape[1]
    figure, axes = plt.subplots(figsize=(max(width + 0.9, LEAST_WIDTH), height + 0.75))
    axes.imshow(canvas, interpolation="nearest" if canvas.shape[1] < 130 * width else "antialiased")
    _title(axes, title, max(width + 0.9, LEAST_WIDTH))
    axes.grid(False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure, axes


def _title(axes: plt.Axes, title: str, width: float) -> None:
    title, most = title.replace("$", r"\$"), int(12.5 * width)
    lines = textwrap.wrap(title, most)
    if len(lines) > 1:  # of about one length
        lines = textwrap.wrap(title, min(most, len(title) // len(lines) + 8))
    axes.set_title("\n".join(lines), fontsize=9.5)


def codes_as_images(codes: np.ndarray, alphabet: int, size: tuple[int, int]) -> np.ndarray:
    """Grids of codes (N, h, w) -> (N, 3, H, W) uint8 of `size`: a colour for each code."""
    order = np.random.default_rng(0).permutation(alphabet)  # neighbours in the codebook are no neighbours in colour
    colours = (plt.get_cmap("nipy_spectral")(order / max(alphabet - 1, 1))[:, :3] * 255).astype(np.uint8)
    down, right = (np.arange(n) * grid // n for n, grid in zip(size, codes.shape[1:], strict=True))
    return colours[codes[:, down][:, :, right]].transpose(0, 3, 1, 2)


def points(
    path: Path, title: str, xy: np.ndarray, label: np.ndarray | None, classes: Sequence[str], names: tuple[str, str]
) -> None:
    """A map (N, 2), coloured by label (N,) where there are some, -1 for unknown; `names` are those of its axes."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(6.4, 4.9))
        for which, colour, name in _groups(label, classes, len(xy)):
            axes.scatter(xy[which, 0], xy[which, 1], s=9, color=colour, alpha=0.75, linewidths=0, label=name)
        if label is not None and 1 < len(classes) <= MOST_CLASSES:
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), markerscale=2, fontsize=8)
        axes.set(xlabel=names[0], ylabel=names[1])
        _title(axes, title, 5.2)
        _save(figure, path)


def _groups(
    label: np.ndarray | None, classes: Sequence[str], n: int
) -> list[tuple[np.ndarray, tuple[float, ...] | str, str]]:
    """Which points, their colour, their name."""
    if label is None:
        return [(np.ones(n, bool), NORMAL, "images")]
    colours = plt.get_cmap("tab10" if len(classes) <= 10 else "tab20" if len(classes) <= MOST_CLASSES else "turbo")
    shade = [colours(k if len(classes) <= MOST_CLASSES else k / (len(classes) - 1)) for k in range(len(classes))]
    known = [(label == k, shade[k], cut(name, 18)) for k, name in enumerate(classes) if (label == k).any()]
    return [*([(label < 0, MUTED, "unknown")] if (label < 0).any() else []), *known]


def plane(path: Path, title: str, images: np.ndarray, first: np.ndarray, second: np.ndarray) -> None:
    """What a plane of codes decodes to: images (n * m, C, H, W), row by row from the top; the values of the two numbers
    are `first` (m,), to the right, and `second` (n,), downwards."""
    tiles = np.stack([np.pad(_tile(image), ((0, 2), (0, 2), (0, 0)), constant_values=255) for image in images])
    height, width = tiles.shape[1:3]
    n, m = len(second), len(first)
    canvas = tiles.reshape(n, m, height, width, 3).transpose(0, 2, 1, 3, 4).reshape(n * height, m * width, 3)
    with plt.rc_context(STYLE):
        figure, axes = _canvas(canvas, 6.2, title)
        at = np.linspace(0, m - 1, 5).round().astype(int), np.linspace(0, n - 1, 5).round().astype(int)
        axes.set_xticks((at[0] + 0.5) * width, [f"{first[k]:.2g}" for k in at[0]], fontsize=8)
        axes.set_yticks((at[1] + 0.5) * height, [f"{second[k]:.2g}" for k in at[1]], fontsize=8)
        axes.set(xlabel="first number of the code", ylabel="second number of the code")
        _save(figure, path)


def shares(path: Path, title: str, values: np.ndarray, even: float, axis: str, what: str) -> None:
    """Shares (K,) from the largest down, beside an even one."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots()
        ordered, place = np.sort(values)[::-1], np.arange(1, len(values) + 1)
        if len(values) <= 64:
            axes.bar(place, ordered, color=NORMAL, width=0.8)
        else:
            axes.fill_between(place, ordered, color=NORMAL, alpha=0.6, step="mid", linewidth=0)
        axes.axhline(even, color=STRANGE, linestyle="--", linewidth=1, label=f"even use: {100 * even:.3g}%")
        axes.set(xlabel=axis, ylabel=what, xlim=(0.5, len(values) + 0.5), ylim=(0, None))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.3g}" if value >= 1 else f"{value:.1%}")
        _title(axes, title, STYLE["figure.figsize"][0])
        axes.legend()
        _save(figure, path)


def curve(path: Path, title: str, history: list[dict[str, float]], name: str, axis: str, most: float) -> None:
    """One column of history.csv over steps, below the `most` it can be."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots()
        told = [(row["step"], row[name]) for row in history if name in row]
        axes.plot(*zip(*told, strict=True), color=NORMAL, marker="." if len(told) < 40 else None)
        axes.axhline(most, linestyle="--", color=MUTED, linewidth=1, label=f"at most {most:g}")
        axes.set(xlabel="optimizer step", ylabel=axis, ylim=(0, 1.08 * most))
        _title(axes, title, STYLE["figure.figsize"][0])
        axes.legend(loc="lower right")
        _save(figure, path)


def _save(figure: plt.Figure, path: Path) -> None:
    figure.savefig(path, bbox_inches="tight", pad_inches=0.12)  # names at the side may be long
    plt.close(figure)
