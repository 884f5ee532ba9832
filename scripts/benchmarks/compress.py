"""Bytes against PSNR of `ssl compress`, beside JPEG, WebP and principal components, on a data set's test images.

Twice: all test images as one file (.sslz against one sheet of all images as JPEG or WebP, so that nobody pays for ten
thousand headers), and each image as a file of its own. Every byte of a file counts. The model isn't in the file: its
size, and how many images must be sent before it has paid for itself, are in the table.
"""

import argparse
import contextlib
import io
import os
import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from safetensors.torch import save
from sklearn.decomposition import PCA

from ssl_cli.commands.reconstruct import sslz
from ssl_cli.commands.reconstruct.finished import ReconstructRun, in_batches
from ssl_cli.config.choices import built_in_conf
from ssl_cli.config.instantiate import build
from ssl_cli.data.batches import ArrayDataset
from ssl_cli.evaluation.metrics.images import mean_squared_error, psnr
from ssl_cli.models.images import in_bytes
from ssl_cli.training.fit import fit, new_model

SHARED = Path(os.environ.get("SSL_SHARED", Path(__file__).parents[3] / "shared")) / "data"
FIGURE = Path(__file__).parents[2] / "docs" / "figures" / "compress.png"
QUALITIES = [1, 5, 10, 20, 35, 50, 70, 90]
COMPONENTS = [2, 4, 8, 16, 32, 64]
WATCHED = 1000  # training images that the loss is measured on, at the end
TICKS = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50]  # bits a pixel, in the figure
EACH = 500  # images that are written as files of their own, the first ones
# The prior is left out, since the file doesn't use it: its weights would only make the model larger.
VQVAE = ["model=vqvae", "model.prior_width=2", "model.prior_layers=1", "model.network.blocks=1"]
OURS = {
    "vqvae, halved twice, 16 codes": [*VQVAE, "model.network.channels=[16,32]", "model.quantizer.num_codes=16"],
    "vqvae, halved twice, 256 codes": [*VQVAE, "model.network.channels=[16,32]", "model.quantizer.num_codes=256"],
    "vqvae, halved once, 64 codes": [*VQVAE, "model.network.channels=[24]", "model.quantizer.num_codes=64"],
    "binary_ae, 64 bits": ["model=binary_ae", "model.network.latent=64"],
    "binary_ae, 128 bits": ["model=binary_ae", "model.network.latent=128"],
    "binary_ae, 256 bits": ["model=binary_ae", "model.network.latent=256"],
}


@dataclass
class Way:
    """One way to compress: bytes of all images in one file, of the first ones in files of their own; and their dB."""

    family: str
    name: str
    together: int
    psnr: float
    each: float  # bytes a file
    psnr_each: float
    model: int = 0  # bytes that both sides need besides


@dataclass
class Images:
    """`train` and `test` images (N, C, H, W) uint8 of a data set."""

    train: np.ndarray
    test: np.ndarray
    names: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.names = [f"{k:05}.png" for k in range(len(self.test))]

    @property
    def pixels(self) -> int:
        """of an image"""
        return self.test.shape[2] * self.test.shape[3]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="mnist", help="a data set of ssl reconstruct")
    parser.add_argument("--steps", type=int, default=1200, help="optimizer steps of each model")
    parser.add_argument("--runs", nargs="+", default=[], help="finished runs on this data, instead of training some")
    parser.add_argument("--options", nargs="*", default=[], help="further options of ssl reconstruct")
    parser.add_argument("--figure", type=Path, default=FIGURE, help="where the figure goes")
    options = parser.parse_args()
    torch.set_num_threads(1)
    started = time.perf_counter()
    images, models = prepared(options.data), [ReconstructRun(Path(run)) for run in options.runs]
    ways = [ours(f"{run.config.choices.model} of {run.folder.name}", run.model, images) for run in models]
    for name, words in OURS.items() if not models else ():
        ways.append(ours(name, trained([*words, *options.options], options.steps, images), images))
        print(f"{name}: trained and measured, {time.perf_counter() - started:.0f} s since the start", flush=True)
    ways += [components(k, images) for k in COMPONENTS if k < images.test[0].size]
    ways += [rival(kind, quality, images) for kind in ("JPEG", "WebP") for quality in QUALITIES]
    table(ways, images)
    draw(options.figure, ways, images, f"{options.data}: {len(images.test):,} test images")


