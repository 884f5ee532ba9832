"""Training: bit-identical after a resume, and each option does what its name says."""

import json
import math
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file

from ssl_cli.data.batches import ArrayDataset
from ssl_cli.errors import InputError
from ssl_cli.methods.autoencoders.denoising import DenoisingAutoencoder
from ssl_cli.models.mlp import MLPAutoencoder
from ssl_cli.runs.folder import read_history
from ssl_cli.training.callbacks import seconds
from ssl_cli.training.trainer import compiled, lr_schedule, step_limit, train
from tests.conftest import Cli

ROWS = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)


def config(**trainer: Any) -> Any:
    conf = Path(__file__).parents[2] / "conf"
    cfg = OmegaConf.create({"seed": 3, "resume": None, "choices": {"trainer": "cpu"}})
    cfg.optim = OmegaConf.load(conf / "optim" / "adamw.yaml")
    cfg.trainer = OmegaConf.load(conf / "trainer" / "auto.yaml")
    settings = {"accelerator": "cpu", "batch_size": 16, "validate_every_n_steps": 4, "checkpoint_every_n_steps": 5}
    cfg.trainer.update(settings | trainer)
    return cfg


def model() -> DenoisingAutoencoder:
    torch.manual_seed(0)
    return DenoisingAutoencoder(MLPAutoencoder([6], [8], 4), noise="swap", level=0.3)


def trained(folder: Path, cfg: Any, objective: DenoisingAutoencoder | None = None) -> DenoisingAutoencoder:
    objective = objective or model()
    train(objective, ArrayDataset({"x": ROWS[:40]}), ArrayDataset({"x": ROWS[40:]}), cfg, folder)
    return objective


def history(folder: Path) -> list[dict[str, float]]:
    """What is the same in every run of the same seed: all but the seconds."""
    rows = read_history(folder / "history.csv")
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def same(one: torch.nn.Module, two: torch.nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), two.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


OPTIONS = [
    {},
    {"accumulate_grad_batches": 3},
    {"gradient_clip_val": 0.1},
    {"ema_decay": 0.9},
    {"patience": 100},
    {"ema_decay": 0.9, "patience": 100, "accumulate_grad_batches": 2, "gradient_clip_val": 0.1},
]


# Checkpoints that fall between validations, and on them.
EVERY = [{}, {"checkpoint_every_n_steps": 4}]


@pytest.mark.parametrize("every", EVERY, ids=["apart", "together"])
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "+".join(options) or "plain")
def test_killed_twice_and_resumed_equals_never_stopped(
    tmp_path: Path, options: dict[str, Any], every: dict[str, int]
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    uninterrupted = trained(whole, config(max_steps=22, **options, **every))

    resumed = config(max_steps=22, **options, **every)
    for batches in (9, 5):
        with pytest.raises(Unplugged):
            unplugged_at = batches * options.get("accumulate_grad_batches", 1) + 1
            trained(parts, resumed, Unplugs.after(unplugged_at))
        resumed.resume = str(parts)
    assert same(uninterrupted, trained(parts, resumed))
    assert history(whole) == history(parts)


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "+".join(options) or "plain")
def test_resuming_a_finished_run_changes_nothing(tmp_path: Path, options: dict[str, Any]) -> None:
    cfg = config(max_steps=12, **options)
    once = trained(tmp_path, cfg)
    cfg.resume = str(tmp_path)
    assert same(once, trained(tmp_path, cfg))


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
    assert content["global_step"] == history(tmp_path)[-1]["step"] > 4
    assert torch.equal(content["state_dict"]["objective.network.encoder.0.weight"], end.network.encoder[0].weight)


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    cfg = config(max_steps=6)
    trained(tmp_path, cfg)
    cfg.resume = str(tmp_path)
    for name in ("last.ckpt", "previous.ckpt"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"last\.ckpt is damaged .*previous\.ckpt is damaged .*start a new run"):
        trained(tmp_path, cfg)


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "gone", "another model's"])
def test_a_torn_checkpoint_is_named_and_the_one_before_it_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    def steps(
        name: str, max_steps: int, resume: bool = False, objective: DenoisingAutoencoder | None = None
    ) -> DenoisingAutoencoder:
        (tmp_path / name).mkdir(exist_ok=True)
        cfg = config(max_steps=max_steps)
        cfg.optim.schedule, cfg.resume = "constant", str(tmp_path / name) if resume else None
        return trained(tmp_path / name, cfg, objective)

    whole = steps("whole", 22)
    steps("torn", 12)  # checkpoints at 5, 10 and 12: the last two are kept
    last = tmp_path / "torn" / "last.ckpt"
    content = last.read_bytes()
    if damage == "gone":
        last.unlink()
    elif damage == "another model's":
        steps("other", 1, objective=DenoisingAutoencoder(MLPAutoencoder([6], [9], 4), noise="swap", level=0.3))
        last.write_bytes((tmp_path / "other" / "last.ckpt").read_bytes())
    else:
        with zipfile.ZipFile(last) as file:
            largest = max(file.infolist(), key=lambda entry: entry.file_size)
        at = content.index(largest.filename.encode()) + 200  # among the numbers of a tensor
        flipped = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        last.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "flipped": flipped}[damage])
    capsys.readouterr()
    assert same(whole, steps("torn", 22, resume=True))
    out, err = capsys.readouterr()
    assert f"going on from step 10 of {tmp_path / 'torn' / 'previous.ckpt'}" in out
    if damage != "gone":
        assert f"{last} is damaged" in err and "The one before it is used." in err


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
        objective = DenoisingAutoencoder(MLPAutoencoder([6], [8], 4), noise="gaussian", level=1e-12)
        cfg = config(max_steps=6, batch_size=size, accumulate_grad_batches=accumulate)
        train(objective, ArrayDataset({"x": ROWS[:40]}), ArrayDataset({"x": ROWS[40:]}), cfg, folder)
        ends.append(torch.cat([weights.flatten() for weights in objective.parameters()]))
    torch.testing.assert_close(*ends, rtol=1e-4, atol=1e-6)


