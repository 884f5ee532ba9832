"""Fitting a model to rows, by whichever way it learns: in one go, by gradient, or part by part."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from ssl_cli import console
from ssl_cli.data.batches import ArrayDataset
from ssl_cli.methods.protocols import FittedInOneGo, HasParts
from ssl_cli.methods.training_protocols import FitsStatistics, InitializesFromData
from ssl_cli.models.images import to_float
from ssl_cli.runs.loggers.base import Tracker
from ssl_cli.training import checkpoints
from ssl_cli.training.trainer import train


def fit(
    model: Any,
    train_rows: ArrayDataset,
    val_rows: ArrayDataset,
    cfg: DictConfig,
    folder: Path,
    trackers: Sequence[Tracker] = (),
) -> None:
    """Fit the model in one go if it can be, else train it by gradient; a model of parts, each of them.

    The rows are `x` (N, D), or images (N, C, H, W) as bytes. `val_rows` give the validation curve.
    """
    if isinstance(model, HasParts):
        for part in model.parts:
            fit(part, train_rows, val_rows, cfg, folder, trackers)
        return
    x = train_rows.arrays["x"]
    if isinstance(model, FittedInOneGo):
        model.fit(to_float(x).flatten(1).numpy(), cfg.seed)
        return
    if isinstance(model, InitializesFromData) and not (cfg.resume is not None and checkpoints.any_exist(folder)):
        model.initialize_from_data(x, cfg.seed, console.say)
    train(model, train_rows, val_rows, cfg, folder, trackers)
    if isinstance(model, FitsStatistics):
        with torch.inference_mode():
            model.fit_statistics(x)