def prepared(data: str) -> Images:
    splits = build(composed(f"data={data}").data).pictures(0).splits
    return Images(splits["train"].x, splits["test"].x)


def trained(words: list[str], steps: int, images: Images) -> Any:
    """A model, by the code that `ssl reconstruct` runs, on the CPU."""
    cfg = composed(*words, "trainer=cpu", f"trainer.max_steps={steps}", f"trainer.validate_every_n_steps={steps}")
    cfg.facts = {"shape": list(images.train.shape[1:])}
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        model = new_model(cfg)
        fit(model, ArrayDataset({"x": images.train}), ArrayDataset({"x": images.train[:WATCHED]}), cfg, Path(folder))
    return model.eval()


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(built_in_conf().resolve()), version_base="1.3"):
        cfg = compose("reconstruct", [f"paths.data={SHARED}", *overrides])
    OmegaConf.set_struct(cfg, False)
    return cfg


def quality_of(x: np.ndarray, rebuilt: np.ndarray) -> float:
    """dB, of images (N, C, H, W) uint8"""
    return psnr(mean_squared_error(x / np.float32(255), rebuilt / np.float32(255)))


# --- the ways -------------------------------------------------------------------------------------------------


def in_sslz(codes: np.ndarray, counts: np.ndarray, images: Images) -> tuple[int, float]:
    """Bytes of one file of all codes (N, L), and of files of one image each, on average."""
    whole = len(sslz.pack(images.names, codes, 0, counts, bytes(16)))
    first = zip(images.names[:EACH], codes[:EACH], strict=True)
    return whole, float(np.mean([len(sslz.pack([name], code[None], 0, counts, bytes(16))) for name, code in first]))


def ours(name: str, model: Any, images: Images) -> Way:
    """As `ssl compress` and `ssl decompress` do it, without the files."""
    codes = in_batches(lambda x: model.codes({"x": x}), images.test)
    rebuilt = in_batches(lambda part: in_bytes(model.decode_codes(part)), codes).reshape(images.test.shape)
    quality = quality_of(images.test, rebuilt), quality_of(images.test[:EACH], rebuilt[:EACH])
    whole, alone = in_sslz(codes, model.code_counts.numpy(), images)
    family = re.split(r"\W", name)[0]
    return Way(family, name, whole, quality[0], alone, quality[1], len(save(model.state_dict())))


def components(k: int, images: Images) -> Way:
    """k principal components, each a byte between its least and largest in training, in the same file format."""
    fitted = PCA(k, random_state=0).fit(images.train.reshape(len(images.train), -1).astype(np.float32))
    parts = [fitted.transform(x.reshape(len(x), -1).astype(np.float32)) for x in (images.train, images.test)]
    low, step = parts[0].min(0), np.ptp(parts[0], axis=0) / 255
    codes = [np.round((part - low) / step).clip(0, 255).astype(np.int64) for part in parts]
    counts = np.stack([np.bincount(place, minlength=256) for place in codes[0].T])
    rebuilt = fitted.inverse_transform(codes[1] * step + low).round().clip(0, 255).astype(np.uint8)
    rebuilt = rebuilt.reshape(images.test.shape)
    whole, alone = in_sslz(codes[1], counts, images)
    quality = quality_of(images.test, rebuilt), quality_of(images.test[:EACH], rebuilt[:EACH])
    size = 4 * (fitted.components_.size + fitted.mean_.size + 2 * k) + 4 * counts.size
    return Way("PCA", f"PCA, {k} components of a byte", whole, quality[0], alone, quality[1], size)


def rival(kind: str, quality: int, images: Images) -> Way:
    """A format of Pillow's: one sheet of all images; each image a file."""
    x = images.test
    columns = int(np.ceil(np.sqrt(len(x))))
    sheet = as_sheet(x, columns)
    content, back = through(kind, quality, sheet)
    rebuilt = from_sheet(back, columns, x.shape)
    found = [through(kind, quality, picture(image)) for image in x[:EACH]]
    alone = np.stack([planes(image) for _, image in found])
    return Way(
        kind,
        f"{kind}, quality {quality}",
        content,
        quality_of(x, rebuilt),
        float(np.mean([size for size, _ in found])),
        quality_of(x[:EACH], alone),
    )


def through(kind: str, quality: int, image: Image.Image) -> tuple[int, Image.Image]:
    """Bytes of the file, and what it shows; at the format's own best effort."""
    effort = {"JPEG": {"optimize": True}, "WebP": {"method": 6}}[kind]
    file = BytesIO()
    image.save(file, kind, quality=quality, **effort)
    return file.tell(), Image.open(file).convert(image.mode)


