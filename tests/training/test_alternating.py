"""Several optimizers in turn: equal to the loop written out, bit-identical after a resume, on one device."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_cli.data.batches import ArrayDataset, InfiniteSampler
from ssl_cli.errors import InputError
from ssl_cli.training.seeding import reseed
from ssl_cli.training.trainer import train
from tests.helpers.trained_models import OPTIONS, ROWS, Unplugged, config, history, same


class Adversarial(nn.Module):
    """A code from which a critic can't read the first feature."""

    breaks_after = 10**9  # turns

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder, self.decoder, self.critic = nn.Linear(6, 3), nn.Linear(3, 6), nn.Linear(3, 1)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        return {
            "critic": list(self.critic.parameters()),
            "autoencoder": [*self.encoder.parameters(), *self.decoder.parameters()],
        }

    def losses(self, batch: dict[str, Tensor], turn: str) -> dict[str, Tensor]:
        self.breaks_after -= 1
        if self.breaks_after < 0:
            raise Unplugged
        x = batch["x"]
        code = self.encoder(x) + 0.1 * torch.randn(len(x), 3)
        guess = functional.mse_loss(self.critic(code)[:, 0], x[:, 0])
        if turn == "critic":
            return {"loss": guess}
        error = functional.mse_loss(self.decoder(code), x)
        return {"loss": error - 0.5 * guess, "error": error}

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return self.losses(batch, "autoencoder")


def learned(folder: Path, cfg: Any, method: Adversarial | None = None) -> Adversarial:
    folder.mkdir(exist_ok=True)
    method = method or Adversarial()
    train(method, ArrayDataset({"x": ROWS[:40]}), ArrayDataset({"x": ROWS[40:]}), cfg, folder)
    return method


def test_it_is_the_loop_written_out(tmp_path: Path) -> None:
    cfg = config(max_steps=7, accumulate_grad_batches=2, gradient_clip_val=0.3)
    cfg.optim.schedule, cfg.optim.warmup_steps = "constant", 0
    by_learner, mine = learned(tmp_path, cfg), Adversarial().train()
    groups, options = mine.parameter_groups(), {"lr": cfg.optim.lr, "weight_decay": cfg.optim.weight_decay}
    optimizers = {turn: torch.optim.AdamW(groups[turn], **options) for turn in groups}
    sampler = InfiniteSampler(40, 16, 3)
    for step in range(7):
        for turn in ("critic", "autoencoder"):
            mine.zero_grad()
            for k in (2 * step, 2 * step + 1):
                reseed(3, k, 0, torch.device("cpu"))
                (mine.losses({"x": torch.from_numpy(ROWS[sampler.rows(k)])}, turn)["loss"] / 2).backward()
            torch.nn.utils.clip_grad_norm_(groups[turn], 0.3)
            optimizers[turn].step()
    for (name, theirs), own in zip(by_learner.state_dict().items(), mine.state_dict().values(), strict=True):
        torch.testing.assert_close(theirs, own, msg=name, atol=1e-6, rtol=1e-5)


def test_the_history_has_the_loss_of_each_turn(tmp_path: Path) -> None:
    learned(tmp_path, config(max_steps=8))
    rows = history(tmp_path)
    assert {"train/loss", "train/error", "train/critic_loss", "val/loss", "val/error"} <= set(rows[-1])
    assert rows[0]["train/critic_loss"] > rows[0]["train/error"] - rows[0]["train/loss"] > 0  # half of another guess


@pytest.mark.parametrize("options", OPTIONS)
def test_a_run_that_broke_resumes_to_the_bit(tmp_path: Path, options: dict[str, Any]) -> None:
    cfg = config(max_steps=12, **options)
    whole = learned(tmp_path / "whole", cfg)
    broken = Adversarial()
    # In the second turn of a step after the first checkpoint, which is of step 5.
    broken.breaks_after = 2 * 7 * options.get("accumulate_grad_batches", 1) + 3
    with pytest.raises(Unplugged):
        learned(tmp_path / "broken", cfg, broken)
    cfg.resume = "here"
    assert same(whole, learned(tmp_path / "broken", cfg))
    assert history(tmp_path / "whole") == history(tmp_path / "broken")
    assert not same(whole, Adversarial())


def test_a_turn_leaves_the_weights_of_the_others(tmp_path: Path) -> None:
    class OnlyCritic(Adversarial):
        def losses(self, batch: dict[str, Tensor], turn: str) -> dict[str, Tensor]:
            losses = super().losses(batch, turn)
            return losses if turn == "critic" else {"loss": 0 * losses["loss"]}

    cfg = config(max_steps=3)
    cfg.optim.weight_decay = 0.0
    end, start = learned(tmp_path, cfg, OnlyCritic()), Adversarial()
    assert torch.equal(end.encoder.weight, start.encoder.weight)
    assert not torch.equal(end.critic.weight, start.critic.weight)
    assert all(weight.requires_grad for weight in end.parameters())


def test_every_weight_must_have_a_turn(tmp_path: Path) -> None:
    class Forgetful(Adversarial):
        def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
            return {"autoencoder": list(self.encoder.parameters())}

    with pytest.raises(AssertionError, match="each weight belongs to one turn"):
        learned(tmp_path, config(max_steps=1), Forgetful())


def test_several_devices_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"several optimizers, on one device: set trainer.devices=1"):
        learned(tmp_path, config(max_steps=1, devices=2))


def test_a_loss_that_is_nan_is_reported_with_its_rows(tmp_path: Path) -> None:
    class Diverges(Adversarial):
        def losses(self, batch: dict[str, Tensor], turn: str) -> dict[str, Tensor]:
            losses = super().losses(batch, turn)
            return losses | {"loss": losses["loss"] * (np.nan if batch["k"] == 3 and turn == "critic" else 1.0)}

        def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
            return super().losses(batch, "autoencoder")

    with pytest.raises(InputError, match="became NaN or infinite in step 4"):
        learned(tmp_path, config(max_steps=8), Diverges())
