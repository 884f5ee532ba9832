"""ssl decompress: a file of ssl compress -> the images that its run reconstructs, as PNG."""

from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from ssl_cli import console
from ssl_cli.commands.reconstruct import sslz
from ssl_cli.commands.reconstruct.codec import Coder, checksum
from ssl_cli.commands.reconstruct.finished import reopen
from ssl_cli.commands.reconstruct.sslz_names import places, refuse_outside
from ssl_cli.errors import InputError
from ssl_cli.evaluation.plots import image_grid
from ssl_cli.runs.outputs import results


def run(cfg: DictConfig) -> Path:
    """Decompress `cfg.input` into the folder `cfg.output`, whose path it returns."""
    source, output = Path(cfg.input).expanduser(), Path(cfg.output).expanduser()
    if not source.is_file():
        raise InputError(f"input={source} is not a file.")
    finished = reopen(cfg.run, cfg.paths.outputs, cfg.trust)
    coder = Coder(finished)
    compressed = sslz.unpack(source, coder.fingerprint, coder.name)
    names = places(compressed.names)
    refuse_outside(output, names)
    console.say(f"decompress {source} with {finished.folder}")
    with (
        results(cfg.output, cfg.overwrite, output.parent) as (folder, place),
        console.progress("images", len(names)) as advance,
    ):
        done = found = 0
        for codes in compressed.codes(coder.counts):
            images = coder.decode(codes)
            found = checksum(images, found)
            for name, image in zip(names[done:], images, strict=False):
                write(folder / name, image)
            done += len(images)
            advance(done, "")
    print_summary(compressed, done, found)
    return place


def write(path: Path, image: np.ndarray) -> None:
    """One image (C, H, W), as PNG"""
    if path.exists():
        raise InputError(f"{path.name}: here, where capitals don't count, two images have this name.")
    path.parent.mkdir(parents=True, exist_ok=True)
    image_grid.save(path, image)


def print_summary(compressed: sslz.Compressed, done: int, found: int) -> None:
    console.say(f"{done:,} images of {compressed.size:,} bytes")
    if found == compressed.pixels:
        console.say("each pixel is what it was when they were compressed: the checksum fits")
    else:
        console.warn(
            "the codes are whole, but some pixels differ from those at compression, by what this machine or this "
            "version of torch rounds otherwise"
        )
