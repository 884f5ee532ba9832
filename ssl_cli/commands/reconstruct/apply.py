"""ssl reconstruct run=...: rebuild given images with a finished run; nothing is trained."""

from itertools import chain, count
from pathlib import Path, PurePath

import numpy as np
from omegaconf import DictConfig

from ssl_cli import console
from ssl_cli.commands.reconstruct.finished import reopen
from ssl_cli.commands.reconstruct.sslz_names import refuse_outside
from ssl_cli.data.images.reader import Rejected
from ssl_cli.errors import InputError
from ssl_cli.evaluation.metrics.images import psnr
from ssl_cli.evaluation.plots import image_grid
from ssl_cli.files import write_csv
from ssl_cli.runs.outputs import refuse_taken, results, warn_of_rejects, write_rejects

SHEET, ERRORS, ERROR_COLUMNS = "reconstructions.png", "errors.csv", ["name", "file", "mse", "psnr"]


def rebuild(cfg: DictConfig) -> Path:
    """Rebuild the images of `cfg.input` into a folder, whose path it returns: each as a PNG of its name, the sheet of
    them, and their errors."""
    if cfg.input is None:
        raise InputError(f"run={cfg.run} is a finished run: say which images it rebuilds, with input=FOLDER.")
    source = Path(cfg.input).expanduser()
    refuse_same_place(source, cfg.output)
    refuse_taken(cfg.output, cfg.overwrite)
    finished = reopen(cfg.run, cfg.paths.outputs, cfg.trust)
    names, x, rejected = finished.read(source)
    files = png_names(names)
    if cfg.output is not None:
        refuse_outside(Path(cfg.output).expanduser(), files)
    console.say(f"rebuild {source} with {finished.folder}")
    otherwise = Path(cfg.paths.outputs) / "rebuilt" / finished.folder.resolve().name
    with results(cfg.output, cfg.overwrite, otherwise) as (folder, place):
        rebuilt = finished.reconstruct(x)
        mse = squared_errors(x, rebuilt)
        for name, image in zip(files, rebuilt, strict=True):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            image_grid.save(folder / name, image)
        image_grid.pairs(folder / SHEET, x, rebuilt)
        figures = ([f"{value:.6g}" for value in values] for values in (mse, map(psnr, mse)))
        rows = zip(names, files, *figures, strict=True)
        write_csv(folder / ERRORS, ERROR_COLUMNS, [dict(zip(ERROR_COLUMNS, row, strict=True)) for row in rows])
        write_rejects(folder, rejected)
    print_summary(mse, finished.reader.shape, rejected)
    return place


def refuse_same_place(source: Path, output: str | None) -> None:
    """Raise InputError where a rebuilt image could take the place of a given one, or be given next time."""
    if output is None:
        return
    goal = Path(output).expanduser().resolve()
    if source.is_dir() and goal.is_relative_to(source.resolve()):
        where = "is" if goal == source.resolve() else "lies in"
        raise InputError(f"output={output} {where} the folder of the input: name one outside it.")
    if goal == source.resolve().parent and not source.is_dir():
        raise InputError(f"output={output} is the folder that the input lies in: name another.")


def png_names(names: list[str]) -> list[str]:
    """The file that each image is rebuilt into: its name with .png, after its own ending where that is taken."""
    # A zip may name a place outside the folder.
    names = [str(PurePath(*(part for part in PurePath(name).parts if part not in ("/", "..")))) for name in names]
    taken, found = {SHEET}, []
    for name in names:
        file = str(PurePath(name).with_suffix(".png"))
        if file != name or name in taken:  # else it is its own
            numbered = (f"{name}.{k}.png" for k in count(2))
            file = next(file for file in chain([file, f"{name}.png"], numbered) if file not in taken.union(names))
        taken.add(file)
        found.append(file)
    return found


def squared_errors(x: np.ndarray, rebuilt: np.ndarray) -> np.ndarray:
    """(N, C, H, W) uint8, twice -> (N,): each image's mean squared error, of pixels in 0..1"""
    return np.array([np.square((a.astype(np.float64) - b) / 255).mean() for a, b in zip(x, rebuilt, strict=True)])


def print_summary(mse: np.ndarray, shape: list[int], rejected: Rejected) -> None:
    """What became of every file that came in."""
    warn_of_rejects(rejected, len(mse))
    total = len(mse) + len(rejected)
    console.say(f"images: {total:,} in = {len(mse):,} rebuilt, at {shape[1]} x {shape[2]} + {len(rejected):,} rejected")
    console.say(f"mean squared error {mse.mean():.3g}, a PSNR of {psnr(mse.mean()):.1f} dB")
