"""Small models trained in this process."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf

from ssl_cli.data.batches import ArrayDataset
from ssl_cli.methods.autoencoders.denoising import DenoisingAutoencoder
from ssl_cli.models.mlp import MLPAutoencoder
from ssl_cli.runs.folder import read_history
from ssl_cli.training.trainer import train

ROWS = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
OPTIONS: list[dict[str, Any]] = [  # of the trainer
    {},
    {"accumulate_grad_batches": 3},
    {"gradient_clip_val": 0.1},
    {"ema_decay": 0.9},
    {"patience": 100},
    {"ema_decay": 0.9, "patience": 100, "accumulate_grad_batches": 2, "gradient_clip_val": 0.1},
    {"limit_train_batches": 2, "patience": 100},
]


def config(**trainer: Any) -> Any:
    """Return a config for `train` with these options of the trainer."""
    conf = Path(__file__).parents[2] / "conf"
    cfg = OmegaConf.create({"seed": 3, "resume": None, "choices": {"trainer": "cpu"}})
    cfg.optim = OmegaConf.load(conf / "optim" / "adamw.yaml")
    cfg.trainer = OmegaConf.load(conf / "trainer" / "auto.yaml")
    settings = {"accelerator": "cpu", "batch_size": 16, "validate_every_n_steps": 4, "checkpoint_every_n_steps": 5}
    cfg.trainer.update(settings | trainer)
    return cfg


def model() -> DenoisingAutoencoder:
    """Return an untrained auto-encoder, the same each time."""
    torch.manual_seed(0)
    return DenoisingAutoencoder(MLPAutoencoder([6], [8], 4), noise="swap", level=0.3)


def trained(folder: Path, cfg: Any, method: DenoisingAutoencoder | None = None) -> DenoisingAutoencoder:
    """Return the method, by default `model()`, trained on ROWS."""
    method = method or model()
    train(method, ArrayDataset({"x": ROWS[:40]}), ArrayDataset({"x": ROWS[40:]}), cfg, folder)
    return method


def history(folder: Path) -> list[dict[str, float]]:
    """Return the rows of history.csv without the times, which differ between runs of the same seed."""
    rows = read_history(folder / "history.csv")
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def same(one: torch.nn.Module, two: torch.nn.Module) -> bool:
    """Return whether two modules have equal weights."""
    pairs = zip(one.state_dict().values(), two.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


class Unplugged(Exception):
    """A crash in the middle of training."""


class Unplugs(DenoisingAutoencoder):
    """A method that breaks after n training batches."""

    @classmethod
    def after(cls, batches: int) -> "Unplugs":
        """Return one that breaks after this number of batches."""
        method = model()
        method.__class__ = cls
        method.left = batches
        return method

    def forward(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        self.left -= self.training
        if self.left < 0:
            raise Unplugged
        return super().forward(batch)
