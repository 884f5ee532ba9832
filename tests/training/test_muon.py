"""Muon for matrices, AdamW for the rest: equal to both run apart, and one optimizer for schedule and checkpoint."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ssl_cli.data.batches import ArrayDataset
from ssl_cli.errors import InputError
from ssl_cli.training import muon
from ssl_cli.training.muon import MuonAdamW
from ssl_cli.training.optim import WeightGroups
from ssl_cli.training.trainer import train
from tests.helpers.pretrain_runs import causal
from tests.helpers.trained_models import ROWS, config


def with_gradients(step: int = 0) -> nn.Module:
    torch.manual_seed(0)
    return add_gradients(causal(), step)


def add_gradients(model: nn.Module, step: int) -> nn.Module:
    rng = torch.Generator().manual_seed(step)
    for weight in model.parameters():
        weight.grad = torch.randn(weight.shape, generator=rng)
    return model


def is_muons(name: str, weight: torch.Tensor) -> bool:
    return weight.dim() == 2 and "token_table" not in name


def test_it_is_muon_and_adamw_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(muon, "has_bf16", lambda device: True)
    ours, theirs = with_gradients(), with_gradients()
    both = MuonAdamW(WeightGroups(ours).split(), lr=0.01, weight_decay=0.3)
    named = list(theirs.named_parameters())
    matrices = [weight for name, weight in named if is_muons(name, weight)]
    tables = [weight for name, weight in named if weight.dim() == 2 and not is_muons(name, weight)]
    vectors = [weight for _, weight in named if weight.dim() == 1]
    assert len(matrices) == 8 and len(tables) == 1
    apart = [
        torch.optim.Muon(matrices, lr=0.01, weight_decay=0.3, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(tables, lr=0.01, weight_decay=0.3, fused=True),
        torch.optim.AdamW(vectors, lr=0.01, weight_decay=0.0, fused=True),
    ]
    for step in range(3):
        add_gradients(ours, step), add_gradients(theirs, step)
        both.step()
        for optimizer in apart:
            optimizer.step()
    for (name, weight), expected in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert torch.equal(weight, expected), name


def test_in_float32_it_is_muon_but_for_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    models = []
    for is_half in (True, False):
        monkeypatch.setattr(muon, "has_bf16", lambda device, is_half=is_half: is_half)
        models.append(model := with_gradients())
        optimizer = MuonAdamW(WeightGroups(model).split(), lr=0.01, weight_decay=0.3)
        for step in range(3):
            add_gradients(model, step)
            optimizer.step()
    start = dict(with_gradients().named_parameters())
    for (name, half), (_, full) in zip(*(model.named_parameters() for model in models), strict=True):
        moved = (half - start[name]).norm()
        if is_muons(name, half):
            assert 0 < (full - half).norm() < 0.02 * moved, name
        else:
            assert torch.equal(full, half), name


def test_a_convolution_is_a_matrix_with_a_row_for_each_output_channel() -> None:
    torch.manual_seed(0)
    conv, matrix = nn.Conv2d(3, 6, 3, bias=False).to(memory_format=torch.channels_last), nn.Linear(27, 6, bias=False)
    matrix.weight.data = conv.weight.detach().flatten(1).clone()
    for step in range(2):
        gradient = torch.randn(6, 27, generator=torch.Generator().manual_seed(step))
        conv.weight.grad, matrix.weight.grad = gradient.view(6, 3, 3, 3), gradient
        for module in (conv, matrix):
            if step == 0:
                module.optimizer = MuonAdamW(WeightGroups(module).split(), lr=0.01)
            module.optimizer.step()  # type: ignore[operator, union-attr]
    torch.testing.assert_close(conv.weight.flatten(1), matrix.weight)


@pytest.mark.parametrize("shape", [(6, 20), (20, 6), (7, 7)])
def test_singular_values_of_an_orthogonalized_matrix_are_near_one(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    found = muon.orthogonalize(matrix, (3.4445, -4.775, 2.0315), steps=5)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    values /= values.norm()
    for _ in range(5):
        values = 3.4445 * values - 4.775 * values**3 + 2.0315 * values**5
    torch.testing.assert_close(found, left * values @ right, rtol=1e-4, atol=1e-4)
    assert float(values.min()) > 0.6 and float(values.max()) < 1.3


def test_it_goes_on_from_its_state_with_the_learning_rate_of_the_schedule() -> None:
    whole, resumed = with_gradients(), with_gradients()
    first, second = (MuonAdamW(WeightGroups(model).split(), lr=0.01) for model in (whole, resumed))
    first.step()
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    resumed.load_state_dict(whole.state_dict())
    for optimizer, model in ((first, whole), (second, resumed)):
        add_gradients(model, 1)
        for group in optimizer.param_groups:
            group["lr"] = 0.003
        before = torch.nn.utils.parameters_to_vector(model.parameters()).detach()
        optimizer.step()
        largest = float((torch.nn.utils.parameters_to_vector(model.parameters()).detach() - before).abs().max())
        assert 0 < largest < 0.02
    assert all(map(torch.equal, whole.parameters(), resumed.parameters()))


def test_a_run_resumes_to_the_bit(tmp_path: Path) -> None:
    def run(folder: Path, max_steps: int, resume: bool = False) -> nn.Module:
        torch.manual_seed(0)
        model: Any = Rebuilder()
        folder.mkdir(exist_ok=True)
        cfg = config(max_steps=max_steps, checkpoint_every_n_steps=4)
        cfg.optim.schedule = "constant"
        cfg.optim.optimizer = {
            "_target_": "ssl_cli.training.muon.MuonAdamW",
            "_partial_": True,
            "lr": 0.01,
            "weight_decay": 0.1,
        }
        cfg.resume = str(folder) if resume else None
        train(model, ArrayDataset({"x": ROWS[:40]}), ArrayDataset({"x": ROWS[40:]}), cfg, folder)
        return model

    whole = run(tmp_path / "whole", 9)
    run(tmp_path / "parts", 4)
    parts = run(tmp_path / "parts", 9, resume=True)
    assert all(map(torch.equal, whole.parameters(), parts.parameters()))


class Rebuilder(nn.Module):
    """An autoencoder of two matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(6, 3), nn.Linear(3, 6)

    def forward(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"loss": (self.decoder(self.encoder(batch["x"])) - batch["x"]).square().mean()}


def test_matrices_that_are_cut_over_devices_are_refused() -> None:
    flat = nn.Parameter(torch.from_numpy(np.zeros(12, np.float32)))
    with pytest.raises(InputError, match=r"trainer\.strategy=fsdp cuts over devices: use ddp"):
        MuonAdamW([{"params": [flat], "is_matrix": True}], lr=0.1)
