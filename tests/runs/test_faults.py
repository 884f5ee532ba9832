"""Faults of machines, really caused: full, small and read-only disks, clocks set back, simultaneous runs, NaN losses.

docs/faults.md lists what was tried and what is kept in each case.
"""

import csv
import json
import os
import re
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_cli.runs import folder as run_folder
from tests.conftest import QUICK, Cli, full_disk, run_here
from tests.helpers.processes import DEADLINE_S, SHORT_OPTIONS, assert_same_run, folder_of, run, start, step_of


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run of SHORT_OPTIONS."""
    place = tmp_path_factory.mktemp("whole")
    return folder_of(run_here("detect", *SHORT_OPTIONS, cwd=place), place)


# --- disks --------------------------------------------------------------------------------------------------


STEPS = """
import subprocess
from ssl_cli.cli.main import main

def ssl(*words):
    print("exit code", main(list(words)), flush=True)

def sh(command):
    subprocess.run(command, shell=True, check=True)
"""


def in_own_mounts(script: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run Python code that may mount file systems for itself alone. Skips the test if that isn't allowed."""
    allowed = run(["unshare", "-Urm", "true"])
    if allowed.returncode:
        pytest.skip(f"no mount namespaces here: {allowed.stderr.strip()}")
    return run(["unshare", "-Urm", sys.executable, "-c", STEPS + script], cwd=cwd)


# 700 kB: room for the first checkpoint of 400 kB, and not for the second.
FULL_DISK = f"""
sh("mkdir full && mount -t tmpfs -o size=700k tmpfs full")
ssl("detect", *{SHORT_OPTIONS}, "paths.outputs=full")
sh("ls full/detect/*/*")
ssl("list", "runs", "paths.outputs=full")
sh("mount -o remount,size=50m full")
ssl("detect", "resume=latest", "paths.outputs=full")
sh("cp -r full/detect/*/* resumed")
"""


def test_a_full_disk_loses_nothing_that_was_saved(workdir: Path, whole: Path) -> None:
    done = in_own_mounts(FULL_DISK, workdir)
    assert "can't be written: No space left on device. What was saved before is kept" in done.stderr
    assert "Traceback" not in done.stderr
    assert "exit code 2" in done.stdout
    listing = done.stdout.split("exit code 2")[1].split("runs in full")[0].split()
    assert "last.ckpt" in listing and "metrics.json" not in listing
    assert not [name for name in listing if name.endswith(".part")]
    assert "failed" in done.stdout and "No space left on device" in done.stdout.split("last message")[1]
    assert "resuming from step 10" in done.stdout
    assert_same_run(whole, workdir / "resumed")


SWEEP_ON_A_FULL_DISK = """
words = "detect -m model=gaussian seed=0,1,2 bootstrap_samples=20 paths.outputs=full".split()
sh("mkdir full && mount -t tmpfs -o size=400k tmpfs full")
ssl(*words)
sh("mount -o remount,size=50m full")
ssl(*words, "sweep.skip_done=true")
"""


@pytest.mark.long
def test_a_sweep_on_a_full_disk_can_be_gone_on_with(workdir: Path) -> None:
    done = in_own_mounts(SWEEP_ON_A_FULL_DISK, workdir)
    assert "exit code 2" in done.stdout and "Traceback" not in done.stderr
    assert "this combination failed: full/detect/" in done.stderr and "No space left on device" in done.stderr
    assert "skipped: full/detect/" in done.stdout and "3 runs (" in done.stdout.split("exit code 2")[1]


# A run's folders, locks, log, config and environment take 8 inodes, its 9 files and their partial ones the others.
FULL_INODES = """
words = "detect model=gaussian trainer=cpu bootstrap_samples=20 paths.outputs=full".split()
sh("mkdir full")
for n in (3, 5, 7, 8, 9, 11, 12, 14, 18):
    sh(f"mount -t tmpfs -o size=50m,nr_inodes={n} tmpfs full")
    ssl(*words)
    sh("find full -type f")
    ssl("list", "runs", "paths.outputs=full")
    if n < 18:
        sh("umount full")
sh("mount -o remount,nr_inodes=100 full")
ssl("detect", "resume=latest", "paths.outputs=full")
sh("cp -r full/detect/*/* resumed")
"""


