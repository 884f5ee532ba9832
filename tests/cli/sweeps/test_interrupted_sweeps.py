"""Sweeps that are interrupted or killed, and continued by sweep.skip_done=true."""

import json
import signal
import sys
from pathlib import Path

import pytest

from tests.conftest import QUICK, Cli, run_ssl
from tests.helpers.processes import DEADLINE_S, pause_at, run, start, wait_for, wait_until_none_is_left
from tests.helpers.sweeps import SMALL, newest_table


def kill_and_repeat(cli: Cli, workdir: Path, words: list[str]) -> str:
    """Kill a sweep with outputs in `killed` in its first run of model=pauses; repeat it and return its output."""
    (workdir / "pause").touch()
    process = start("detect", "-m", *words, "paths.outputs=killed", cwd=workdir)
    wait_for((workdir / "paused").exists, process)
    process.kill()
    process.wait()
    (workdir / "pause").unlink()
    code, out, err = cli("detect", "-m", *words, "paths.outputs=killed", "sweep.skip_done=true")
    assert code in (0, 2), err
    return out


@pytest.fixture
def pauses(workdir: Path) -> None:
    """The choice model=pauses, which pauses after two checkpoints of SMALL."""
    (workdir / "conf" / "model").mkdir(parents=True)
    pause_at(25, workdir)
    (workdir / "conf" / "model" / "pauses.yaml").write_text(
        "# Pauses\ndefaults: [dae, _self_]\n_target_: pauses.Pauses\n"
    )
    (workdir / "pause").unlink()


@pytest.mark.long
@pytest.mark.usefixtures("pauses")
def test_a_killed_sweep_continues_and_ends_in_the_same_table(cli: Cli, workdir: Path) -> None:
    words = ["model=gaussian,pauses", "seed=0,1", *SMALL]
    assert cli("detect", "-m", *words, "paths.outputs=whole")[0] == 0
    out = kill_and_repeat(cli, workdir, words)
    assert out.count("skipped: killed/detect/") == 2
    assert out.count("which was begun and not finished") == 1 and "resuming from step 20" in out
    assert newest_table(workdir / "killed") == newest_table(workdir / "whole")
    assert len(newest_table(workdir / "whole")) == 4


@pytest.mark.long
@pytest.mark.usefixtures("pauses")
@pytest.mark.parametrize(
    ("signum", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)]
)
def test_a_joblib_sweep_ends_with_its_processes_and_continues(
    cli: Cli, workdir: Path, signum: int, code: int
) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="pip install 'ssl-cli[sweep]'")
    words = ["-m", "model=gaussian,pauses", "seed=0,1", *SMALL]
    joblib = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "paths.outputs=cut"]
    assert cli("detect", *words, "paths.outputs=whole")[0] == 0
    (workdir / "pause").touch()
    process = start("detect", *words, *joblib, cwd=workdir)
    wait_for(lambda: (workdir / "paused").exists() and len(list(workdir.glob("cut/detect/pauses-*/*"))) == 2, process)
    process.send_signal(signum)
    assert process.wait(DEADLINE_S) == code
    wait_until_none_is_left(process.pid)
    _, err = process.communicate()
    assert "Traceback" not in err and (code < 0 or "the sweep is incomplete" in err)
    assert len(newest_table(workdir / "cut")) == 2  # the runs of model=gaussian
    (workdir / "pause").unlink()
    done = run_ssl("detect", *words, *joblib, "sweep.skip_done=true", cwd=workdir)
    assert done.returncode == 0, done.stderr
    assert newest_table(workdir / "cut") == newest_table(workdir / "whole")
    assert len(list(workdir.glob("cut/detect/*/*/config.yaml"))) == 4  # no run was done twice


@pytest.mark.long
@pytest.mark.usefixtures("pauses")
def test_forty_small_runs_killed_half_way_end_in_the_same_table(cli: Cli, workdir: Path) -> None:
    # The networks fail with optim.lr=1e9: failures are rows of the table too.
    words = ["model=ae,gaussian,knn,pauses,vae", "seed=0,1,2,3", "optim.lr=1e-3,1e9", *SMALL]
    code, _, err = cli("detect", "-m", *words, "paths.outputs=whole")
    assert code == 2, err
    out = kill_and_repeat(cli, workdir, words)
    assert out.count("skipped: ") >= 15
    expected, rows = newest_table(workdir / "whole"), newest_table(workdir / "killed")
    assert len(expected) == 40
    assert any(row["error"] for row in expected) and any(not row["error"] for row in expected)
    assert rows == expected


