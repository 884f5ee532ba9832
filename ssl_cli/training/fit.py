"""Fitting a model to rows, by whichever way it learns: in one go, by gradient, or part by part."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from ssl_cli import console
from ssl_cli.data.batches import ArrayDataset, ordered_loader
from ssl_cli.methods.protocols import FittedInOneGo, HasParts
from ssl_cli.methods.scoring import device_of
from ssl_cli.methods.training_protocols import FitsBatches, FitsStatistics, InitializesFromData
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
    callbacks: Sequence[Callback] = (),
) -> None:
    """Fit the model in one go if it can be, else train it by gradient; a model of parts, each of them.

    The rows are `x` (N, D), or images (N, C, H, W) as bytes, or batches of another kind, such as `SpeechWindows`.
    `val_rows` give the validation curve. A model without weights is left as it is. The callbacks are those of
    training by gradient.
    """
    parts = model.parts if isinstance(model, HasParts) else (model,)
    if all(isinstance(part, FittedInOneGo) for part in parts):
        _warn_of_unused_limits(model, cfg.trainer)
    for part in parts:
        _fit_part(part, train_rows, val_rows, cfg, folder, trackers, callbacks)
    if isinstance(model, HasParts) and isinstance(model, FitsStatistics):
        with torch.inference_mode():
            model.fit_statistics(train_rows.arrays["x"])


def _fit_part(
    model: Any,
    train_rows: ArrayDataset,
    val_rows: ArrayDataset,
    cfg: DictConfig,
    folder: Path,
    trackers: Sequence[Tracker],
    callbacks: Sequence[Callback],
) -> None:
    if isinstance(model, FittedInOneGo):
        model.fit(to_float(train_rows.arrays["x"]).flatten(1).numpy(), cfg.seed)
        return
    if not any(weight.requires_grad for weight in model.parameters()):
        console.say(f"{type(model).__name__} has no weights: nothing is trained")
        return
    if isinstance(model, InitializesFromData) and not (cfg.resume is not None and checkpoints.any_exist(folder)):
        model.initialize_from_data(_first_rows(train_rows.arrays["x"], cfg.trainer), cfg.seed, console.say)
    train(model, train_rows, limit_validation(cfg.trainer, val_rows), cfg, folder, trackers, callbacks)
    if isinstance(model, FitsStatistics):
        with torch.inference_mode():
            model.fit_statistics(train_rows.arrays["x"])
    if isinstance(model, FitsBatches):
        rows = train_rows.whole().on(device_of(model))
        with torch.inference_mode():
            model.fit_batches(ordered_loader(rows, rows.eval_batch_size), cfg.seed)


def _warn_of_unused_limits(model: Any, settings: DictConfig) -> None:
    """Warn if the number of batches is limited for a model that has none."""
    names = ("fast_dev_run",) if settings.get("fast_dev_run") else BATCH_LIMITS
    if unused := [f"trainer.{name}" for name in names if settings.get(name)]:
        console.warn_once(
            "limits",
            f"{type(model).__name__} is fitted to all training rows in one go: {' and '.join(unused)} can't limit that",
        )


def _first_rows(x: Tensor, settings: DictConfig) -> Tensor:
    """Return the rows to initialize from: all, but only those of its batches in a fast_dev_run."""
    n_batches = int(settings.get("fast_dev_run", False))
    return x[: n_batches * settings.batch_size] if n_batches else x
