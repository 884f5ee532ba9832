"""Stretches of steps: their length, and that a run has the same bits whatever it is."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch

from ssl_cli.errors import InputError
from ssl_cli.training.stretches import GROWTH, TARGET_S, StretchLength
from tests.helpers.trained_models import OPTIONS, Unplugged, Unplugs, config, history, model, same, trained

CPU = torch.device("cpu")


def fix_length(monkeypatch: pytest.MonkeyPatch, n_steps: int) -> None:
    """Make all stretches `n_steps` long, except where something is due before."""
    monkeypatch.setattr(StretchLength, "proposed", n_steps)
    monkeypatch.setattr(StretchLength, "observe", lambda *_: None)


def test_a_stretch_ends_where_something_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    fix_length(monkeypatch, 32)
    length, step, ends = StretchLength((20, 50), max_steps=110), 0, []
    while step < 110:
        step += length.choose(step, 1, CPU)
        ends.append(step)
    assert ends == [20, 40, 50, 60, 80, 100, 110]
    assert StretchLength((1000,), max_steps=-1).choose(0, 1, CPU) == 32


def test_a_stretch_is_as_long_as_fits_into_the_target() -> None:
    length = StretchLength((10**6,), max_steps=-1)
    length.observe(1, elapsed_s=10.0)  # the first step, which compiles
    assert length.choose(1, 1, CPU) == 1
    for _ in range(8):
        n_steps = length.choose(1, 1, CPU)
        length.observe(n_steps, elapsed_s=n_steps * TARGET_S / 40)
        assert length.proposed <= GROWTH * n_steps
    assert length.choose(1, 1, CPU) == 40
    length.observe(3, elapsed_s=3 * TARGET_S / 40)  # something was due after three steps
    assert length.choose(1, 1, CPU) == 40
    length.observe(40, elapsed_s=40 * TARGET_S)
    assert length.choose(1, 1, CPU) == 1


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "+".join(options) or "plain")
def test_every_length_gives_the_same_bits_also_when_killed_and_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    cfg = config(max_steps=75, validate_every_n_steps=40, checkpoint_every_n_steps=35, **options)
    runs = []
    for n_steps, killed_after in ((1, None), (7, None), (32, None), (1, 50), (7, 38), (32, 60)):
        fix_length(monkeypatch, n_steps)
        folder = tmp_path / f"{n_steps}-{killed_after}"
        folder.mkdir()
        cfg.resume = None
        if killed_after:
            with pytest.raises(Unplugged):
                trained(folder, cfg, Unplugs.after(killed_after * options.get("accumulate_grad_batches", 1)))
            cfg.resume = str(folder)
            fix_length(monkeypatch, 11)
        runs.append((trained(folder, cfg), history(folder)))
    first, rows = runs[0]
    assert [row["step"] for row in rows] == [40, 75]
    for method, others in runs[1:]:
        assert same(first, method)
        assert others == rows


def test_the_message_on_a_broken_loss_names_the_step_within_the_stretch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fix_length(monkeypatch, 32)
    cfg = config(max_steps=64, validate_every_n_steps=32, checkpoint_every_n_steps=32)
    method, batches = model(), itertools.count(1)
    method.register_forward_hook(lambda _, __, losses: losses | {"loss": losses["loss"] / (next(batches) != 7)})
    with pytest.raises(InputError, match="The loss became NaN or infinite in step 7, with the batch of these 16 rows"):
        trained(tmp_path, cfg, method)
    assert not (tmp_path / "last.ckpt").exists()
