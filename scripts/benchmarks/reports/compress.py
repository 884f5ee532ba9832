"""Table and figure of the benchmark compress: rate against quality of each codec."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.ticker import FormatStrFormatter, NullFormatter

from ssl_cli.evaluation.plots.curves import STYLE, plt

TICKS = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50]  # bits a pixel, in the figure
MARKERS = {"vqvae": "o", "binary_ae": "s", "PCA": "^", "JPEG": None, "WebP": None}


@dataclass
class CodecResult:
    """Size and quality of one codec: all images in one file, and the first ones in a file each."""

    family: str
    name: str
    n_bytes: int  # of one file of all images
    psnr: float  # dB
    bytes_each: float  # of a file of one image, on average
    psnr_each: float
    model_bytes: int = 0  # that both sides need besides


def print_table(results: list[CodecResult], shape: tuple[int, ...]) -> None:
    """Print a row for each codec; `shape` (N, C, H, W) is that of the images."""
    n, n_pixels = shape[0], shape[2] * shape[3]
    print(f"\n{n:,} test images of {' x '.join(map(str, shape[1:]))}, one thread.\n")
    print(
        "| | one file, bytes | bits a pixel | PSNR, dB | a file an image, bytes | PSNR, dB | model, bytes | pays from |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for result in results:
        rate = 8 * result.n_bytes / (n * n_pixels)
        model = f"{result.model_bytes:,}" if result.model_bytes else "none"
        print(
            f"| {result.name} | {result.n_bytes:,} | {rate:.4f} | {result.psnr:.2f} | {result.bytes_each:,.0f} "
            f"| {result.psnr_each:.2f} | {model} | {pays_from(result, results, n)} |"
        )


def pays_from(result: CodecResult, results: list[CodecResult], n: int) -> str:
    """Return from how many images on a model and its file are smaller than the smallest sheet of that quality."""
    if not result.model_bytes:
        return ""
    sheets = [other for other in results if not other.model_bytes]
    if result.psnr < min(sheet.psnr for sheet in sheets):
        return "no sheet is so poor"
    sizes = [
        size_at_quality([sheet for sheet in sheets if sheet.family == kind], result.psnr) for kind in ("JPEG", "WebP")
    ]
    known = [size for size in sizes if size is not None]
    if not known:
        return "no sheet is so good"
    saved = (min(known) - result.n_bytes) / n  # bytes an image
    return f"{result.model_bytes / saved:,.0f} images" if saved > 0 else "never"


def size_at_quality(results: list[CodecResult], psnr: float) -> float | None:
    """Return the bytes of a sheet of a PSNR, interpolated between two measured ones; None if all are below it."""
    results = sorted(results, key=lambda result: result.psnr)
    if psnr > results[-1].psnr:
        return None
    sizes = np.log([result.n_bytes for result in results])
    return float(np.exp(np.interp(psnr, [result.psnr for result in results], sizes)))


def label(family: str, results: list[CodecResult]) -> str:
    """Return the legend of a family, with the size of its models, which the curves leave out."""
    sizes = [result.model_bytes / 1e6 for result in results if result.family == family and result.model_bytes]
    return f"{family} (and a model of {min(sizes):.2g} to {max(sizes):.2g} MB)" if sizes else family


def draw(path: Path, results: list[CodecResult], shape: tuple[int, ...], title: str) -> None:
    """Plot PSNR against bits a pixel: all images in one file, and each in a file; `shape` is that of the images."""
    n, n_pixels = shape[0], shape[2] * shape[3]
    panels: list[tuple[str, Callable[[CodecResult], tuple[float, float]]]] = [
        (f"{title}, one file of all", lambda result: (result.n_bytes / n, result.psnr)),
        ("each image a file", lambda result: (result.bytes_each, result.psnr_each)),
    ]
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(1, 2, figsize=(10.4, 4.4), sharey=True)
        for axes, (name, point) in zip(grid, panels, strict=True):
            for family in dict.fromkeys(result.family for result in results):
                points = sorted(point(result) for result in results if result.family == family)
                rates, heights = [8 * size / n_pixels for size, _ in points], [height for _, height in points]
                axes.plot(rates, heights, marker=MARKERS.get(family, "D"), label=label(family, results))
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
            axes.xaxis.set_minor_formatter(NullFormatter())
            low, high = axes.get_xlim()
            axes.set_xticks([tick for tick in TICKS if low <= tick <= high])
            axes.set(xlabel="bits a pixel, all of the file included", title=name)
        grid[0].set_ylabel("PSNR, dB")
        grid[0].legend(fontsize=8)
        figure.tight_layout()
        figure.savefig(path)
        plt.close(figure)
    print(f"\n{path}")