def picture(image: np.ndarray) -> Image.Image:
    """(C, H, W)"""
    return Image.fromarray(np.ascontiguousarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)))


def planes(image: Image.Image) -> np.ndarray:
    """(C, H, W)"""
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def as_sheet(x: np.ndarray, columns: int) -> Image.Image:
    """Images (N, C, H, W) side by side, black where none is left."""
    n, channels, height, width = x.shape
    rows = -(-n // columns)
    full = np.zeros((rows * columns, channels, height, width), np.uint8)
    full[:n] = x
    tiles = full.reshape(rows, columns, channels, height, width).transpose(2, 0, 3, 1, 4)
    return picture(tiles.reshape(channels, rows * height, columns * width))


def from_sheet(sheet: Image.Image, columns: int, shape: tuple[int, ...]) -> np.ndarray:
    n, channels, height, width = shape
    tiles = planes(sheet).reshape(channels, -1, height, columns, width).transpose(1, 3, 0, 2, 4)
    return tiles.reshape(-1, channels, height, width)[:n]


# --- what came of it ------------------------------------------------------------------------------------------


def table(ways: list[Way], images: Images) -> None:
    print(f"\n{len(images.test):,} test images of {' x '.join(map(str, images.test.shape[1:]))}, one thread.\n")
    print(
        "| | one file, bytes | bits a pixel | PSNR, dB | a file an image, bytes | PSNR, dB | model, bytes | pays from |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for way in ways:
        rate = 8 * way.together / (len(images.test) * images.pixels)
        model = f"{way.model:,}" if way.model else "none"
        print(
            f"| {way.name} | {way.together:,} | {rate:.4f} | {way.psnr:.2f} | {way.each:,.0f} | {way.psnr_each:.2f} "
            f"| {model} | {pays_from(way, ways, len(images.test))} |"
        )


def pays_from(way: Way, ways: list[Way], n: int) -> str:
    """How many images a model and its file need to be smaller than the smaller of the sheets of that quality."""
    if not way.model:
        return ""
    sheets = [other for other in ways if not other.model]
    if way.psnr < min(sheet.psnr for sheet in sheets):
        return "no sheet is so poor"
    found = [at_quality([sheet for sheet in sheets if sheet.family == kind], way.psnr) for kind in ("JPEG", "WebP")]
    known = [size for size in found if size is not None]
    if not known:
        return "no sheet is so good"
    saved = (min(known) - way.together) / n  # bytes an image
    return f"{way.model / saved:,.0f} images" if saved > 0 else "never"


def at_quality(ways: list[Way], wanted: float) -> float | None:
    """Bytes of the smallest sheet of a PSNR, or above, between two that were measured; None where all are below."""
    ways = sorted(ways, key=lambda way: way.psnr)
    if wanted > ways[-1].psnr:
        return None
    return float(np.exp(np.interp(wanted, [way.psnr for way in ways], np.log([way.together for way in ways]))))


def label(family: str, ways: list[Way]) -> str:
    """With the size of its models, which the curves leave out."""
    sizes = [way.model / 1e6 for way in ways if way.family == family and way.model]
    return f"{family} (and a model of {min(sizes):.2g} to {max(sizes):.2g} MB)" if sizes else family


def draw(path: Path, ways: list[Way], images: Images, title: str) -> None:
    from matplotlib.ticker import FormatStrFormatter, NullFormatter

    from ssl_cli.evaluation.plots.curves import STYLE, plt

    panels: list[tuple[str, Callable[[Way], tuple[float, float]]]] = [
        (f"{title}, one file of all", lambda way: (way.together / len(images.test), way.psnr)),
        ("each image a file", lambda way: (way.each, way.psnr_each)),
    ]
    marks = {"vqvae": "o", "binary_ae": "s", "PCA": "^", "JPEG": None, "WebP": None}
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(1, 2, figsize=(10.4, 4.4), sharey=True)
        for axes, (name, place) in zip(grid, panels, strict=True):
            for family in dict.fromkeys(way.family for way in ways):
                points = sorted(place(way) for way in ways if way.family == family)
                rates, heights = [8 * size / images.pixels for size, _ in points], [height for _, height in points]
                axes.plot(rates, heights, marker=marks.get(family, "D"), label=label(family, ways))
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


if __name__ == "__main__":
    main()
