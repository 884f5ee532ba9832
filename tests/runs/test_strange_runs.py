"""Run folders that vanish while they are read, that hold too much, or numbers that JSON can't hold."""

import csv
import json
import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from ssl_cli import files
from ssl_cli.commands.detect import report
from ssl_cli.errors import InputError
from ssl_cli.process import Interrupted
from ssl_cli.runs import folder as run_folder
from tests.conftest import QUICK, Cli


@pytest.fixture
def runs(honest: Path, workdir: Path) -> tuple[Path, Path]:
    """Two runs in the outputs of the working directory, of which a test may do what it likes."""
    shutil.copytree(honest / "outputs", workdir / "outputs")
    first, second = run_folder.all_runs("outputs")
    return first, second


@pytest.mark.parametrize("moment", ["serial_number", "run_state", "read_config", "read_environment", "read_metrics"])
def test_a_run_that_vanishes_while_it_is_listed(
    cli: Cli, runs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    vanishing, staying = runs
    original: Callable[[Path], Any] = getattr(run_folder, moment)

    def vanish(folder: Path) -> Any:
        shutil.rmtree(vanishing, ignore_errors=True)
        return original(folder)

    monkeypatch.setattr(run_folder, moment, vanish)
    code, out, err = cli("list", "runs")
    assert (code, err) == (0, "")
    assert str(staying) in out and str(vanishing) not in out


def test_a_folder_of_runs_that_vanishes(cli: Cli, runs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    original = run_folder._subfolders

    def vanish(folder: Path) -> list[Path]:
        found = original(folder)
        shutil.rmtree("outputs", ignore_errors=True)
        return found

    monkeypatch.setattr(run_folder, "_subfolders", vanish)
    assert cli("list", "runs") == (0, "runs: none in outputs yet.\n", "")


# --- a long history -----------------------------------------------------------------------------------------


def test_a_killed_runs_step_is_read_from_the_end_of_its_history(
    cli: Cli, runs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = runs[0]
    (folder / "metrics.json").unlink()
    environment = json.loads((folder / "environment.json").read_text())
    (folder / "environment.json").write_text(json.dumps({k: v for k, v in environment.items() if k != "ended"}))
    rows = "".join(f"{step},0.5\n" for step in range(20_000))
    (folder / "history.csv").write_text(f"step,val/loss\n{rows}20000,0.")  # the last row is cut off
    monkeypatch.delattr(run_folder, "read_history")
    assert run_folder.run_state(folder)[1].startswith("after step 19999; last log line: ")
    for text in ("", "step\n", "step,val/loss\n", "x\ny\n", f"step\n{'9' * 5000}\n"):
        (folder / "history.csv").write_text(text)
        assert run_folder.run_state(folder)[1].startswith("last log line: ")


def test_a_history_has_its_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "history.csv"
    path.write_text("step,val/loss\n" + "".join(f"{step},0.5\n" for step in range(11)))
    assert len(run_folder.read_history(path)) == 11
    monkeypatch.setattr(run_folder, "MAX_HISTORY_ROWS", 10)
    with pytest.raises(InputError, match=r"history\.csv is damaged: it has 11 rows, and may have 10\.$"):
        run_folder.read_history(path)


# --- NaN, and infinity --------------------------------------------------------------------------------------


def test_metrics_that_json_cannot_hold_are_null(cli: Cli, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = report.measure

    def measure(*arguments: Any) -> Mapping[str, float]:
        return {**original(*arguments), "test/auprc": math.nan, "test/recall_at_1_fpr": math.inf}

    monkeypatch.setattr(report, "measure", measure)
    code, _, err = cli("detect", "-m", *QUICK, "model=gaussian", "seed=0,1")
    assert code == 0, err
    assert "test/auprc is nan, which JSON can't hold: metrics.json has null" in err
    first, second = run_folder.all_runs("outputs")
    metrics = json.loads((first / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert metrics["test/auprc"] is None and metrics["test/recall_at_1_fpr"] is None and metrics["test/auroc"] > 0.5
    assert "test/recall_at_1_fpr is inf, which JSON can't hold" in (first / "log.txt").read_text()
    assert not {"test/auprc", "test/recall_at_1_fpr"} & run_folder.read_metrics(first).keys()
    (table,) = workdir.glob("outputs/detect/sweeps/*/sweep.csv")
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert len(rows) == 2 and all("test/auroc" in row and not row.get("test/auprc") for row in rows)
    assert cli("list", "runs", "--best", "test/auroc")[0] == 0
    assert "No run here has the metric test/auprc" in cli("list", "runs", "--best", "test/auprc")[2]
    assert str(second) in cli("list", "runs", "--sort", "test/auroc")[1]


# --- files that are left ------------------------------------------------------------------------------------


def test_a_signal_while_a_file_is_written_leaves_no_part_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "environment.json").write_text("{}")

    def interrupt(_: int) -> None:
        raise Interrupted(15, "")

    monkeypatch.setattr(files.os, "fsync", interrupt)
    with pytest.raises(Interrupted):
        files.write_json(tmp_path / "environment.json", {"a": 1})
    assert [path.name for path in tmp_path.iterdir()] == ["environment.json"]
    assert (tmp_path / "environment.json").read_text() == "{}"


def test_a_part_that_was_left_is_removed_on_resume(cli: Cli, runs: tuple[Path, Path]) -> None:
    folder = runs[0]
    (folder / "deep").mkdir()
    left = [folder / "environment.json.123.part", folder / "deep" / "history.csv.9.part"]
    for path in left:
        path.write_text("half")
    code, _, err = cli("detect", f"resume={folder}")
    assert code == 0, err
    assert not any(path.exists() for path in left)
