"""ssl compress: compress images or speech to one .sslz file of codes, with a run whose model has discrete codes."""

import os
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from ssl_cli import console
from ssl_cli.commands.reconstruct import sslz
from ssl_cli.commands.reconstruct.codec import ImageCodec, checksum, entropy_bits
from ssl_cli.commands.reconstruct.finished import reopen
from ssl_cli.commands.speech.codec import compress_speech
from ssl_cli.commands.speech.finished import SpeechRun
from ssl_cli.data.images.datasets import format_shape
from ssl_cli.errors import InputError
from ssl_cli.evaluation.metrics.images import mean_squared_error, psnr
from ssl_cli.runs.outputs import warn_about_rejected_files, write_output_file


def run(cfg: DictConfig) -> Path:
    """Compress `cfg.input` into `cfg.output`, and return its path."""
    source, output = checked_paths(cfg)
    finished = reopen(cfg.run, cfg.paths.outputs, cfg.trust)
    if isinstance(finished, SpeechRun):
        return compress_speech(source, output, finished)
    codec = ImageCodec(finished)
    console.say(f"compress {source} with {finished.folder}")
    names, x, rejected = finished.read(source)
    for warning in finished.reader.warnings:
        console.warn(warning)
    warn_about_rejected_files(rejected, len(names), reasons_written=False)
    codes = finished.codes(x)
    rebuilt = codec.decode(codes)
    content = sslz.pack(names, codes, checksum(rebuilt), codec.counts, codec.fingerprint)
    write_output_file(output, content)
    print_rate(x, total_bytes(source, names), content)
    print_sizes(codec, codes, content)
    print_psnr(x, rebuilt)
    return output


def checked_paths(cfg: DictConfig) -> tuple[Path, Path]:
    """Return the input and output path. Raises InputError if one is missing, or a file would be overwritten."""
    source, output = Path(cfg.input).expanduser(), Path(cfg.output).expanduser()
    if not source.exists():
        raise InputError(f"input={source}: there is no such file or folder.")
    if not output.parent.is_dir():
        raise InputError(f"output={output}: there is no folder {output.parent}; make it first.")
    if output.is_dir():
        raise InputError(f"output={output} is a folder; name a file in it.")
    if os.path.lexists(output) and not cfg.overwrite:
        raise InputError(f"output={output} exists: name another file, or set overwrite=true.")
    if output.exists() and output.resolve() == source.resolve():
        raise InputError(f"output={output} is the input itself: name another file.")
    return source, output


def total_bytes(source: Path, names: list[str]) -> int:
    """Return the bytes of the files of the images; of a zip, its own."""
    return sum((source / name).stat().st_size for name in names) if source.is_dir() else source.stat().st_size


# --- summary ------------------------------------------------------------------------------------------------


def print_rate(x: np.ndarray, input_bytes: int, content: bytes) -> None:
    """Print the sizes before and after, and bits per pixel; the files of images x (N, C, H, W) have `input_bytes`."""
    n, _, height, width = x.shape
    console.say(f"images: {n:,} of {format_shape(list(x.shape[1:]))}")
    console.say(f"bytes: {input_bytes:,} in files, {x.size:,} as pixels, {len(content):,} compressed")
    rate = 8 * len(content) / (n * height * width)
    console.say(f"rate: {rate:.4f} bits per pixel in all; {x.size / len(content):.1f} times fewer than the pixels")


def print_sizes(codec: ImageCodec, codes: np.ndarray, content: bytes) -> None:
    """Print the size of each part of the file, and lower bounds for the codes."""
    sizes = sslz.part_sizes(content)
    console.say("of these: " + ", ".join(f"{name} {size:,}" for name, size in sizes.items()))
    ideal, own = codec.ideal_bits(codes) / 8, entropy_bits(codes) / 8
    console.say(
        f"ideal for the codes: {ideal:,.1f} bytes by the frequencies of the training images, which both sides know; "
        f"{own:,.1f} by the frequencies of these images, which would have to be stored too"
    )


def print_psnr(x: np.ndarray, rebuilt: np.ndarray) -> None:
    """Print the PSNR of the images as they will be decompressed."""
    mse = mean_squared_error(x / np.float32(255), rebuilt / np.float32(255))
    value = f"{psnr(mse):.2f} dB" if mse else "infinite"
    console.say(f"psnr: {value}, of the decompressed images against the input at the model's size")
