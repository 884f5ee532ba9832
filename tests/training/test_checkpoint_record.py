"""The record of a checkpoint: its step, epoch and validation, of damaged and of foreign files too."""

from pathlib import Path
from typing import Any

import pytest
import torch

from ssl_cli.training.checkpoint_record import records_of
from ssl_cli.training.checkpoints import append_checksum
from tests.helpers.trained_models import Unplugged, Unplugs, config, history, trained


def rewrite(path: Path, **progress: Any) -> None:
    """Write a checkpoint again, with another progress."""
    content = torch.load(path, weights_only=True)
    content["progress"] |= progress
    torch.save(content, path)
    append_checksum(path)


def test_each_has_its_step_its_epoch_and_the_newest_validation(tmp_path: Path) -> None:
    # Validated after steps 4, 8 and 12, saved after 5, 10 and 12.
    trained(tmp_path, config(max_steps=12, accumulate_grad_batches=2))
    last, previous = records_of(tmp_path)
    rows = {row["step"]: row for row in history(tmp_path)}
    assert [last.path.name, previous.path.name] == ["last.ckpt", "previous.ckpt"]
    assert [last.step, previous.step] == [12, 10]
    assert [last.epoch, previous.epoch] == [pytest.approx(24 / 3), pytest.approx(20 / 3)]  # of 3 batches
    assert [last.validation, previous.validation] == [
        {"step": step, "val/loss": pytest.approx(rows[step]["val/loss"])} for step in (12, 8)
    ]
    assert (last.monitor, last.lower_is_better, last.kept, last.fault) == ("val/loss", True, {}, "")


def test_early_stopping_leaves_the_validation_of_the_weights_that_it_keeps(tmp_path: Path) -> None:
    cfg = config(max_steps=4000, patience=3, validate_every_n_steps=20)
    cfg.optim.lr, cfg.optim.schedule = 0.03, "constant"
    trained(tmp_path, cfg)
    best = min(history(tmp_path), key=lambda row: row["val/loss"])
    last = records_of(tmp_path)[0]
    assert last.kept == {"step": best["step"], "val/loss": pytest.approx(best["val/loss"])}
    assert last.validation["step"] == best["step"] + 60


def test_a_resumed_run_keeps_the_record_from_before(tmp_path: Path) -> None:
    """A checkpoint is due after step 5, and the next validation is after step 100."""
    cfg = config(max_steps=12, patience=100, validate_every_n_steps=4)
    with pytest.raises(Unplugged):
        trained(tmp_path, cfg, Unplugs.after(6))
    (before,) = records_of(tmp_path)
    assert (before.step, before.validation["step"], before.kept["step"]) == (5, 4, 4)
    cfg.resume, cfg.trainer.validate_every_n_steps = str(tmp_path), 100
    with pytest.raises(Unplugged):
        trained(tmp_path, cfg, Unplugs.after(6))
    last, previous = records_of(tmp_path)
    assert previous == type(previous)(**{**vars(before), "path": previous.path})
    assert (last.step, last.validation, last.kept) == (10, before.validation, before.kept)


def test_what_is_damaged_or_not_ours_is_a_fault(tmp_path: Path) -> None:
    trained(tmp_path, config(max_steps=6))
    last, previous = tmp_path / "last.ckpt", tmp_path / "previous.ckpt"
    content = previous.read_bytes()
    previous.write_bytes(content[:500] + bytes([content[500] ^ 1]) + content[501:])
    for changes, fault in (
        ({"validation": {"step": 4, "val/loss": "low"}}, "its record has a value that is no number"),
        ({"validation": [1]}, "its record has a value that is no number"),
        ({"validation": {"val/loss": 0.5}}, "its record has a validation of no step"),
        ({"validation": {"step": float("nan"), "val/loss": 0.5}}, "its record has a validation of no step"),
        ({"validation": {"step": 4, "val/loss": 10**18}}, "its record has a value that is no number"),
        ({"monitor": 3}, "its record has a value of another type"),
        ({"epoch": "x"}, "its record has a value of another type"),
        ({"step": 0.5}, "its record has a value of another type"),
    ):
        before = last.read_bytes()
        rewrite(last, **changes)
        assert fault in records_of(tmp_path)[0].fault
        last.write_bytes(before)
    assert records_of(tmp_path)[0].fault == ""
    assert records_of(tmp_path)[1].fault == "is damaged (its checksum is wrong)"


def test_a_checkpoint_of_an_earlier_version_has_its_step_alone(tmp_path: Path) -> None:
    trained(tmp_path, config(max_steps=4))
    content = torch.load(tmp_path / "last.ckpt", weights_only=True)
    for name in ("epoch", "monitor", "validation"):
        del content["progress"][name]
    torch.save(content, tmp_path / "last.ckpt")
    append_checksum(tmp_path / "last.ckpt")
    (record,) = records_of(tmp_path)
    assert (record.step, record.epoch, record.validation, record.fault) == (4, None, {}, "")
