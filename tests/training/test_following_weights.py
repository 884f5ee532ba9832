"""Weights that follow others after each step, as BYOL's target: killed and resumed, and averaged."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ssl_cli.data.batches import ArrayDataset
from ssl_cli.data.images.augment import Augment
from ssl_cli.methods.contrastive.byol import BYOL
from ssl_cli.models.resnet import ResNet
from ssl_cli.training.trainer import train
from tests.helpers.trained_models import Unplugged, config, same

X = np.random.default_rng(0).integers(0, 256, (40, 1, 8, 8), np.uint8)


class Stops(BYOL):
    """A BYOL that breaks after a number of training batches."""

    left = 10**9

    def forward(self, batch: Any) -> dict[str, torch.Tensor]:
        self.left -= self.training
        if self.left < 0:
            raise Unplugged
        return super().forward(batch)


def model(left: int = 10**9) -> BYOL:
    torch.manual_seed(0)
    method = Stops(ResNet([1, 8, 8], [4], [1], "3x3"), Augment(crop=0.5), [8, 4], 8, momentum=0.8)
    method.left = left
    return method


def run(folder: Path, method: BYOL, **trainer: Any) -> BYOL:
    cfg = config(max_steps=9, **trainer)
    cfg.resume = str(folder) if folder.exists() else None
    folder.mkdir(exist_ok=True)
    train(method, ArrayDataset({"x": X}), ArrayDataset({"x": X[:8]}), cfg, folder)
    return method


@pytest.mark.parametrize("options", [{}, {"ema_decay": 0.9}, {"accumulate_grad_batches": 2}])
def test_killed_and_resumed_they_are_where_they_would_have_been(tmp_path: Path, options: dict[str, Any]) -> None:
    whole = run(tmp_path / "whole", model(), **options)
    for _ in range(2):  # the checkpoints are after 5 steps
        try:
            cut = run(tmp_path / "cut", model(left=7 * options.get("accumulate_grad_batches", 1)), **options)
        except Unplugged:
            continue
    assert same(whole, cut)
    start = model().target
    assert not same(whole.target, start) and not same(whole.target[0], whole.network)


def test_the_share_of_the_run_that_is_done_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(BYOL, "after_step", lambda self, progress: seen.append(progress))
    run(tmp_path / "run", model())
    assert seen == pytest.approx([k / 9 for k in range(1, 10)])
