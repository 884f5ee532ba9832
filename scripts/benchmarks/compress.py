"""Bytes against PSNR of `ssl compress`, beside JPEG, WebP and principal components, on a data set's test images.

Two measurements: all test images in one file (.sslz against one sheet of all images as JPEG or WebP, so that no side
pays for ten thousand headers), and each image in its own file. Every byte of a file counts. The model is not in the
file: the table has its size, and from how many images on it pays for itself.
"""

import argparse
import contextlib
import io
import os
import re
import tempfile
import time
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from reports.compress import CodecResult, draw, print_table
from safetensors.torch import save
from sklearn.decomposition import PCA

from ssl_cli.commands.reconstruct import sslz
from ssl_cli.commands.reconstruct.finished import ImageRun, map_full_batches
from ssl_cli.config.choices import built_in_conf
from ssl_cli.config.instantiate import build
from ssl_cli.data.batches import ArrayDataset
from ssl_cli.evaluation.metrics.images import mean_squared_error, psnr
from ssl_cli.methods.build import new_model
from ssl_cli.models.images import to_uint8
from ssl_cli.training.fit import fit

SHARED = Path(os.environ.get("SSL_SHARED", Path(__file__).parents[3] / "shared")) / "data"
FIGURE = Path(__file__).parents[2] / "docs" / "figures" / "compress.png"
QUALITIES = [1, 5, 10, 20, 35, 50, 70, 90]
COMPONENTS = [2, 4, 8, 16, 32, 64]
VAL_IMAGES = 1000  # training images that the loss is measured on, at the end
N_SINGLE = 500  # images that are also written in a file each, the first ones
# The prior is as small as possible: the file does not use it, and its weights make the model larger.
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
class Images:
    """Training and test images (N, C, H, W) uint8 of a data set."""

    train: np.ndarray
    test: np.ndarray
    names: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.names = [f"{k:05}.png" for k in range(len(self.test))]


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="mnist", help="a data set of ssl reconstruct")
    parser.add_argument("--steps", type=int, default=1200, help="optimizer steps of each model")
    parser.add_argument("--runs", nargs="+", default=[], help="finished runs on this data, instead of training models")
    parser.add_argument("--options", nargs="*", default=[], help="further options of ssl reconstruct")
    parser.add_argument("--figure", type=Path, default=FIGURE, help="where the figure goes")
    options = parser.parse_args()
    torch.set_num_threads(1)
    started = time.perf_counter()
    images, runs = load_images(options.data), [ImageRun(Path(run)) for run in options.runs]
    results = [measure_ours(f"{run.config.choices.model} of {run.folder.name}", run.model, images) for run in runs]
    for name, words in OURS.items() if not runs else ():
        results.append(measure_ours(name, train_model([*words, *options.options], options.steps, images), images))
        print(f"{name}: trained and measured, {time.perf_counter() - started:.0f} s since the start", flush=True)
    results += [measure_pca(k, images) for k in COMPONENTS if k < images.test[0].size]
    results += [measure_format(kind, quality, images) for kind in ("JPEG", "WebP") for quality in QUALITIES]
    print_table(results, images.test.shape)
    draw(options.figure, results, images.test.shape, f"{options.data}: {len(images.test):,} test images")


def load_images(data: str) -> Images:
    """Return the images of a data set."""
    splits = build(composed(f"data={data}").data).image_splits(0).splits
    return Images(splits["train"].x, splits["test"].x)


def train_model(words: list[str], steps: int, images: Images) -> Any:
    """Train a model by the code that `ssl reconstruct` runs, on the CPU."""
    cfg = composed(*words, "trainer=cpu", f"trainer.max_steps={steps}", f"trainer.validate_every_n_steps={steps}")
    cfg.facts = {"shape": list(images.train.shape[1:]), "categories": []}
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        model = new_model(cfg)
        fit(model, ArrayDataset({"x": images.train}), ArrayDataset({"x": images.train[:VAL_IMAGES]}), cfg, Path(folder))
    return model.eval()


def composed(*overrides: str) -> DictConfig:
    """Return the config of `ssl reconstruct` with overrides."""
    with initialize_config_dir(str(built_in_conf().resolve()), version_base="1.3"):
        cfg = compose("reconstruct", [f"paths.data={SHARED}", *overrides])
    OmegaConf.set_struct(cfg, False)
    return cfg


def quality_of(x: np.ndarray, reconstruction: np.ndarray) -> float:
    """Return the PSNR in dB of images (N, C, H, W) uint8."""
    return psnr(mean_squared_error(x / np.float32(255), reconstruction / np.float32(255)))


# --- codecs ---------------------------------------------------------------------------------------------------


