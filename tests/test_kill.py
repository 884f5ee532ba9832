"""kill -9 in the middle of a run, then resume: the same weights as the run that was never killed."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

from tests.conftest import run_ssl

OPTIONS = ["trainer=cpu", "trainer.max_steps=400", "trainer.checkpoint_every_n_steps=30", "resamples=20"]


def test_a_terminated_run_says_how_to_go_on(workdir: Path) -> None:
    command = [sys.executable, "-m", "ssl_cli.cli", "detect", "trainer=cpu", "trainer.max_steps=1000000"]
    for kill, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        process = subprocess.Popen(command, cwd=workdir, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started = len(list(workdir.glob("outputs/detect/*/*/history.csv")))
        deadline = time.monotonic() + 120
        while len(list(workdir.glob("outputs/detect/*/*/history.csv"))) == started and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(kill)
        _, err = process.communicate(timeout=60)
        assert process.returncode == code
        assert "go on with `ssl detect resume=outputs/detect/" in err
        assert "Traceback" not in err


def test_killed_and_resumed_equals_never_killed(workdir: Path) -> None:
    whole = Path(run_ssl("detect", *OPTIONS, "paths.outputs=whole", cwd=workdir).stdout.strip().splitlines()[-1])

    command = [sys.executable, "-m", "ssl_cli.cli", "detect", *OPTIONS, "paths.outputs=killed"]
    process = subprocess.Popen(command, cwd=workdir, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(workdir.glob("killed/detect/*/*/last.ckpt")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (killed,) = (path.parent for path in workdir.glob("killed/detect/*/*/last.ckpt"))
    assert not (killed / "metrics.json").exists(), "it finished before it was killed"

    done = run_ssl("detect", "resume=latest", "paths.outputs=killed", cwd=workdir)
    assert done.returncode == 0, done.stderr
    assert (workdir / done.stdout.strip().splitlines()[-1]).resolve() == killed.resolve()
    weights, again = load_file(workdir / whole / "model.safetensors"), load_file(killed / "model.safetensors")
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    for name in ("metrics.json", "scores.parquet"):
        assert (workdir / whole / name).read_bytes() == (killed / name).read_bytes()