@pytest.mark.long
def test_a_full_inode_table_leaves_nothing_that_looks_finished(workdir: Path) -> None:
    done = in_own_mounts(FULL_INODES, workdir)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.stdout.count("exit code 2") == 9 == done.stderr.count("No space left on device")
    unfinished, _, finished = done.stdout.rpartition("exit code 2")
    assert not re.search(r"metrics\.json|digests\.json|\.part\b|finished", unfinished), unfinished
    assert unfinished.count(" failed ") + unfinished.count(" killed ") == unfinished.count("config.yaml")
    assert "exit code 0" in finished
    whole = folder_of(run_here("detect", "model=gaussian", "trainer=cpu", "bootstrap_samples=20", cwd=workdir), workdir)
    assert_same_run(whole, workdir / "resumed")


def test_a_disk_too_small_for_any_checkpoint(cli: Cli, workdir: Path) -> None:
    with full_disk(200_000):
        code, _, err = cli("detect", *SHORT_OPTIONS)
    assert code == 2
    assert "can't be written: File too large. What was saved before is kept" in err
    assert "Traceback" not in err
    (folder,) = workdir.glob("outputs/detect/*/*")
    assert not (folder / "metrics.json").exists() and not list(folder.glob("*.ckpt"))
    assert json.loads((folder / "environment.json").read_text())["ended"]["words"] == "File too large"


READ_ONLY = f"""
sh("mkdir outputs")
ssl("detect", *{QUICK}, "model=gaussian")
sh("mount --bind outputs outputs && mount -o remount,bind,ro outputs")
ssl("detect", *{QUICK}, "model=gaussian")
ssl("detect", "resume=latest")
ssl("detect", "-m", "seed=0,1", *{QUICK})
ssl("list", "runs")
"""


@pytest.mark.long
def test_a_read_only_outputs_folder_is_said(workdir: Path) -> None:
    done = in_own_mounts(READ_ONLY, workdir)
    assert done.stdout.count("exit code 2") == 3
    assert "Traceback" not in done.stderr
    new, resumed, sweep = (line for line in done.stderr.splitlines() if line.startswith("error:"))
    assert "No run folder can be made in outputs/detect/gaussian-breast_cancer: Read-only file system" in new
    assert "can't be written: Read-only file system" in resumed
    assert "No sweep folder can be made in outputs/detect/sweeps: Read-only file system" in sweep
    assert "finished" in done.stdout.split("runs in outputs")[1]


# --- clocks, crowds -----------------------------------------------------------------------------------------


def test_a_clock_that_goes_back_between_runs(cli: Cli) -> None:
    words = ["detect", "model=gaussian", *QUICK]
    first = Path(cli(*words)[1].strip().splitlines()[-1])
    tomorrow = datetime.now() + timedelta(days=1)
    later = first.with_name(tomorrow.strftime("%Y-%m-%d_%H-%M-%S"))  # what it was, before the clock was set right
    first.rename(later)
    for path in [later, *later.iterdir()]:
        os.utime(path, (tomorrow.timestamp(), tomorrow.timestamp()))
    second = Path(cli(*words)[1].strip().splitlines()[-1])
    assert second.name < later.name
    assert run_folder.find_run("latest") == second
    assert run_folder.all_runs("outputs") == [later, second]


JUMPS = """
import sys, time
from datetime import datetime, timedelta
from ssl_cli.cli import main
from ssl_cli.runs import folder, record
from ssl_cli.training import module

real, steps = time.time, 0

class Jumpy(datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.now(tz) - timedelta(days=steps >= 5)

def step(self, batch, index, whole=module.Learner.training_step):
    global steps
    steps += 1
    return whole(self, batch, index)

time.time = lambda: real() - 86400 * (steps >= 5)
record.datetime = folder.datetime = Jumpy
module.Learner.training_step = step
sys.exit(main.main(sys.argv[1:]))
"""


