"""Checkpoints: bit-identical after a resume, and damaged ones are reported."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from ssl_cli.errors import InputError
from ssl_cli.methods.autoencoders.denoising import DenoisingAutoencoder
from ssl_cli.models.mlp import MLPAutoencoder
from ssl_cli.training.checkpoints import append_checksum
from tests.conftest import Cli
from tests.helpers.trained_models import OPTIONS, Unplugged, Unplugs, config, history, same, trained

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


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    cfg = config(max_steps=6)
    trained(tmp_path, cfg)
    cfg.resume = str(tmp_path)
    for name in ("last.ckpt", "previous.ckpt"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"last\.ckpt is damaged .*previous\.ckpt is damaged .*start a new run"):
        trained(tmp_path, cfg)


def test_a_checkpoint_of_an_earlier_version_is_not_resumed_from_step_0(tmp_path: Path) -> None:
    cfg = config(max_steps=3)
    trained(tmp_path, cfg)
    content = torch.load(tmp_path / "last.ckpt", weights_only=True)
    content["since_validation"] = content.pop("progress")
    torch.save(content, tmp_path / "last.ckpt")
    append_checksum(tmp_path / "last.ckpt")
    cfg.resume = str(tmp_path)
    with pytest.raises(InputError, match=r"last\.ckpt was made by an earlier version of ssl.*start a new run"):
        trained(tmp_path, cfg)


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "gone", "another model's"])
def test_a_torn_checkpoint_is_named_and_the_one_before_it_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    def steps(
        name: str, max_steps: int, resume: bool = False, method: DenoisingAutoencoder | None = None
    ) -> DenoisingAutoencoder:
        (tmp_path / name).mkdir(exist_ok=True)
        cfg = config(max_steps=max_steps)
        cfg.optim.schedule, cfg.resume = "constant", str(tmp_path / name) if resume else None
        return trained(tmp_path / name, cfg, method)

    whole = steps("whole", 22)
    steps("torn", 12)  # checkpoints at 5, 10 and 12: the last two are kept
    last = tmp_path / "torn" / "last.ckpt"
    content = last.read_bytes()
    if damage == "gone":
        last.unlink()
    elif damage == "another model's":
        steps("other", 1, method=DenoisingAutoencoder(MLPAutoencoder([6], [9], 4), noise="swap", level=0.3))
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
    assert f"resuming from step 10 of {tmp_path / 'torn' / 'previous.ckpt'}" in out
    if damage != "gone":
        assert f"{last} is damaged" in err and "The one before it is used." in err


def test_resume_from_the_command_line_reaches_the_same_run(cli: Cli) -> None:
    def last(out: str) -> Path:
        return Path(out.strip().splitlines()[-1])

    options = ["trainer=cpu", "optim.schedule=constant", "bootstrap_samples=20"]
    whole = last(cli("detect", *options, "trainer.max_steps=30")[1])
    short = last(cli("detect", *options, "trainer.max_steps=20")[1])
    code, out, err = cli("detect", f"resume={short}", "trainer.max_steps=30")
    assert code == 0, err
    assert last(out) == short
    assert "resuming from step 20" in out
    for name, weights in load_file(whole / "model.safetensors").items():
        assert torch.equal(weights, load_file(short / "model.safetensors")[name])
    metrics = [json.loads((folder / "metrics.json").read_text()) for folder in (whole, short)]
    assert metrics[0] == metrics[1]
