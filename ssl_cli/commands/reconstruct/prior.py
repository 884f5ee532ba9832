"""Second training stage of models with a prior: the network that generates new grids of codes."""

import hashlib
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
from ssl_cli.training.trainer import train

PRIOR = "prior"  # folder in the run folder, with the history and the checkpoints of the prior
CODES = "codes.json"  # file in it: a hash of the codes that the prior was fitted to
VAL_SHARE, PATIENCE = 0.05, 5  # share of the images; validations without improvement


def fit_prior(model: Any, x: np.ndarray, cfg: DictConfig, folder: Path) -> None:
    """Train the model's prior on the codes of the training images x (N, C, H, W); the rest of the model is frozen.

    Does nothing if the model has no prior, or `cfg.prior_steps` is 0.
    """
    if not isinstance(model, HasPrior) or not cfg.prior_steps:
        return
    prior: Any = model.prior
    codes = map_batches(model, lambda batch: model.codes({"x": batch}), x).reshape(len(x), *prior.grid)  # (N, h, w)
    is_val = np.zeros(len(x), bool)
    # Images are often sorted by class, so the validation images are drawn at random.
    is_val[np.random.default_rng([cfg.seed, 7]).permutation(len(x))[: max(1, round(VAL_SHARE * len(x)))]] = True
    # A prior soon overfits a small dataset, so the weights of the best validation are kept.
    limits = {"max_steps": cfg.prior_steps, "max_epochs": None, "max_time": None, "patience": PATIENCE}
    prior_cfg = OmegaConf.merge(cfg, {"trainer": limits})
    assert isinstance(prior_cfg, DictConfig)
    console.say(f"prior: {cfg.prior_steps:,} steps over the codes of {len(x):,} images")
    prior_folder = folder / PRIOR
    prior_folder.mkdir(exist_ok=True)
    if not _was_fitted_to(codes, prior_folder):
        prior_cfg.resume = None
        if not is_worker():
            _discard_earlier_fit(codes, prior_folder)
    rows = ArrayDataset({"codes": codes})
    # Lightning keeps the mode of a network, and the trained model is in evaluation mode.
    train(prior.train().requires_grad_(True), rows.take(~is_val), rows.take(is_val), prior_cfg, prior_folder)
    prior.requires_grad_(False)
    model.prior_is_fitted.fill_(True)


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
