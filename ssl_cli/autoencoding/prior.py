"""A second training for a model of codes: the prior that draws new grids of them."""

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from ssl_cli import console
from ssl_cli.data.batches import Rows
from ssl_cli.models.pixels import numbers
from ssl_cli.scoring import device_of
from ssl_cli.training import train

PRIOR = "prior"  # a folder in the run's, with the prior's own history and checkpoint
AT_ONCE, WATCHED = 1024, 0.05


@runtime_checkable
class HasPrior(Protocol):
    """A model that draws its codes from a prior, an objective of its own that reads `codes` (N, h, w)."""

    prior: nn.Module

    def codes(self, batch: dict[str, Tensor]) -> Tensor: ...


def fit_prior(model: Any, x: np.ndarray, cfg: DictConfig, folder: Path) -> None:
    """Train the model's prior on the codes of the training images x (N, C, H, W), all else held fast."""
    if not isinstance(model, HasPrior) or not cfg.prior_steps:
        return
    prior: Any = model.prior
    codes = codes_of(model, x).view(len(x), *prior.grid)  # (N, h, w)
    watched = np.zeros(len(x), bool)
    # By lot: images often lie in the order of their classes, and the prior must learn them all.
    watched[np.random.default_rng([cfg.seed, 7]).permutation(len(x))[: max(1, round(WATCHED * len(x)))]] = True
    own = OmegaConf.merge(cfg, {"trainer": {"max_steps": cfg.prior_steps, "max_epochs": None, "max_time": None}})
    assert isinstance(own, DictConfig)
    console.say(f"prior: {cfg.prior_steps:,} steps over the codes of {len(x):,} images")
    (folder / PRIOR).mkdir(exist_ok=True)
    rows = Rows({"codes": codes})
    train(prior.requires_grad_(True), rows.take(~watched), rows.take(watched), own, folder / PRIOR)
    prior.requires_grad_(False)


def codes_of(model: Any, x: np.ndarray) -> Tensor:
    """(N, C, H, W) bytes -> (N, places) int64 on the CPU"""
    device = device_of(model)
    with torch.inference_mode():
        parts = [model.codes({"x": numbers(part.to(device))}).cpu() for part in torch.from_numpy(x).split(AT_ONCE)]
    return torch.cat(parts)