@pytest.mark.long
def test_ctrl_c_shows_finished_runs_and_how_to_continue(workdir: Path) -> None:
    process = start("detect", "-m", "model=gaussian,dae", "trainer=cpu", "trainer.max_steps=1000000", cwd=workdir)
    wait_for(lambda: list(workdir.glob("outputs/detect/dae-*/*/history.csv")), process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=DEADLINE_S)
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
    assert skipped("seed=0", "fpr=0.02") == 0
    assert skipped("seed=0", "model=gaussian,ae") == 1
    (workdir / "t.csv").write_text((workdir / "t.csv").read_text() + "3,3\n")
    assert skipped("seed=0") == 0
    _, out, _ = cli("detect", *words, "seed=0", "sweep.skip_done=false")
    assert "skipped" not in out


# Kills the process at batch k of the second run.
DIES_IN_THE_SECOND_RUN = """
import os, signal, sys
from ssl_cli.cli import main
from ssl_cli.training.module import Learner

add_gradient, runs = Learner._add_gradient, 0

def dies(self, batch, *rest):
    global runs
    runs += batch["k"] == 0
    if runs == 2 and batch["k"] == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
    return add_gradient(self, batch, *rest)

Learner._add_gradient = dies
sys.exit(main.main(sys.argv[2:]))
"""


@pytest.mark.long
@pytest.mark.parametrize("batch", [0, 5])
def test_a_suite_killed_in_its_second_task_is_continued_by_the_same_command(
    cli: Cli, workdir: Path, batch: int
) -> None:
    """Before the first checkpoint of the task, and after it."""
    tasks = workdir / "conf" / "task"
    tasks.mkdir(parents=True, exist_ok=True)
    for name in ("one", "two", "three"):
        (tasks / f"{name}.yaml").write_text("# A task\ndefaults: [classify, _self_]\n")
    scored = ", ".join(f"{name}: [dev/accuracy]" for name in ("one", "two", "three"))
    suite = f"# A suite\n_target_: ssl_cli.tasks.suite.Suite\ntasks: {{{scored}}}\nsubmission: {{}}\n"
    (tasks / "all.yaml").write_text(suite)
    rows = "".join(f"{text},{label}\n" for text, label in (("birds sing", "good"), ("cold fish", "bad")) * 20)
    (workdir / "rows.csv").write_text(f"text,label\n{rows}")
    small = ["trainer=cpu", "trainer.max_epochs=null", "trainer.max_steps=8", "bootstrap_samples=20"]
    small += ["trainer.checkpoint_every_n_steps=2", "model.size=tiny", "model.context=32", "tokenizer.vocab_size=80"]
    words = ["task=all", "data.files.train=rows.csv", "data.files.dev=rows.csv", *small]
    code, _, err = cli("finetune", *words, "paths.outputs=whole")
    assert code == 0, err
    words = [*words, "paths.outputs=killed"]
    died = run([sys.executable, "-c", DIES_IN_THE_SECOND_RUN, str(batch), "finetune", *words], cwd=workdir)
    assert died.returncode == -signal.SIGKILL, died.stderr
    code, out, err = cli("finetune", *words)
    assert code == 0, err
    assert out.count("skipped: killed/finetune/") == 1 and ("resuming from step 4" in out) == (batch == 5)
    (expected,), (found,) = (workdir.glob(f"{name}/finetune/sweeps/*/suite.csv") for name in ("whole", "killed"))
    assert found.read_text() == expected.read_text()
    for task in ("one", "two", "three"):
        places = [f"{name}/finetune/none-{task}/*/predictions-dev.jsonl" for name in ("whole", "killed")]
        one, two = (next(workdir.glob(place)).read_bytes() for place in places)
        assert one == two, task
