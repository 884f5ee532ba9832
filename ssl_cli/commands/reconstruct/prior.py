"""A second training for a model of codes: the prior that draws new grids of them."""

import hashlib
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from ssl_cli import console
from ssl_cli.commands.reconstruct.predictions import mapped
from ssl_cli.data.batches import ArrayDataset
from ssl_cli.files import write_json
from ssl_cli.process import is_worker
from ssl_cli.runs.folder import HISTORY
from ssl_cli.runs.safety import read_object
from ssl_cli.training import checkpoints
from ssl_cli.training.trainer import train

PRIOR = "prior"  # a folder in the run's, with the prior's own history and checkpoint
CODES = "codes.json"  # in it: of which codes
WATCHED, PATIENCE = 0.05, 5  # share of the images; validations without improvement


@runtime_checkable
class HasPrior(Protocol):
    """A model that draws its codes from a prior, an objective of its own that reads `codes` (N, h, w)."""

    prior: nn.Module
    prior_is_fitted: Tensor

    def codes(self, batch: dict[str, Tensor]) -> Tensor: ...


def fit_prior(model: Any, x: np.ndarray, cfg: DictConfig, folder: Path) -> None:
    """Train the model's prior on the codes of the training images x (N, C, H, W), all else held fast."""
    if not isinstance(model, HasPrior) or not cfg.prior_steps:
        return
    prior: Any = model.prior
    codes = mapped(model, lambda part: model.codes({"x": part}), x).reshape(len(x), *prior.grid)  # (N, h, w)
    watched = np.zeros(len(x), bool)
    # By lot: images often lie in the order of their classes, and the prior must learn them all.
    watched[np.random.default_rng([cfg.seed, 7]).permutation(len(x))[: max(1, round(WATCHED * len(x)))]] = True
    # Few images are soon known by heart: then the weights of the best validation are kept.
    limits = {"max_steps": cfg.prior_steps, "max_epochs": None, "max_time": None, "patience": PATIENCE}
    own = OmegaConf.merge(cfg, {"trainer": limits})
    assert isinstance(own, DictConfig)
    console.say(f"prior: {cfg.prior_steps:,} steps over the codes of {len(x):,} images")
    place = folder / PRIOR
    place.mkdir(exist_ok=True)
    if not _is_of(codes, place):
        own.resume = None
        if not is_worker():
            _begin_anew(codes, place)
    rows = ArrayDataset({"codes": codes})
    # Lightning leaves a network in the mode that it finds, and the model is done with training.
    train(prior.train().requires_grad_(True), rows.take(~watched), rows.take(watched), own, place)
    prior.requires_grad_(False)
    model.prior_is_fitted.fill_(True)


def _is_of(codes: np.ndarray, place: Path) -> bool:
    """Whether what lies there was learned from these codes: a model that has trained on gives images others."""
    path = place / CODES
    return path.is_file() and read_object(path).get("sha256") == _digest(codes)


def _begin_anew(codes: np.ndarray, place: Path) -> None:
    """Without the checkpoints of other codes. The digest comes last: cut off before, it is done again."""
    for name in (CODES, checkpoints.LAST, checkpoints.PREVIOUS, checkpoints.PARTIAL, HISTORY):
        (place / name).unlink(missing_ok=True)
    write_json(place / CODES, {"sha256": _digest(codes)})


def _digest(codes: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(codes).data).hexdigest()