@pytest.mark.long
def test_a_clock_that_jumps_in_the_middle_of_a_run(workdir: Path, whole: Path) -> None:
    command = [sys.executable, "-c", JUMPS, "detect", *SHORT_OPTIONS, "trainer.max_time=00:01:00:00"]
    done = run(command, cwd=workdir)
    jumped = folder_of(done, workdir)
    assert_same_run(whole, jumped)
    assert 0 < json.loads((jumped / "environment.json").read_text())["wall_time_s"] < 3600
    with (jumped / "history.csv").open() as file:
        seconds = [float(row["seconds"]) for row in csv.DictReader(file)]
    assert seconds == sorted(seconds) and 0 < seconds[-1] < 3600


@pytest.mark.long
def test_runs_started_in_the_same_second_have_folders_of_their_own(workdir: Path) -> None:
    before = [start("detect", "model=gaussian", "trainer=cpu", "bootstrap_samples=20", cwd=workdir) for _ in range(10)]
    folders = set()
    for process in before:
        out, err = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0, err
        folders.add(out.strip().splitlines()[-1])
    assert len(folders) == 10
    numbers = [run_folder.serial_number(workdir / folder) for folder in folders]
    assert sorted(numbers) == list(range(1, 11))
    metrics = {(workdir / folder / "metrics.json").read_bytes() for folder in folders}
    assert len(metrics) == 1
    # However closely they come: one name for all of them.
    names = {run_folder.create_folder(workdir / "crowd").name for _ in range(30)}
    assert len(names) == 30


# --- numbers that are none ----------------------------------------------------------------------------------

BREAKS = """
import torch
from ssl_cli.methods.autoencoders.denoising import DenoisingAutoencoder

class Breaks(DenoisingAutoencoder):
    def forward(self, batch):
        losses = super().forward(batch)
        if self.training and (batch["x"] > 10).any():
            losses["loss"] = losses["loss"] * torch.nan
        return losses
"""


def test_a_loss_that_is_no_number_names_the_step_the_rows_and_the_last_good_checkpoint(workdir: Path, cli: Cli) -> None:
    (workdir / "breaks.py").write_text(BREAKS)
    rng = np.random.default_rng(0)
    values = rng.normal(size=(400, 3))
    values[300] = 1e4  # the row that breaks it
    (workdir / "t.csv").write_text("a,b,c\n" + "".join(",".join(map(str, row)) + "\n" for row in values))
    words = ["data=table", "data.file=t.csv", "model._target_=breaks.Breaks", "model=dae", "trainer=cpu"]
    words += ["trainer.max_steps=60", "trainer.batch_size=8", "trainer.checkpoint_every_n_steps=2", "optim.lr=1e-4"]
    for seed in range(10):  # until row 300 is among the training rows, and not in the first batches
        code, _, err = cli("detect", *words, f"seed={seed}")
        (folder,) = Path("outputs").glob(f"detect/*/{run_folder.find_run('latest').name}")
        if code == 2 and (folder / "last.ckpt").exists():
            break
    assert code == 2
    assert "Traceback" not in err
    step = int(err.split("NaN or infinite in step ")[1].split(",")[0])
    rows = err.split("log.txt has them all): ")[1].split(". ")[0].split(", ")
    assert len(rows) == 8 and "300" in rows
    saved = step_of(folder / "last.ckpt")
    assert step - 2 <= saved < step
    assert f"The last good checkpoint is of step {saved}." in err
    content = torch.load(folder / "last.ckpt", weights_only=True)
    assert all(bool(torch.isfinite(value).all()) for value in content["state_dict"].values())
    assert json.loads((folder / "environment.json").read_text())["ended"]["state"] == "failed"
    assert f"rows of the batch that broke: {' '.join(rows)}" in (folder / "log.txt").read_text()


def test_a_resumed_run_may_have_another_learning_rate(cli: Cli) -> None:
    words = [
        "model=ae",
        "trainer=cpu",
        "optim.schedule=constant",
        "bootstrap_samples=20",
        "trainer.validate_every_n_steps=10",
    ]
    code, out, err = cli("detect", *words, "optim.lr=1e-2", "trainer.max_steps=20")
    assert code == 0, err
    code, out, err = cli("detect", "resume=latest", "optim.lr=1e-3", "trainer.max_steps=40")
    assert code == 0, err
    rows = run_folder.read_history(Path(out.strip().splitlines()[-1]) / "history.csv")
    assert [row["lr"] for row in rows] == [1e-2, 1e-2, 1e-3, 1e-3]
