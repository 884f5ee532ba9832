"""ssl compress: images -> one file of codes, by a finished run whose model has some."""

import os
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from ssl_cli import console
from ssl_cli.commands.reconstruct import sslz
from ssl_cli.commands.reconstruct.codec import Coder, checksum, entropy
from ssl_cli.commands.reconstruct.finished import reopen
from ssl_cli.data.images.datasets import in_words
from ssl_cli.errors import InputError
from ssl_cli.evaluation.metrics.images import mean_squared_error, psnr
from ssl_cli.runs.outputs import warn_of_rejects, write_whole


def run(cfg: DictConfig) -> Path:
    """Compress `cfg.input` into `cfg.output`, whose path it returns."""
    source, output = places(cfg)
    finished = reopen(cfg.run, cfg.paths.outputs, cfg.trust)
    coder = Coder(finished)
    console.say(f"compress {source} with {finished.folder}")
    names, x, rejected = finished.read(source)
    warn_of_rejects(rejected, len(names), kept=False)
    codes = finished.codes(x)
    rebuilt = coder.decode(codes)
    content = sslz.pack(names, codes, checksum(rebuilt), coder.counts, coder.fingerprint)
    write_whole(output, content)
    tell_rate(x, file_bytes(source, names), content)
    tell_parts(coder, codes, content)
    tell_psnr(x, rebuilt)
    return output


def places(cfg: DictConfig) -> tuple[Path, Path]:
    """Input and output. Raises InputError where something would be overwritten, or is missing."""
    source, output = Path(cfg.input).expanduser(), Path(cfg.output).expanduser()
    if not source.exists():
        raise InputError(f"input={source}: there is no such file or folder.")
    if not output.parent.is_dir():
        raise InputError(f"output={output}: there is no folder {output.parent}; make it first.")
    if output.is_dir():
        raise InputError(f"output={output} is a folder; name a file in it.")
    if os.path.lexists(output) and not cfg.overwrite:
        raise InputError(f"output={output} exists: name another file, or say overwrite=true.")
    if output.exists() and output.resolve() == source.resolve():
        raise InputError(f"output={output} is the input itself: name another file.")
    return source, output


def file_bytes(source: Path, names: list[str]) -> int:
    """Bytes of the files that the images were read from; of a zip, its own."""
    return sum((source / name).stat().st_size for name in names) if source.is_dir() else source.stat().st_size


# --- what came of it ----------------------------------------------------------------------------------------


def tell_rate(x: np.ndarray, before: int, content: bytes) -> None:
    """Of images x (N, C, H, W) that took `before` bytes in their files."""
    n, _, height, width = x.shape
    console.say(f"images: {n:,} of {in_words(list(x.shape[1:]))}")
    console.say(f"bytes: {before:,} in files, {x.size:,} as pixels, {len(content):,} compressed")
    rate = 8 * len(content) / (n * height * width)
    console.say(f"rate: {rate:.4f} bits a pixel, all included; {x.size / len(content):.1f} times less than the pixels")


def tell_parts(coder: Coder, codes: np.ndarray, content: bytes) -> None:
    """What the bytes are for, and what they could have been at least."""
    parts = sslz.parts(content)
    console.say("of these: " + ", ".join(f"{name} {size:,}" for name, size in parts.items()))
    ideal, own = coder.bits(codes) / 8, entropy(codes) / 8
    console.say(
        f"ideal for the codes: {ideal:,.1f} bytes by the frequencies of the training images, which both sides know; "
        f"{own:,.1f} by those of these very images, which the file would have to tell"
    )


def tell_psnr(x: np.ndarray, rebuilt: np.ndarray) -> None:
    mse = mean_squared_error(x / np.float32(255), rebuilt / np.float32(255))
    found = f"{psnr(mse):.2f} dB" if mse else "infinite"
    console.say(f"psnr: {found}, of the decompressed images against the input at the model's size")