def test_early_stopping_returns_to_the_best_weights(tmp_path: Path) -> None:
    cfg = config(max_steps=4000, patience=3, validate_every_n_steps=20)
    cfg.optim.lr = 0.03
    cfg.optim.schedule = "constant"
    objective = trained(tmp_path, cfg)
    rows = history(tmp_path)
    losses = [row["val/loss"] for row in rows]
    assert rows[-1]["step"] < 4000
    assert len(losses) - 1 - int(np.argmin(losses)) == 3  # three validations without improvement
    torch.manual_seed(int(np.random.SeedSequence([3, 0, 0]).generate_state(1, np.uint64)[0] >> 1))
    with torch.no_grad():
        now = float(objective.cpu()({"x": torch.from_numpy(ROWS[40:])})["loss"])
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


def test_schedules() -> None:
    optim = OmegaConf.create({"warmup_steps": 4, "schedule": "cosine"})
    factor = partial(lr_schedule(optim, 104), elapsed_s=never_asked)
    assert [factor(step) for step in range(4)] == [0.2, 0.4, 0.6, 0.8]
    assert (factor(4), factor(54), factor(104)) == pytest.approx((1, 0.5, 0))
    assert factor(29) == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))
    optim.schedule = "linear"
    assert lr_schedule(optim, 104)(29, never_asked) == pytest.approx(0.75)
    optim.schedule = "constant"
    assert lr_schedule(optim, -1)(10**6, never_asked) == 1


def never_asked() -> float:
    raise AssertionError("the clock has no say in this schedule")


def test_a_budget_of_time_is_used_from_the_first_step_on() -> None:
    """No jump where the warm-up ends."""
    optim = OmegaConf.create({"warmup_steps": 9, "schedule": "linear"})
    factor = lr_schedule(optim, -1, max_s=100)
    rates = [factor(step, partial(float, 4 * step)) for step in range(25)]
    assert rates[:7] == [(step + 1) / 10 for step in range(7)]
    assert rates[8:] == pytest.approx([1 - 4 * step / 100 for step in range(8, 25)])


def test_a_schedule_ends_with_the_time_it_has() -> None:
    optim = OmegaConf.create({"warmup_steps": 2, "schedule": "linear"})
    factor = lr_schedule(optim, -1, max_s=600)
    assert [factor(5, [s].pop) for s in (0.0, 150.0, 600.0, 700.0)] == [1, 0.75, 0, 0]
    assert lr_schedule(optim, 102, max_s=600)(77, lambda: 150.0) == 0.25  # the steps are further on
    assert [seconds(text) for text in ("00:10:00", "01:00:00:01", None)] == [600, 86401, math.inf]


def test_divergence_is_said_in_words(cli: Cli, workdir: Path) -> None:
    code, _, err = cli("detect", "trainer=cpu", "optim.lr=1e9", "trainer.max_steps=200")
    assert code == 2
    assert "Try a smaller optim.lr" in err
    assert not list(workdir.glob("outputs/*/*/*/metrics.json"))
    assert "failed: The loss became NaN or infinite in step" in next(workdir.glob("outputs/*/*/*/log.txt")).read_text()


def test_resume_from_the_command_line_reaches_the_same_run(cli: Cli) -> None:
    def last(out: str) -> Path:
        return Path(out.strip().splitlines()[-1])

    options = ["trainer=cpu", "optim.schedule=constant", "bootstrap_samples=20"]
    whole = last(cli("detect", *options, "trainer.max_steps=30")[1])
    short = last(cli("detect", *options, "trainer.max_steps=20")[1])
    code, out, err = cli("detect", f"resume={short}", "trainer.max_steps=30")
    assert code == 0, err
    assert last(out) == short
    assert "going on from step 20" in out
    for name, weights in load_file(whole / "model.safetensors").items():
        assert torch.equal(weights, load_file(short / "model.safetensors")[name])
    metrics = [json.loads((folder / "metrics.json").read_text()) for folder in (whole, short)]
    assert metrics[0] == metrics[1]


# --- a plug that is pulled ---


class Unplugged(Exception):
    """What a crash in the middle of training looks like from inside."""


class Unplugs(DenoisingAutoencoder):
    """An objective that breaks after so many training batches."""

    @classmethod
    def after(cls, batches: int) -> "Unplugs":
        objective = model()
        objective.__class__ = cls
        objective.left = batches
        return objective

    def forward(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        self.left -= self.training
        if self.left < 0:
            raise Unplugged
        return super().forward(batch)


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
