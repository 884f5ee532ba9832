"""Sweeps that are interrupted or killed, and continued by sweep.skip_done=true."""

import json
import signal
from pathlib import Path

import pytest

from tests.conftest import QUICK, Cli, run_ssl
from tests.helpers.processes import start, wait_for
from tests.helpers.sweeps import SMALL, newest_table


def kill_and_repeat(workdir: Path, words: list[str], after: int) -> str:
    """Kill a sweep with outputs in `killed` during the run after `after` others; repeat it and return its output."""

    def unfinished() -> list[Path]:
        checkpoints = workdir.glob("killed/detect/*/*/last.ckpt")
        return [path for path in checkpoints if not (path.parent / "metrics.json").exists()]

    process = start("detect", "-m", *words, "paths.outputs=killed", cwd=workdir)
    wait_for(lambda: len(list(workdir.glob("killed/detect/*/*/metrics.json"))) >= after and unfinished(), process)
    process.kill()
    process.wait()
    again = run_ssl("detect", "-m", *words, "paths.outputs=killed", "sweep.skip_done=true", cwd=workdir)
    assert again.returncode in (0, 2), again.stderr
    return again.stdout


def test_a_killed_sweep_continues_and_ends_in_the_same_table(workdir: Path) -> None:
    words = ["model=ae,dae", "seed=0,1", *SMALL, "trainer.max_steps=400"]
    assert run_ssl("detect", "-m", *words, "paths.outputs=whole", cwd=workdir).returncode == 0
    out = kill_and_repeat(workdir, words, after=2)
    assert out.count("skipped: killed/detect/") >= 2
    assert out.count("which was begun and not finished") == 1 and "resuming from step" in out
    assert newest_table(workdir / "killed") == newest_table(workdir / "whole")
    assert len(newest_table(workdir / "whole")) == 4


@pytest.mark.long
def test_forty_small_runs_killed_half_way_end_in_the_same_table(workdir: Path) -> None:
    # The networks fail with optim.lr=1e9: failures are rows of the table too.
    words = ["model=ae,gaussian,knn,dae,vae", "seed=0,1,2,3", "optim.lr=1e-3,1e9", *SMALL]
    whole = run_ssl("detect", "-m", *words, "paths.outputs=whole", cwd=workdir)
    assert whole.returncode == 2, whole.stderr
    out = kill_and_repeat(workdir, words, after=15)
    assert out.count("skipped: ") >= 15
    expected, rows = newest_table(workdir / "whole"), newest_table(workdir / "killed")
    assert len(expected) == 40
    assert any(row["error"] for row in expected) and any(not row["error"] for row in expected)
    assert rows == expected


def test_ctrl_c_shows_finished_runs_and_how_to_continue(workdir: Path) -> None:
    process = start("detect", "-m", "model=gaussian,dae", "trainer=cpu", "trainer.max_steps=1000000", cwd=workdir)
    wait_for(lambda: list(workdir.glob("outputs/detect/dae-*/*/history.csv")), process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the sweep is incomplete; the same command with sweep.skip_done=true continues it" in err
    assert "1 run (" in out
    (interrupted,) = workdir.glob("outputs/detect/dae-*/*")
    assert (interrupted / "last.ckpt").is_file()  # at a step that no interval would have saved
    assert json.loads((interrupted / "environment.json").read_text())["ended"]["state"] == "stopped"
    assert len(newest_table(workdir / "outputs")) == 1


def test_finished_runs_are_recognized_by_config_and_data(cli: Cli, workdir: Path) -> None:
    (workdir / "t.csv").write_text("a,b\n" + "".join(f"{i % 7},{i % 5}\n" for i in range(60)))
    words = ["-m", "data=table", "data.file=t.csv", "model=gaussian", "sweep.skip_done=true", *QUICK]

    def skipped(*more: str) -> int:
        code, out, err = cli("detect", *words, *more)
        assert code == 0, err
        return out.count("skipped: ")

    assert skipped("seed=0,1") == 0
    assert skipped("seed=0,1,2") == 2
    assert skipped("seed=0,1,2") == 3
    assert skipped("seed=0,1,2", "fpr=0.02") == 0
    assert skipped("seed=0", "model=gaussian,iforest") == 1
    (workdir / "t.csv").write_text((workdir / "t.csv").read_text() + "3,3\n")
    assert skipped("seed=0,1,2") == 0
    _, out, _ = cli("detect", *words, "seed=0,1", "sweep.skip_done=false")
    assert "skipped" not in out
