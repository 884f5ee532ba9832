"""nanoGPT's side: its train.py, run in a copy of its folder on tiny Shakespeare."""

import os
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

CONFIG = "config/train_shakespeare_char.py"
ON_A_CPU = {"device": "cpu", "compile": False}
# The settings of its README for a CPU, three minutes of training; and those of its config, for a GPU.
SETTINGS: dict[str, dict[str, Any]] = {
    "4x128": {"block_size": 64, "batch_size": 12, "n_layer": 4, "n_head": 4, "n_embd": 128, "dropout": 0.0},
    "6x384": {"block_size": 256, "batch_size": 64, "n_layer": 6, "n_head": 6, "n_embd": 384, "dropout": 0.2},
}


class NanoGPT:
    """A copy of nanoGPT in `folder`, with data from its prepare.py."""

    def __init__(self, source: Path, text: Path, folder: Path, threads: int):
        self.folder, self.threads = folder / "nanoGPT", threads
        shutil.copytree(source, self.folder, ignore=shutil.ignore_patterns(".git", "*.ipynb", "assets"))
        data = self.folder / "data/shakespeare_char"
        shutil.copy(text, data / "input.txt")
        self._run("data/shakespeare_char/prepare.py")

    def seconds_a_step(self, settings: dict[str, Any], steps: int, warm_up: int = 2) -> float:
        """Return the median of the times that it prints."""
        never = {"eval_interval": 10**9, "eval_iters": 1, "log_interval": 1, "max_iters": steps + warm_up}
        output = self._run("train.py", CONFIG, **(ON_A_CPU | settings | never))
        times = [float(ms) / 1000 for ms in re.findall(r"^iter \d+: .* time ([\d.]+)ms", output, re.MULTILINE)]
        return statistics.median(times[1 + warm_up :])  # the first includes the evaluation

    def validation_loss(self, settings: dict[str, Any], steps: int, seed: int) -> float:
        """Return the loss after `steps`, from 200 batches. The seed is replaced in the copy of its script."""
        script, schedule = self.folder / "train.py", {"max_iters": steps, "lr_decay_iters": steps}
        seeded = re.sub(r"manual_seed\(\d+", f"manual_seed({1337 + seed}", script.read_text(encoding="utf-8"))
        script.write_text(seeded, encoding="utf-8")
        settings = ON_A_CPU | settings | schedule | {"eval_interval": steps, "eval_iters": 200}
        output = self._run("train.py", CONFIG, **settings)
        return float(re.findall(rf"^step {steps}: .* val loss ([\d.]+)", output, re.MULTILINE)[-1])

    def _run(self, script: str, *words: str, **settings: Any) -> str:
        options = [f"--{name}={value}" for name, value in settings.items()]
        threads = {"OMP_NUM_THREADS": str(self.threads)}
        command = [sys.executable, script, *words, *options]
        ended = subprocess.run(command, cwd=self.folder, env=os.environ | threads, capture_output=True, text=True)
        if ended.returncode:
            sys.exit(f"nanoGPT's {script} failed: {ended.stderr}")
        return ended.stdout
