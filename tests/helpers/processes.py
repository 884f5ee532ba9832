"""Runs of `ssl` as processes that are signalled, killed and resumed, and comparisons of what they leave."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file

SSL = f"{sys.executable} -m ssl_cli.cli.main"  # for a shell
OPTIONS = ["trainer=cpu", "model=dae", "trainer.max_steps=400", "trainer.checkpoint_every_n_steps=30"]
OPTIONS += ["bootstrap_samples=20"]
SHORT_OPTIONS = ["trainer=cpu", "model=dae", "trainer.max_steps=60", "trainer.checkpoint_every_n_steps=10"]
SHORT_OPTIONS += ["bootstrap_samples=20"]
ENDLESS = ["trainer=cpu", "model=dae", "trainer.max_steps=1000000"]
# Averaged weights, early stopping, clipping and accumulation at once.
ALL_OPTIONS = ["trainer.ema_decay=0.9", "trainer.patience=100", "trainer.gradient_clip_val=0.1"]
ALL_OPTIONS += ["trainer.accumulate_grad_batches=3", "trainer.batch_size=32"]


def start(*words: str, cwd: Path) -> subprocess.Popen[str]:
    """Start `ssl` as a process with pipes for its output."""
    command = [sys.executable, "-m", "ssl_cli.cli.main", *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    # A shell starts background jobs with Ctrl-C ignored, and their children inherit that.
    restore = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(command, cwd=cwd, text=True, preexec_fn=restore, **pipes)


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Wait until the condition holds, while the process is running."""
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def folder_of(done: subprocess.CompletedProcess[str], cwd: Path) -> Path:
    """Return the run folder that a successful command has printed."""
    assert done.returncode == 0, done.stderr
    return cwd / done.stdout.strip().splitlines()[-1]


def assert_same_run(one: Path, two: Path) -> None:
    """Assert that two run folders hold the same weights, metrics and scores, bit for bit."""
    weights, again = load_file(one / "model.safetensors"), load_file(two / "model.safetensors")
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    for name in ("metrics.json", "scores.parquet"):
        assert (one / name).read_bytes() == (two / name).read_bytes()


def step_of(checkpoint: Path) -> int:
    """Return the step of a checkpoint."""
    return int(torch.load(checkpoint, weights_only=True)["progress"]["step"])
