"""ssl reconstruct run=...: rebuild new images with a finished run; nothing is trained."""

from itertools import chain, count
from pathlib import Path, PurePath

import numpy as np
from omegaconf import DictConfig

from ssl_cli import console
from ssl_cli.commands.reconstruct.finished import ImageRun, reopen
from ssl_cli.commands.reconstruct.sslz_names import check_stays_inside
from ssl_cli.commands.speech.apply import rebuild_speech
from ssl_cli.commands.speech.finished import SpeechRun
from ssl_cli.data.images.reader import RejectedFiles
from ssl_cli.errors import InputError
from ssl_cli.evaluation.metrics.images import psnr
from ssl_cli.evaluation.plots import image_grid
from ssl_cli.runs.csv_files import write_csv
from ssl_cli.runs.outputs import (
    check_output_is_apart,
    check_output_is_free,
    output_folder,
    warn_about_rejected_files,
    write_rejected_files,
)

GRID, ERRORS, ERROR_COLUMNS = "reconstructions.png", "errors.csv", ["name", "file", "mse", "psnr"]


def run(cfg: DictConfig) -> Path:
    """Rebuild the images or the recordings of `cfg.input` into a folder, and return its path."""
    if cfg.input is None:
        raise InputError(f"run={cfg.run} is a finished run: set what to rebuild with input=FOLDER.")
    finished = reopen(cfg.run, cfg.paths.outputs, cfg.trust)
    return rebuild_speech(cfg, finished) if isinstance(finished, SpeechRun) else rebuild_images(cfg, finished)


def rebuild_images(cfg: DictConfig, finished: ImageRun) -> Path:
    """Rebuild images into a folder: a PNG for each, a grid of originals and rebuilt images, a table of their errors."""
    if cfg.vocoder is not None:
        raise InputError(f"vocoder: only for speech, but {finished.folder} rebuilds images.")
    source = Path(cfg.input).expanduser()
    check_output_is_apart(source, cfg.output)
    check_output_is_free(cfg.output, cfg.overwrite)
    names, x, rejected = finished.read(source)
    for warning in finished.reader.warnings:
        console.warn(warning)
    files = png_names(names)
    if cfg.output is not None:
        check_stays_inside(Path(cfg.output).expanduser(), files)
    console.say(f"rebuild {source} with {finished.folder}")
    default_parent = Path(cfg.paths.outputs) / "rebuilt" / finished.folder.resolve().name
    with output_folder(cfg.output, cfg.overwrite, default_parent) as (folder, place):
        rebuilt = finished.reconstruct(x)
        mse = mean_squared_errors(x, rebuilt)
        for file, image in zip(files, rebuilt, strict=True):
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            image_grid.save(folder / file, image)
        image_grid.pairs(folder / GRID, x, rebuilt)
        write_errors(folder / ERRORS, names, files, mse, cfg.escape_formulas)
        write_rejected_files(folder, rejected, cfg.escape_formulas)
    print_summary(mse, finished.reader.shape, rejected)
    return place


def png_names(names: list[str]) -> list[str]:
    """Return a distinct file name for each rebuilt image.

    It is the image's name with .png instead of its suffix, or after its suffix if that name is taken.
    """
    # Names in a zip may point outside the folder.
    names = [str(PurePath(*(part for part in PurePath(name).parts if part not in ("/", "..")))) for name in names]
    taken, files = {GRID}, []
    for name in names:
        file = str(PurePath(name).with_suffix(".png"))
        if file != name or name in taken:  # a PNG keeps its name
            numbered = (f"{name}.{k}.png" for k in count(2))
            file = next(file for file in chain([file, f"{name}.png"], numbered) if file not in taken.union(names))
        taken.add(file)
        files.append(file)
    return files


def mean_squared_errors(x: np.ndarray, rebuilt: np.ndarray) -> np.ndarray:
    """Return the mean squared error (N,) of each image of x (N, C, H, W) uint8, for pixels in 0..1."""
    return np.array([np.square((a.astype(np.float64) - b) / 255).mean() for a, b in zip(x, rebuilt, strict=True)])


def write_errors(path: Path, names: list[str], files: list[str], mse: np.ndarray, escape_formulas: bool) -> None:
    """Write a table of each image's name, its PNG file, and its error."""
    numbers = ([f"{value:.6g}" for value in values] for values in (mse, map(psnr, mse)))
    rows = zip(names, files, *numbers, strict=True)
    table = [dict(zip(ERROR_COLUMNS, row, strict=True)) for row in rows]
    write_csv(path, ERROR_COLUMNS, table, escape_formulas)


def print_summary(mse: np.ndarray, shape: list[int], rejected: RejectedFiles) -> None:
    """Print how many files were rebuilt and rejected, and the mean error."""
    warn_about_rejected_files(rejected, len(mse))
    total = len(mse) + len(rejected)
    console.say(f"images: {total:,} in = {len(mse):,} rebuilt, at {shape[1]} x {shape[2]} + {len(rejected):,} rejected")
    console.say(f"mean squared error {mse.mean():.3g}, PSNR {psnr(mse.mean()):.1f} dB")
