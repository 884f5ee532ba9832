"""Fitting: what precedes and follows training, and models that have nothing to train."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ssl_cli.data.batches import ArrayDataset
from ssl_cli.training.fit import fit
from tests.helpers.trained_models import ROWS, config

TRAIN, VAL = ArrayDataset({"x": ROWS[:40]}), ArrayDataset({"x": ROWS[40:]})


class Mean(nn.Module):
    """A constant guess, and the sum of the rows that training leaves it to compute."""

    def __init__(self) -> None:
        super().__init__()
        self.guess = nn.Parameter(torch.zeros(6))
        self.register_buffer("total", torch.zeros(6))
        self.batches = 0

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"loss": (batch["x"] - self.guess).square().mean()}

    def fit_batches(self, batches: Iterable[dict[str, Any]], seed: int) -> None:
        assert not self.training and seed == 3
        for _ in range(2):  # as often as a method likes
            self.total = torch.stack([batch["x"].sum(0) for batch in batches]).sum(0)


def test_statistics_are_computed_from_batches_of_all_rows_after_training(tmp_path: Path) -> None:
    model = Mean()
    fit(model, TRAIN, VAL, config(max_steps=2), tmp_path)
    assert bool(model.guess.any())
    torch.testing.assert_close(model.total, torch.from_numpy(ROWS[:40]).sum(0))


def test_a_model_without_weights_is_left_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Identity(nn.Module):
        def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
            raise AssertionError("nothing is to be computed")

    fit(Identity(), TRAIN, VAL, config(max_steps=2), tmp_path)
    assert "Identity has no weights: nothing is trained" in "".join(capsys.readouterr())
    assert not list(tmp_path.iterdir())
