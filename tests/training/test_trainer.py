"""Training: bit-identical after a resume, and each option does what its name says."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ssl_cli.data.batches import ArrayDataset
from ssl_cli.errors import InputError
from ssl_cli.methods.autoencoders.denoising import DenoisingAutoencoder
from ssl_cli.models.mlp import MLPAutoencoder
from ssl_cli.training import trainer
from ssl_cli.training.limits import step_limit
from ssl_cli.training.module import Learner
from ssl_cli.training.trainer import compiled, train
from tests.conftest import Cli
from tests.helpers.trained_models import OPTIONS, ROWS, Unplugged, config, history, model, same, trained


def test_a_run_that_stopped_early_stays_stopped(tmp_path: Path) -> None:
    cfg = config(max_steps=4000, patience=2, validate_every_n_steps=10, checkpoint_every_n_steps=10)
    cfg.optim.lr, cfg.optim.schedule = 0.03, "constant"
    once, rows = trained(tmp_path, cfg), history(tmp_path)
    assert rows[-1]["step"] < 4000
    cfg.resume = str(tmp_path)
    assert same(once, trained(tmp_path, cfg))
    assert history(tmp_path) == rows


def test_early_stopping_after_a_longer_second_part_equals_one_part(tmp_path: Path) -> None:
    ends = []
    for name, lengths in (("one", [400]), ("two", [20, 400])):
        (tmp_path / name).mkdir()
        for length in lengths:
            cfg = config(max_steps=length, patience=2, validate_every_n_steps=10, checkpoint_every_n_steps=10)
            cfg.optim.lr, cfg.optim.schedule = 0.03, "constant"
            cfg.resume = str(tmp_path / name) if length != lengths[0] else None
            end = trained(tmp_path / name, cfg)
        ends.append(end)
    assert same(*ends)
    assert history(tmp_path / "one") == history(tmp_path / "two")


def test_the_last_step_is_validated(tmp_path: Path) -> None:
    trained(tmp_path, config(max_steps=10))
    assert [row["step"] for row in history(tmp_path)] == [4, 8, 10]


def test_a_run_ended_by_time_leaves_a_checkpoint_of_its_last_step(tmp_path: Path) -> None:
    cfg = config(max_time="00:00:00:01", checkpoint_every_n_steps=10**9)
    cfg.optim.schedule = "constant"
    end = trained(tmp_path, cfg)
    content = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert content["progress"]["step"] == history(tmp_path)[-1]["step"] > 4
    assert torch.equal(content["state_dict"]["method.network.encoder.0.weight"], end.network.encoder[0].weight)


def test_options_change_the_weights_they_should(tmp_path: Path) -> None:
    results = []
    for index, options in enumerate(OPTIONS[:4]):
        (tmp_path / str(index)).mkdir()
        results.append(trained(tmp_path / str(index), config(max_steps=12, **options)))
    assert not any(same(results[0], other) for other in results[1:])


def test_accumulating_two_half_batches_is_one_whole_batch(tmp_path: Path) -> None:
    # Without noise and with batches that divide the rows, the mean of two half-batch gradients is the whole's.
    ends = []
    for size, accumulate in ((20, 1), (10, 2)):
        folder = tmp_path / str(size)
        folder.mkdir()
        torch.manual_seed(0)
        method = DenoisingAutoencoder(MLPAutoencoder([6], [8], 4), noise="gaussian", level=1e-12)
        cfg = config(max_steps=6, batch_size=size, accumulate_grad_batches=accumulate)
        train(method, ArrayDataset({"x": ROWS[:40]}), ArrayDataset({"x": ROWS[40:]}), cfg, folder)
        ends.append(torch.cat([weights.flatten() for weights in method.parameters()]))
    torch.testing.assert_close(*ends, rtol=1e-4, atol=1e-6)


def test_scaling_the_loss_as_16_mixed_does_changes_no_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # By a power of two, so that nothing is rounded; gradients are clipped after it is divided out again.
    cfg, scaler = config(max_steps=12, gradient_clip_val=0.1), torch.amp.GradScaler("cpu", init_scale=2.0**10)
    plain = trained(tmp_path, cfg)
    monkeypatch.setattr(Learner, "_loss_scaler", lambda _: scaler)
    (tmp_path / "scaled").mkdir()
    assert same(plain, trained(tmp_path / "scaled", cfg))
    assert scaler.get_scale() == 2.0**10


def test_early_stopping_returns_to_the_best_weights(tmp_path: Path) -> None:
    cfg = config(max_steps=4000, patience=3, validate_every_n_steps=20)
    cfg.optim.lr = 0.03
    cfg.optim.schedule = "constant"
    method = trained(tmp_path, cfg)
    rows = history(tmp_path)
    losses = [row["val/loss"] for row in rows]
    assert rows[-1]["step"] < 4000
    assert len(losses) - 1 - int(np.argmin(losses)) == 3  # three validations without improvement
    torch.manual_seed(int(np.random.SeedSequence([3, 0, 0]).generate_state(1, np.uint64)[0] >> 1))
    with torch.no_grad():
        now = float(method.cpu()({"x": torch.from_numpy(ROWS[40:])})["loss"])
    assert now == pytest.approx(min(losses), rel=1e-5)


def test_ema_is_the_average_it_says(tmp_path: Path) -> None:
    steps = []
    for n in range(1, 4):
        (tmp_path / f"plain{n}").mkdir()
        cfg = config(max_steps=n, validate_every_n_steps=1)
        cfg.optim.schedule = "constant"
        steps.append(trained(tmp_path / f"plain{n}", cfg).network.encoder[0].weight.detach())
    (tmp_path / "ema").mkdir()
    cfg = config(max_steps=3, ema_decay=0.8, validate_every_n_steps=1)
    cfg.optim.schedule = "constant"
    average = trained(tmp_path / "ema", cfg).network.encoder[0].weight.detach()
    expected = 0.8 * (0.8 * steps[0] + 0.2 * steps[1]) + 0.2 * steps[2]
    torch.testing.assert_close(average, expected)


def test_averaged_weights_keep_constants(tmp_path: Path) -> None:
    """They are in no checkpoint: a resumed run would have them without what averaging did to them."""
    method = model()
    constants = {"angles": torch.rand(1000), "ids": torch.arange(1000), "is_special": torch.rand(9) < 0.5}
    for name, constant in constants.items():
        method.register_buffer(name, constant.clone(), persistent=False)
    trained(tmp_path, config(max_steps=20, ema_decay=0.9), method)
    for name, constant in constants.items():
        assert torch.equal(getattr(method, name), constant), name


@pytest.mark.parametrize(
    ("limits", "steps"),
    [
        ({}, 1500),
        ({"max_steps": 7}, 7),
        ({"max_epochs": 3}, 30),
        ({"max_epochs": 3, "accumulate_grad_batches": 4}, 8),
        ({"max_epochs": 3, "max_steps": 7}, 7),
        ({"max_time": "00:00:00:01"}, -1),
    ],
)
def test_the_nearest_limit_ends_the_run(limits: dict[str, Any], steps: int) -> None:
    assert step_limit(config(**limits).trainer, batches_per_epoch=10) == steps


def test_divergence_is_said_in_words(cli: Cli, workdir: Path) -> None:
    code, _, err = cli("detect", "trainer=cpu", "optim.lr=1e9", "trainer.max_steps=200")
    assert code == 2
    assert "Try a smaller optim.lr" in err
    assert not list(workdir.glob("outputs/*/*/*/metrics.json"))
    assert "failed: The loss became NaN or infinite in step" in next(workdir.glob("outputs/*/*/*/log.txt")).read_text()


@pytest.mark.long
def test_a_compiled_network_learns_the_same(tmp_path: Path) -> None:
    runs = []
    for compile_it in (False, True):
        (tmp_path / str(compile_it)).mkdir()
        runs.append(trained(tmp_path / str(compile_it), config(max_steps=4, compile=compile_it)))
    assert runs[1].network._compiled_call_impl is None
    for mine, theirs in zip(*(run.parameters() for run in runs), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-3)


def test_compiling_needs_a_network_and_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(InputError, match=r"needs a C\+\+ compiler"):
        trained(tmp_path, config(max_steps=1, compile=True))
    with pytest.raises(InputError, match="Linear has none"), compiled(torch.nn.Linear(1, 1), on_cpu=False):
        pass


class Changing(torch.nn.Module):
    """A method that learns by another loss in the first half of a run, and breaks after n training batches."""

    def __init__(self, breaks_after: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.left = torch.nn.Linear(6, 6), breaks_after

    def forward(self, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
        self.left -= self.training
        if self.left < 0:
            raise Unplugged
        error = (self.layer(batch["x"]) - batch["x"]).abs()
        if self.training and batch["progress"] < 0.5:
            loss = error.mean()
            return {"loss": loss, "absolute": loss.detach()}
        return {"loss": (loss := error.square().mean()), "squared": loss.detach()}


def test_a_method_may_change_its_losses_in_the_course_of_a_run(tmp_path: Path) -> None:
    """The history has means over the batches that have a loss, and a resumed run goes on at the same place."""

    def learned(folder: Path, breaks_after: int, resume: bool = False) -> Changing:
        folder.mkdir(exist_ok=True)
        method, cfg = Changing(breaks_after), config(max_steps=20, checkpoint_every_n_steps=5)
        cfg.resume = str(folder) if resume else None
        with suppress(Unplugged):
            train(method, ArrayDataset({"x": ROWS[:40]}), ArrayDataset({"x": ROWS[40:]}), cfg, folder)
        return method

    whole, rows = learned(tmp_path / "whole", 20), history(tmp_path / "whole")
    has = [("train/absolute" in row, "train/squared" in row) for row in rows]
    assert has == [(True, False), (True, False), (True, True), (False, True), (False, True)]
    assert rows[0]["train/absolute"] == rows[0]["train/loss"] and rows[4]["train/squared"] == rows[4]["train/loss"]
    learned(tmp_path / "parts", 12)
    assert same(whole, learned(tmp_path / "parts", 20, resume=True))
    assert history(tmp_path / "parts") == rows


@pytest.mark.parametrize("has_it", [True, False])
def test_a_cpu_that_emulates_bfloat16_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, has_it: bool
) -> None:
    monkeypatch.setattr(trainer, "has_bf16", lambda device: has_it)
    trained(tmp_path, config(max_steps=2, precision="bf16-mixed"))
    err = capsys.readouterr().err
    assert has_it == ("32-true is faster here" not in " ".join(err.split()))
