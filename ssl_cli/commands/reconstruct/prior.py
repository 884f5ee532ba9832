"""Second training stage of models with a prior: the network that generates new grids of codes."""

import hashlib
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from ssl_cli import console
from ssl_cli.commands.reconstruct.predictions import map_batches
from ssl_cli.data.batches import ArrayDataset
from ssl_cli.files import write_json
from ssl_cli.methods.protocols import HasPrior
from ssl_cli.process import is_worker
from ssl_cli.runs.folder import HISTORY
from ssl_cli.runs.safety import read_json_object
from ssl_cli.training import checkpoints
from ssl_cli.training.limits import duration_s, limit_validation, step_limit, train_batches
from ssl_cli.training.trainer import train

PRIOR = "prior"  # folder in the run folder, with the history and the checkpoints of the prior
CODES = "codes.json"  # file in it: a hash of the codes that the prior was fitted to
VAL_SHARE, PATIENCE = 0.05, 5  # share of the images; validations without improvement
DEFAULT_SHARE = Fraction(2, 3)  # of the model's own training


def fit_prior(model: Any, x: np.ndarray, cfg: DictConfig, folder: Path) -> None:
    """Train the model's prior on the codes of the training images x (N, C, H, W); the rest of the model is frozen.

    Does nothing if the model has no prior, or `cfg.prior_steps` is 0.
    """
    if not isinstance(model, HasPrior) or cfg.prior_steps == 0:
        return
    prior: Any = model.prior
    codes = map_batches(model, lambda batch: model.codes({"x": batch}), x).reshape(len(x), *prior.grid)  # (N, h, w)
    is_val = np.zeros(len(x), bool)
    # Images are often sorted by class, so the validation images are drawn at random.
    is_val[np.random.default_rng([cfg.seed, 7]).permutation(len(x))[: max(1, round(VAL_SHARE * len(x)))]] = True
    # A prior soon overfits a small dataset, so the weights of the best validation are kept.
    prior_cfg = OmegaConf.merge(cfg, {"trainer": prior_limits(cfg, len(x)) | {"patience": PATIENCE}})
    assert isinstance(prior_cfg, DictConfig)
    console.say(f"prior: {describe_prior(cfg, len(x))} over the codes of {len(x):,} images")
    prior_folder = folder / PRIOR
    prior_folder.mkdir(exist_ok=True)
    if not _was_fitted_to(codes, prior_folder):
        prior_cfg.resume = None
        if not is_worker():
            _discard_earlier_fit(codes, prior_folder)
    rows = ArrayDataset({"codes": codes})
    # Lightning keeps the mode of a network, and the trained model is in evaluation mode.
    val_rows = limit_validation(cfg.trainer, rows.take(is_val))
    train(prior.train().requires_grad_(True), rows.take(~is_val), val_rows, prior_cfg, prior_folder)
    prior.requires_grad_(False)
    model.prior_is_fitted.fill_(True)


def prior_limits(cfg: DictConfig, n_images: int) -> dict[str, Any]:
    """Return the trainer's limits for the prior: `prior_steps`, or a share of the limits of the model's own training on
    `n_images` images."""
    limits = {"max_steps": cfg.prior_steps, "max_epochs": None, "max_time": None}
    if cfg.prior_steps is None:
        max_steps = step_limit(cfg.trainer, train_batches(cfg.trainer, n_images))
        if max_steps > 0:
            limits["max_steps"] = math.ceil(DEFAULT_SHARE * max_steps)
        if cfg.trainer.max_time is not None:
            seconds = math.ceil(DEFAULT_SHARE * round(duration_s(cfg.trainer.max_time)))
            limits["max_time"] = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return limits


def describe_prior(cfg: DictConfig, n_images: int) -> str:
    """Return how long the prior is trained, such as `2,000 steps`."""
    limits = prior_limits(cfg, n_images)
    n_steps = limits["max_steps"]
    steps = [f"{n_steps:,} step{'' if n_steps == 1 else 's'}"] if n_steps else []
    return " or ".join(steps + ([limits["max_time"]] if limits["max_time"] else []))


def _was_fitted_to(codes: np.ndarray, folder: Path) -> bool:
    """Return whether the prior in a folder was fitted to these codes: they change when the model is trained further."""
    path = folder / CODES
    return path.is_file() and read_json_object(path).get("sha256") == _digest(codes)


def _discard_earlier_fit(codes: np.ndarray, folder: Path) -> None:
    """Delete the checkpoints of other codes.

    The hash is written last, so after an interruption the files are deleted again.
    """
    for name in (CODES, checkpoints.LAST, checkpoints.PREVIOUS, checkpoints.PARTIAL, HISTORY):
        (folder / name).unlink(missing_ok=True)
    write_json(folder / CODES, {"sha256": _digest(codes)})


def _digest(codes: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(codes).data).hexdigest()
