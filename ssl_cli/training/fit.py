"""A model and rows -> a fitted model, whichever way it learns; and scores of rows by models that haven't seen them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig

from ssl_cli import console
from ssl_cli.config.instantiate import build
from ssl_cli.data.batches import ArrayDataset
from ssl_cli.evaluation.thresholds import Calibration
from ssl_cli.methods.build import refuse_giant
from ssl_cli.methods.protocols import FitsStatistics, FittedInOneGo, HasParts, InitializesFromData
from ssl_cli.methods.scoring import device_of, score_rows
from ssl_cli.models.images import numbers
from ssl_cli.runs.loggers.base import Tracker
from ssl_cli.training import checkpoints
from ssl_cli.training.trainer import train

FOLDS = "folds"


def new_model(cfg: DictConfig) -> Any:
    """The untrained model of a config; its weights follow from the seed."""
    refuse_giant(cfg.model)
    torch.manual_seed(cfg.seed)
    return build(cfg.model)


def fit(
    model: Any,
    rows: ArrayDataset,
    watched: ArrayDataset,
    cfg: DictConfig,
    folder: Path,
    trackers: Sequence[Tracker] = (),
) -> None:
    """Fit the model in one go where it can, else train it by gradient; or each of its parts.

    `rows` are `x` (N, D), or images (N, C, H, W) as bytes; `watched` rows give the validation curve.
    """
    if isinstance(model, HasParts):
        for part in model.parts:
            fit(part, rows, watched, cfg, folder, trackers)
        return
    x = rows.arrays["x"]
    if isinstance(model, FittedInOneGo):
        model.fit(numbers(x).flatten(1).numpy(), cfg.seed)
        return
    if isinstance(model, InitializesFromData) and not (cfg.resume is not None and checkpoints.exist(folder)):
        model.initialize_from_data(x, cfg.seed, console.say)
    train(model, rows, watched, cfg, folder, trackers)
    if isinstance(model, FitsStatistics):
        with torch.inference_mode():
            model.fit_statistics(x)


def out_of_fold(rows: ArrayDataset, watched: ArrayDataset | None, cfg: DictConfig, folder: Path) -> Calibration:
    """The score of each row by a model fitted without that row's fold; `cfg.folds` models in all.

    Without `watched` rows each model watches the fold it is to score.
    """
    n_folds = min(cfg.folds, len(rows))
    fold = np.random.default_rng([cfg.seed, 4]).permutation(len(rows)) % n_folds  # (N,)
    scores = np.empty(len(rows))
    for k in range(n_folds):
        console.say(f"calibrate=cross: fold {k + 1} of {n_folds}")
        part = folder / FOLDS / str(k)
        part.mkdir(parents=True, exist_ok=True)
        held_out, model = rows.take(fold == k), new_model(cfg)
        fit(model, rows.take(fold != k), held_out if watched is None else watched, cfg, part)
        scores[fold == k] = score_rows(model, held_out.arrays["x"].numpy(), device_of(model))
    return Calibration(scores, held_out=False, folds=n_folds)
