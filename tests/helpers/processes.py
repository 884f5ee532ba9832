"""Processes of tests, which end with their test; runs of `ssl` that are signalled, killed, resumed and compared."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

SSL = f"{sys.executable} -m ssl_cli.cli.main"  # for a shell
OPTIONS = ["trainer=cpu", "model=dae", "trainer.max_steps=200", "trainer.checkpoint_every_n_steps=30"]
OPTIONS += ["bootstrap_samples=20", "calibrate=split"]
SHORT_OPTIONS = ["trainer=cpu", "model=dae", "trainer.max_steps=60", "trainer.checkpoint_every_n_steps=10"]
SHORT_OPTIONS += ["bootstrap_samples=20", "calibrate=split"]
ENDLESS = ["trainer=cpu", "model=dae", "trainer.max_steps=1000000"]
# Averaged weights, early stopping, clipping and accumulation at once.
ALL_OPTIONS = ["trainer.ema_decay=0.9", "trainer.patience=100", "trainer.gradient_clip_val=0.1"]
ALL_OPTIONS += ["trainer.accumulate_grad_batches=3", "trainer.batch_size=32"]


PAUSES = """
import time
from pathlib import Path
from ssl_cli.methods.autoencoders.denoising import DenoisingAutoencoder

class Pauses(DenoisingAutoencoder):
    batches = 0

    def forward(self, batch):
        self.batches += self.training
        while self.training and self.batches == {batch} and Path("pause").exists():
            Path("paused").touch()
            time.sleep(0.02)
        return super().forward(batch)
"""
DEADLINE_S = 600  # for everything that a test waits for; a quiet machine takes ten seconds
_guards: dict[int, subprocess.Popen[bytes]] = {}  # by process group


def popen(command: list[str], **options: Any) -> subprocess.Popen[str]:
    """Start a command in a process group of its own, which is killed at the end of the test."""
    # A shell starts background jobs with Ctrl-C ignored, and their children inherit that.
    restore = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(command, text=True, start_new_session=True, preexec_fn=restore, **options)
    guard(process.pid)
    return process


def guard(group: int) -> None:
    """Have a process group killed at the end of the test, or of pytest, even if that is killed.

    A shell waits for the end of a pipe that only this process holds.
    """
    command = ["sh", "-c", f"read -r _; kill -s KILL -- -{group}"]
    _guards[group] = subprocess.Popen(
        command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    )


def end_processes() -> None:
    """Kill every process group that the test has started and that is still there."""
    for each in _guards.values():
        each.communicate()
    _guards.clear()


def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, and return its exit code and output; see `popen`."""
    process = popen(command, **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options)
    out, err = process.communicate(timeout=DEADLINE_S)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def start(*words: str, cwd: Path) -> subprocess.Popen[str]:
    """Start `ssl` as a process with pipes for its output."""
    command = [sys.executable, "-m", "ssl_cli.cli.main", *words]
    return popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Wait until the condition holds, while the process is running."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def members(session: int) -> list[str]:
    """Return the commands of the living processes of a session, which `popen` names by its first process."""
    command = ["ps", "-eww", "-o", "sid=,stat=,args="]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    found = [line.split(maxsplit=2) for line in lines]
    return [words[-1] for words in found if words[0] == str(session) and not words[1].startswith("Z")]


def wait_until_none_is_left(session: int) -> None:
    """Wait until all processes of a session have ended by themselves."""
    deadline = time.monotonic() + 30  # a quiet machine takes a second
    while left := members(session):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def pause_at(batch: int, cwd: Path) -> str:
    """Return the option of a model that waits in the middle of a training batch for as long as the file `pause` exists.

    Meanwhile there is a file `paused`. Without the file `pause` it is DenoisingAutoencoder.
    """
    (cwd / "pauses.py").write_text(PAUSES.format(batch=batch))
    (cwd / "pause").touch()
    return "model._target_=pauses.Pauses"


def folder_of(done: subprocess.CompletedProcess[str], cwd: Path) -> Path:
    """Return the run folder that a successful command has printed."""
    assert done.returncode == 0, done.stderr
    return cwd / done.stdout.strip().splitlines()[-1]


def assert_same_run(one: Path, two: Path) -> None:
    """Assert that two run folders hold the same weights, metrics and scores, bit for bit."""
    import torch  # here, because tests of what starts without torch start processes too
    from safetensors.torch import load_file

    weights, again = load_file(one / "model.safetensors"), load_file(two / "model.safetensors")
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    for name in ("metrics.json", "scores.parquet"):
        assert (one / name).read_bytes() == (two / name).read_bytes()


def step_of(checkpoint: Path) -> int:
    """Return the step of a checkpoint."""
    import torch

    return int(torch.load(checkpoint, weights_only=True)["progress"]["step"])
