"""ssl decompress: turn a file of ssl compress into the PNG images or the WAV recordings that its run decodes."""

from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from ssl_cli import console
from ssl_cli.commands.reconstruct import sslz
from ssl_cli.commands.reconstruct.codec import ImageCodec, checksum
from ssl_cli.commands.reconstruct.finished import reopen
from ssl_cli.commands.reconstruct.sslz_names import check_stays_inside, output_paths
from ssl_cli.commands.speech.codec import decompress_speech
from ssl_cli.commands.speech.finished import SpeechRun
from ssl_cli.errors import InputError
from ssl_cli.evaluation.plots import image_grid
from ssl_cli.runs.outputs import output_folder


def run(cfg: DictConfig) -> Path:
    """Decompress `cfg.input` into the folder `cfg.output`, and return its path."""
    source, output = Path(cfg.input).expanduser(), Path(cfg.output).expanduser()
    if not source.is_file():
        raise InputError(f"input={source} is not a file.")
    finished = reopen(cfg.run, cfg.paths.outputs, cfg.trust)
    if isinstance(finished, SpeechRun):
        return decompress_speech(cfg, source, finished)
    codec = ImageCodec(finished)
    compressed = sslz.unpack(source, codec.fingerprint, codec.name)
    names = output_paths(compressed.names)
    check_stays_inside(output, names)
    console.say(f"decompress {source} with {finished.folder}")
    with (
        output_folder(cfg.output, cfg.overwrite, output.parent) as (folder, place),
        console.progress("images", len(names)) as advance,
    ):
        n_done = pixel_checksum = 0
        for codes in compressed.codes(codec.counts):
            images = codec.decode(codes)
            pixel_checksum = checksum(images, pixel_checksum)
            for name, image in zip(names[n_done:], images, strict=False):
                write_png(folder / name, image)
            n_done += len(images)
            advance(n_done, "")
    print_summary(compressed, n_done, pixel_checksum)
    return place


def write_png(path: Path, image: np.ndarray) -> None:
    """Write one image (C, H, W). Raises InputError if the file exists."""
    if path.exists():
        raise InputError(f"{path.name}: two images have this name, on a disk that ignores upper and lower case.")
    path.parent.mkdir(parents=True, exist_ok=True)
    image_grid.save(path, image)


def print_summary(compressed: sslz.CompressedImages, n_images: int, pixel_checksum: int) -> None:
    """Print the sizes, and whether the pixels are the same as at compression."""
    console.say(f"{n_images:,} images of {compressed.size:,} bytes")
    if pixel_checksum == compressed.pixel_checksum:
        console.say("each pixel is the same as at compression: the checksum matches")
    else:
        console.warn(
            "the codes are intact, but some pixels differ from those at compression: this machine or this version of "
            "torch rounds differently"
        )