def sslz_sizes(codes: np.ndarray, counts: np.ndarray, images: Images) -> tuple[int, float]:
    """Return the bytes of one file of all codes (N, L), and of files of one image each, on average."""
    n_bytes = len(sslz.pack(images.names, codes, 0, counts, bytes(16)))
    first = zip(images.names[:N_SINGLE], codes[:N_SINGLE], strict=True)
    return n_bytes, float(np.mean([len(sslz.pack([name], code[None], 0, counts, bytes(16))) for name, code in first]))


def measure_ours(name: str, model: Any, images: Images) -> CodecResult:
    """Measure what `ssl compress` and `ssl decompress` do, without the files."""
    codes = map_full_batches(lambda x: model.codes({"x": x}), images.test)
    decoded = map_full_batches(lambda part: to_uint8(model.decode_codes(part)), codes).reshape(images.test.shape)
    quality = quality_of(images.test, decoded), quality_of(images.test[:N_SINGLE], decoded[:N_SINGLE])
    n_bytes, bytes_each = sslz_sizes(codes, model.code_counts.numpy(), images)
    family = re.split(r"\W", name)[0]
    return CodecResult(family, name, n_bytes, quality[0], bytes_each, quality[1], len(save(model.state_dict())))


def measure_pca(k: int, images: Images) -> CodecResult:
    """Measure k principal components, each a byte between its extremes in training, in the same file format."""
    pca = PCA(k, random_state=0).fit(images.train.reshape(len(images.train), -1).astype(np.float32))
    train, test = (pca.transform(x.reshape(len(x), -1).astype(np.float32)) for x in (images.train, images.test))
    low, step = train.min(0), np.ptp(train, axis=0) / 255
    train_codes, codes = (np.round((part - low) / step).clip(0, 255).astype(np.int64) for part in (train, test))
    counts = np.stack([np.bincount(component, minlength=256) for component in train_codes.T])
    decoded = pca.inverse_transform(codes * step + low).round().clip(0, 255).astype(np.uint8)
    decoded = decoded.reshape(images.test.shape)
    n_bytes, bytes_each = sslz_sizes(codes, counts, images)
    quality = quality_of(images.test, decoded), quality_of(images.test[:N_SINGLE], decoded[:N_SINGLE])
    model_bytes = 4 * (pca.components_.size + pca.mean_.size + 2 * k) + 4 * counts.size
    return CodecResult(
        "PCA", f"PCA, {k} components of a byte", n_bytes, quality[0], bytes_each, quality[1], model_bytes
    )


def measure_format(kind: str, quality: int, images: Images) -> CodecResult:
    """Measure a format of Pillow's: one sheet of all images, and each of the first images in a file."""
    x = images.test
    columns = int(np.ceil(np.sqrt(len(x))))
    n_bytes, sheet = encode_and_decode(kind, quality, to_sheet(x, columns))
    decoded = from_sheet(sheet, columns, x.shape)
    singles = [encode_and_decode(kind, quality, to_pillow(image)) for image in x[:N_SINGLE]]
    decoded_singles = np.stack([to_array(image) for _, image in singles])
    return CodecResult(
        kind,
        f"{kind}, quality {quality}",
        n_bytes,
        quality_of(x, decoded),
        float(np.mean([size for size, _ in singles])),
        quality_of(x[:N_SINGLE], decoded_singles),
    )


def encode_and_decode(kind: str, quality: int, image: Image.Image) -> tuple[int, Image.Image]:
    """Return the bytes of the file and the decoded image, with the encoder's best effort."""
    effort: dict[str, Any] = {"JPEG": {"optimize": True}, "WebP": {"method": 6}}[kind]
    file = BytesIO()
    image.save(file, kind, quality=quality, **effort)
    return file.tell(), Image.open(file).convert(image.mode)


def to_pillow(image: np.ndarray) -> Image.Image:
    """Return a Pillow image of an array (C, H, W)."""
    return Image.fromarray(np.ascontiguousarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)))


def to_array(image: Image.Image) -> np.ndarray:
    """Return the array (C, H, W) of a Pillow image."""
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def to_sheet(x: np.ndarray, columns: int) -> Image.Image:
    """Return images (N, C, H, W) side by side on one image, black in the empty places."""
    n, channels, height, width = x.shape
    rows = -(-n // columns)
    full = np.zeros((rows * columns, channels, height, width), np.uint8)
    full[:n] = x
    tiles = full.reshape(rows, columns, channels, height, width).transpose(2, 0, 3, 1, 4)
    return to_pillow(tiles.reshape(channels, rows * height, columns * width))


def from_sheet(sheet: Image.Image, columns: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return the images (N, C, H, W) on a sheet."""
    n, channels, height, width = shape
    tiles = to_array(sheet).reshape(channels, -1, height, columns, width).transpose(1, 3, 0, 2, 4)
    return tiles.reshape(-1, channels, height, width)[:n]


if __name__ == "__main__":
    main()
