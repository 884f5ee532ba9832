"""Limits of a training: how long it is, and how many batches an epoch and a validation have."""

import math
from collections.abc import Callable

import numpy as np
from omegaconf import DictConfig

from ssl_cli.data.batches import ArrayDataset
from ssl_cli.errors import InputError

BATCH_LIMITS = ("limit_train_batches", "limit_val_batches")


def duration_s(max_time: str | None) -> float:
    """Return HH:MM:SS or DD:HH:MM:SS in seconds; infinity for None."""
    if max_time is None:
        return math.inf
    units_s = (1, 60, 3600, 86400)
    return float(sum(unit * int(text) for unit, text in zip(units_s, reversed(max_time.split(":")), strict=False)))


def step_limit(settings: DictConfig, batches_per_epoch: int) -> int:
    """Return the optimizer steps until the nearer of max_steps and max_epochs, or -1 if only time ends the run."""
    limits = [settings.max_steps] if settings.max_steps else []
    if settings.max_epochs:
        limits.append(math.ceil(settings.max_epochs * batches_per_epoch / settings.accumulate_grad_batches))
    if not limits and not settings.max_time:
        limits.append(settings.default_steps)
    return min(limits, default=-1)


def share_done(step: int, max_steps: int, elapsed_s: Callable[[], float], max_s: float) -> float:
    """Return the share of a run that is done, in 0..1, by its steps or its time, whichever is further on.

    `max_steps` is -1 and `max_s` infinite if they don't limit it. The clock is read only if time counts.
    """
    by_step = step / max_steps if max_steps > 0 else 0.0
    by_time = elapsed_s() / max_s if math.isfinite(max_s) else 0.0
    return min(1.0, max(by_step, by_time))


def train_batches(settings: DictConfig, n_rows: int, only_whole: bool = False) -> int:
    """Return the number of batches in an epoch over `n_rows` rows, as trainer.limit_train_batches says.

    With `only_whole` a short last one is left out, unless it is the only one.
    """
    n_batches = n_rows // settings.batch_size if only_whole else -(-n_rows // settings.batch_size)
    return limited("limit_train_batches", settings, max(1, n_batches))


def limit_validation(settings: DictConfig, rows: ArrayDataset, only_whole: bool = False) -> ArrayDataset:
    """Return the rows of as many validation batches as trainer.limit_val_batches says, evenly spaced.

    With `only_whole` a short last batch is left out, unless it is the only one.
    """
    which = validated_rows(settings, len(rows), rows.eval_batch_size, only_whole)
    return rows if len(which) == len(rows) else rows.take(which)


def validated_rows(settings: DictConfig, n_rows: int, batch_size: int, only_whole: bool = False) -> np.ndarray:
    """Return which of `n_rows` rows are validated (V,), evenly spaced: they may be sorted by class."""
    n = min(n_rows, batch_size * limited("limit_val_batches", settings, -(-n_rows // batch_size)))
    if only_whole and n > batch_size:
        n -= n % batch_size
    return np.linspace(0, n_rows - 1, n).round().astype(np.int64)


def limited(name: str, settings: DictConfig, n_batches: int) -> int:
    """Return the batches left of `n_batches`: a whole number is how many, a fraction which share, rounded down.

    As in Lightning, 1 is one batch and 1.0 is all of them. Raises InputError if the share is less than one batch.
    """
    limit = settings.get(name)
    if limit is None:
        return n_batches
    if isinstance(limit, int):
        return min(limit, n_batches)
    n = int(limit * n_batches)
    if n == 0:
        raise InputError(
            f"trainer.{name}={limit:g} of {n_batches:,} batches is less than one: set a number of batches, such as "
            f"trainer.{name}=1, or a share of at least {math.ceil(1000 / n_batches) / 1000:g}."
        )
    return n
