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
from ssl_cli.training.limits import BATCH_LIMITS, limit_validation
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
    parts = model.parts if isinstance(model, HasParts) else (model,)
    if all(isinstance(part, FittedInOneGo) for part in parts):
        _warn_of_unused_limits(model, cfg.trainer)
    for part in parts:
        _fit_part(part, train_rows, val_rows, cfg, folder, trackers)


def _fit_part(
    model: Any,
    train_rows: ArrayDataset,
    val_rows: ArrayDataset,
    cfg: DictConfig,
    folder: Path,
    trackers: Sequence[Tracker],
) -> None:
    x = train_rows.arrays["x"]
    if isinstance(model, FittedInOneGo):
        model.fit(to_float(x).flatten(1).numpy(), cfg.seed)
        return
    if isinstance(model, InitializesFromData) and not (cfg.resume is not None and checkpoints.any_exist(folder)):
        model.initialize_from_data(x, cfg.seed, console.say)
    train(model, train_rows, limit_validation(cfg.trainer, val_rows), cfg, folder, trackers)
    if isinstance(model, FitsStatistics):
        with torch.inference_mode():
            model.fit_statistics(x)


def _warn_of_unused_limits(model: Any, settings: DictConfig) -> None:
    """Warn if the number of batches is limited for a model that has none: it is fitted to all rows."""
    if unused := [f"trainer.{name}" for name in BATCH_LIMITS if settings.get(name) is not None]:
        console.warn_once(
            "limits",
            f"{' and '.join(unused)} {'have' if len(unused) > 1 else 'has'} no effect: {type(model).__name__} is fitted "
            "to all training rows in one go, without batches",
        )
