"""Resumed runs: what may change, what is left as it was, and what is rejected."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import ssl_cli
from ssl_cli.runs import folder as run_folder
from tests.conftest import QUICK, Cli
from tests.helpers.detect_runs import finished


def test_runs_elsewhere_can_be_listed_and_resumed(cli: Cli, table: Path) -> None:
    folder = finished(cli, "data=table", f"data.file={table}", "paths.outputs=elsewhere")
    assert str(folder) in cli("list", "runs", "paths.outputs=elsewhere")[1].replace("\n", "")
    code, out, err = cli("detect", "resume=latest", "paths.outputs=elsewhere", "fpr=0.3")
    assert code == 0, err
    assert out.strip().splitlines()[-1] == str(folder)
    assert "fpr: 0.3" in (folder / "config.yaml").read_text()
    assert "fpr: 0.3" in cli("detect", "resume=latest", "paths.outputs=elsewhere", "--cfg", "job")[1]


def test_resuming_on_other_data_is_refused(cli: Cli, table: Path) -> None:
    folder = finished(cli, "data=table", f"data.file={table}", "data.label=fraud")
    before = (folder / "metrics.json").read_bytes()
    table.write_text(table.read_text() + "1,1,y,0\n")
    code, _, err = cli("detect", f"resume={folder}")
    assert code == 2
    assert "The data has changed since" in err
    assert (folder / "metrics.json").read_bytes() == before


def test_a_resume_that_fails_leaves_the_finished_run_as_it_was(cli: Cli, table: Path) -> None:
    folder = finished(cli, "data=table", f"data.file={table}", "data.label=fraud")
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".json", ".yaml")}
    for damage, sentence in (("trainer.max_steps=2", "has taken 4 steps already"), ("", "is damaged")):
        if not damage:
            (folder / "last.ckpt").write_bytes(b"torn")
        code, _, err = cli("detect", f"resume={folder}", *([damage] if damage else []))
        assert code == 2
        assert sentence in err
        after = {name: (folder / name).read_bytes() for name in ("metrics.json", "config.yaml")}
        assert after == {name: before[name] for name in after}


def test_a_refused_resume_changes_nothing_that_skip_done_goes_by(cli: Cli, table: Path) -> None:
    words = ["data=table", f"data.file={table}", "data.label=fraud", "model=dae"]
    folder = finished(cli, *words)
    before = {path: path.read_bytes() for path in folder.iterdir() if path.suffix in (".json", ".yaml")}
    assert cli("detect", f"resume={folder}", "trainer.max_steps=2")[0] == 2
    assert {path: path.read_bytes() for path in before} == before
    (folder / "metrics.json").unlink()  # unfinished: the same holds, but that it says how it ended
    assert cli("detect", f"resume={folder}", "trainer.max_steps=2")[0] == 2
    assert (folder / "config.yaml").read_bytes() == before[folder / "config.yaml"]
    environment = run_folder.read_environment(folder)
    assert environment["config_hash"] == json.loads(before[folder / "environment.json"])["config_hash"]
    assert environment["ended"]["state"] == "failed" and "has taken 4 steps already" in environment["ended"]["words"]


def test_a_run_resumed_with_other_options_repeats_nothing(cli: Cli, table: Path) -> None:
    words = ["data=table", f"data.file={table}", "data.label=fraud", "model=dae"]
    folder = finished(cli, *words)
    assert cli("detect", f"resume={folder}", "trainer.max_steps=8")[0] == 0
    code, out, err = cli("detect", *QUICK, *words, "trainer.max_steps=8", "sweep.skip_done=true")
    assert code == 0, err
    assert "skipped" not in out
    code, out, err = cli("detect", *QUICK, *words, "trainer.max_steps=8", "sweep.skip_done=true")
    assert "skipped: " in out and f"{folder} has done it" not in out


def test_a_resume_that_fails_after_its_model_was_written_is_unfinished(
    cli: Cli, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = finished(cli, "data=table", f"data.file={table}", "data.label=fraud")

    def break_down(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("ssl_cli.commands.detect.report.draw", break_down)
    with pytest.raises(ZeroDivisionError):
        cli("detect", f"resume={folder}", "trainer.max_steps=6")
    assert not (folder / "metrics.json").exists()  # the old figures are not the new model's


def test_a_run_with_cross_fitted_calibration_can_be_resumed(cli: Cli, table: Path) -> None:
    words = ["data=table", f"data.file={table}", "data.label=fraud", "model=dae", "calibrate=cross"]
    words += ["folds=2", "optim.schedule=constant"]
    whole = finished(cli, *words, "trainer.max_steps=8")
    part = finished(cli, *words, "trainer.max_steps=4")
    code, _, err = cli("detect", f"resume={part}", "trainer.max_steps=8")
    assert code == 0, err
    np.testing.assert_array_equal(ssl_cli.load(part).calibration, ssl_cli.load(whole).calibration)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_run_of_another_machine_is_resumed_on_the_devices_of_this_one(cli: Cli, table: Path) -> None:
    folder = finished(cli, "data=table", f"data.file={table}", "model=dae")
    config = (folder / "config.yaml").read_text()
    assert "accelerator: cpu" in config and "devices: 1\n" in config
    (folder / "config.yaml").write_text(
        config.replace("accelerator: cpu", "accelerator: gpu").replace("devices: 1\n", "devices: 999999\n")
    )
    (folder / "digests.json").unlink()
    words = ["detect", f"resume={folder}", "trainer.accelerator=cpu"]
    assert "trainer.devices=999999: this machine has room for" in cli(*words)[2]
    code, out, err = cli(*words, "trainer.devices=1")
    assert code == 0, err
    assert "This run was started on 999999 device(s) and continues on 1" in out
