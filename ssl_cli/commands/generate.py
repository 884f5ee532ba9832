"""ssl generate: draw new images with a finished run."""

from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from ssl_cli import console
from ssl_cli.autoencoding import sheets
from ssl_cli.autoencoding.finished import reopen
from ssl_cli.autoencoding.results import refuse_taken, results

SHEET, SAMPLES = "samples.png", "samples.npz"


def run(cfg: DictConfig) -> Path:
    """Draw `cfg.n` images into a folder, whose path it returns."""
    refuse_taken(cfg.output, cfg.overwrite)
    finished = reopen(cfg.run, cfg.paths.outputs, cfg.trust)
    console.say(f"generate n={cfg.n} seed={cfg.seed} with {finished.folder}")
    otherwise = Path(cfg.paths.outputs) / "generate" / finished.folder.resolve().name
    with results(cfg.output, cfg.overwrite, otherwise) as (folder, place):
        x = finished.generate(cfg.n, cfg.seed)
        np.savez_compressed(folder / SAMPLES, x=x)
        sheets.grid(folder / SHEET, x)
    shown = f" ({SHEET} shows the first {sheets.SHOWN})" if len(x) > sheets.SHOWN else ""
    console.say(f"{len(x):,} images of {x.shape[2]} x {x.shape[3]}{shown}")
    return place
