"""A run that is stopped or killed says how to resume it, and ends at the bits of an uninterrupted run."""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import Cli, run_here
from tests.helpers.processes import (
    ALL_OPTIONS,
    DEADLINE_S,
    ENDLESS,
    OPTIONS,
    assert_same_run,
    folder_of,
    pause_at,
    run,
    start,
    step_of,
    wait_for,
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run of OPTIONS."""
    place = tmp_path_factory.mktemp("whole")
    return folder_of(run_here("detect", *OPTIONS, cwd=place), place)


@pytest.mark.parametrize(
    ("signum", "code"), [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.long)]
)
def test_a_signal_saves_the_step_and_says_how_to_go_on(workdir: Path, signum: int, code: int) -> None:
    whole = folder_of(run_here("detect", *OPTIONS, *ALL_OPTIONS, "paths.outputs=whole", cwd=workdir), workdir)
    process = start("detect", *OPTIONS, *ALL_OPTIONS, pause_at(100, workdir), "paths.outputs=cut", cwd=workdir)
    wait_for((workdir / "paused").exists, process)
    process.send_signal(signum)
    (workdir / "pause").unlink()
    _, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == code, err
    assert "stopping after this step; a second signal stops at once" in err
    assert "Traceback" not in err
    (cut,) = (path.parent for path in workdir.glob("cut/detect/*/*/last.ckpt"))
    step = step_of(cut / "last.ckpt")
    name = "Ctrl-C" if signum == signal.SIGINT else "SIGTERM"
    sentence = f"stopped by {name} at step {step}; resume with `ssl detect resume={cut.relative_to(workdir)}`"
    assert sentence in err
    assert json.loads((cut / "environment.json").read_text())["ended"]["state"] == "stopped"

    done = run_here("detect", "resume=latest", "trust=pauses", "paths.outputs=cut", cwd=workdir)
    assert f"resuming from step {step}" in done.stdout
    assert folder_of(done, workdir) == cut
    assert_same_run(whole, cut)


SLOW = """
import time
from ssl_cli.methods.autoencoders.denoising import DenoisingAutoencoder

class Slow(DenoisingAutoencoder):
    steps = 0

    def forward(self, batch):
        self.steps += self.training
        if self.steps == 8 and self.training:
            open("in the step", "w").close()
            time.sleep(3600)
        return super().forward(batch)
"""


@pytest.mark.long
def test_ctrl_c_twice_stops_at_once(workdir: Path) -> None:
    (workdir / "slow.py").write_text(SLOW)
    words = ["detect", *ENDLESS, "model._target_=slow.Slow", "trainer.checkpoint_every_n_steps=5"]
    process = start(*words, cwd=workdir)
    wait_for((workdir / "in the step").exists, process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None  # the step under way is not over
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130
    assert "Traceback" not in err and "stopped by Ctrl-C; resume with" in err
    (checkpoint,) = workdir.glob("outputs/detect/*/*/last.ckpt")
    assert step_of(checkpoint) == 5
    assert not list(checkpoint.parent.glob("*.part"))


@pytest.mark.long
def test_a_signal_outside_training_stops_at_once(workdir: Path) -> None:
    source = "import time\nfrom ssl_cli.data.tables.datasets import BreastCancer\n\n\nclass Slow(BreastCancer):\n"
    source += "    def read(self):\n        open('reading', 'w').close()\n        time.sleep(3600)\n"
    (workdir / "slow.py").write_text(source)
    process = start("detect", *ENDLESS, "data._target_=slow.Slow", cwd=workdir)
    wait_for((workdir / "reading").exists, process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, err.strip()) == (143, "stopped by SIGTERM")
    assert not (workdir / "outputs").exists()


def test_killed_and_resumed_equals_never_killed(workdir: Path, whole: Path) -> None:
    process = start("detect", *OPTIONS, pause_at(100, workdir), "paths.outputs=killed", cwd=workdir)
    wait_for((workdir / "paused").exists, process)
    process.kill()
    process.wait()
    (workdir / "pause").unlink()
    (killed,) = (path.parent for path in workdir.glob("killed/detect/*/*/last.ckpt"))
    listed = run_here("list", "runs", "paths.outputs=killed", cwd=workdir).stdout
    assert "killed" in listed.split("last message")[1]
    done = run_here("detect", "resume=latest", "trust=pauses", "paths.outputs=killed", cwd=workdir)
    assert folder_of(done, workdir) == killed
    assert_same_run(whole, killed)


# Kills the process when the n-th file of a name is about to be put in its place; or with half of it written.
DIES = """
import os, signal, sys
from pathlib import Path
from ssl_cli.cli import main

name, n, half = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "half"
put, seen = Path.replace, 0

def replace(self, target):
    global seen
    seen += Path(target).name == name
    if seen == n:
        if half:
            os.truncate(self, os.path.getsize(self) // 2)
        os.kill(os.getpid(), signal.SIGKILL)
    return put(self, target)

Path.replace = replace
sys.exit(main.main(sys.argv[4:]))
"""


def dies_and_goes_on(workdir: Path, name: str, n: int, how: str, *words: str) -> Path:
    outputs = f"{name}-{n}-{how}"
    command = [sys.executable, "-c", DIES, name, str(n), how, "detect", *words, f"paths.outputs={outputs}"]
    died = run(command, cwd=workdir)
    assert died.returncode == -signal.SIGKILL, died.stderr
    done = run_here("detect", "resume=latest", f"paths.outputs={outputs}", cwd=workdir)
    return folder_of(done, workdir)


@pytest.mark.long
def test_killed_between_the_two_renames_of_a_checkpoint(workdir: Path, whole: Path) -> None:
    # The second checkpoint: the first is previous.ckpt already, and there is no last.ckpt.
    assert_same_run(whole, dies_and_goes_on(workdir, "last.ckpt", 2, "whole", *OPTIONS))


@pytest.mark.long
def test_killed_between_the_folds_of_an_automatic_calibration(workdir: Path) -> None:
    words = [*OPTIONS, "calibrate=auto"]
    whole = folder_of(run_here("detect", *words, cwd=workdir), workdir)
    assert "calibrate: cross" in (whole / "config.yaml").read_text()
    for n in (4, 12, 25):  # each model writes seven
        assert_same_run(whole, dies_and_goes_on(workdir, "last.ckpt", n, "whole", *words))


@pytest.mark.long
@pytest.mark.parametrize("how", ["whole", "half"])
def test_killed_inside_every_kind_of_write(workdir: Path, how: str) -> None:
    words = [*OPTIONS, *ALL_OPTIONS]
    whole = folder_of(run_here("detect", *words, cwd=workdir), workdir)
    places = [("last.ckpt", 1), ("previous.ckpt", 2), ("last.ckpt", 5), ("history.csv", 1)]
    # The first environment.json is written before config.yaml, when there is no run yet.
    for name, n in [*places, ("environment.json", 2), ("metrics.json", 1)]:
        assert_same_run(whole, dies_and_goes_on(workdir, name, n, how, *words))


@pytest.mark.long
@pytest.mark.parametrize("options", [[], ALL_OPTIONS], ids=["plain", "all options"])
def test_killed_at_many_random_moments(workdir: Path, options: list[str]) -> None:
    words = [*OPTIONS, *options, "trainer.max_steps=3000", "trainer.checkpoint_every_n_steps=7"]
    whole = folder_of(run_here("detect", *words, "paths.outputs=whole", cwd=workdir), workdir)
    generator, kills, command = random.Random(0), 0, ["detect", *words]
    while True:
        process = start(*command, "paths.outputs=cut", cwd=workdir)
        if kills < 8:
            wait_for(lambda: list(workdir.glob("cut/detect/*/*/config.yaml")), process)
            time.sleep(generator.uniform(0.3, 3))
            process.kill()
            kills += process.wait() != 0
            command = ["detect", "resume=latest"]
            continue
        out, err = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0, err
        break
    assert_same_run(whole, workdir / out.strip().splitlines()[-1])


def test_a_run_at_work_is_not_resumed(workdir: Path, cli: Cli) -> None:
    process = start("detect", *ENDLESS, cwd=workdir)
    wait_for(lambda: list(workdir.glob("outputs/detect/*/*/history.csv")), process)
    try:
        assert "running" in cli("list", "runs")[1]
        code, _, err = cli("detect", "resume=latest")
        assert code == 2
        assert "is running: wait for it, or stop it first" in err
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    assert "killed" in cli("list", "runs")[1]


def test_a_signal_while_scoring_leaves_nothing_half_written(workdir: Path, cli: Cli) -> None:
    rows = "".join(f"{i % 7},{i % 5}\n" for i in range(700))
    (workdir / "t.csv").write_text("a,b\n" + rows)
    assert cli("detect", "data=table", "data.file=t.csv", "model=knn", "trainer=cpu", "calibrate=split")[0] == 0
    (workdir / "new.csv").write_text("a,b\n" + rows * 3000)  # two million rows
    process = start("score", "input=new.csv", "output=scored.csv", cwd=workdir)
    wait_for(lambda: list(workdir.glob(".ssl-*")), process)
    process.terminate()
    _, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, err.strip()) == (143, "stopped by SIGTERM")
    assert sorted(path.name for path in workdir.iterdir()) == ["new.csv", "outputs", "t.csv"]
