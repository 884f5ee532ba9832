"""Runs of several processes, and comparisons of what they leave."""

import csv
import subprocess
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

from tests.helpers.processes import ALL_OPTIONS

# A user's own method, which records the rows that it is trained on: a line a batch, a file a process.
SEEN = """
import os, zlib
from ssl_cli.methods.autoencoders.autoencoder import Autoencoder

class Seen(Autoencoder):
    def forward(self, batch):
        if self.training:
            with open(f"rows-{os.environ.get('LOCAL_RANK', 0)}.txt", "a") as file:
                print(*(zlib.crc32(row.tobytes()) for row in batch["x"].numpy()), file=file)
        return super().forward(batch)
"""
DDP = ["trainer=ddp", "trainer.accelerator=cpu"]
PLAIN = ["model=ae", "bootstrap_samples=20", "trainer.validate_every_n_steps=20", "trainer.checkpoint_every_n_steps=20"]
PLAIN += ["calibrate=split"]
# 163 training rows in batches of 33: the last of an epoch is short. Without noise, so that the losses can be compared.
WORDS = [*PLAIN, "model._target_=seen.Seen", *ALL_OPTIONS, "trainer.batch_size=33", "trainer.max_steps=300"]
TOLERANCE = {"rtol": 1e-3, "atol": 1e-5}  # of the weights, after many steps


def folder_in(workdir: Path) -> Path:
    """Return the one run folder of a working directory."""
    (config,) = workdir.glob("*/detect/*/*/config.yaml")
    return config.parent


def history(folder: Path) -> list[dict[str, str]]:
    """Return the rows of history.csv without the times."""
    with (folder / "history.csv").open(newline="") as file:
        return [
            {name: value for name, value in row.items() if name != "seconds" and not name.endswith("_per_s")}
            for row in csv.DictReader(file)
        ]


def assert_near(one: Path, two: Path) -> None:
    """Assert that two runs have nearly the same weights."""
    weights, others = load_file(one / "model.safetensors"), load_file(two / "model.safetensors")
    for name, value in weights.items():
        torch.testing.assert_close(others[name], value, **TOLERANCE)


def largest_difference(one: Path, two: Path) -> float:
    """Return the largest relative difference of the losses in two histories."""
    pairs = zip(history(one), history(two), strict=True)
    losses = [(float(a[name]), float(b[name])) for a, b in pairs for name in a if "/" in name]
    return max(abs(a - b) / abs(a) for a, b in losses)


def processes(workdir: Path) -> list[int]:
    """Return the ids of the workers of a run below `workdir`, given as an absolute path."""
    lines = subprocess.run(
        ["ps", "-eww", "-o", "pid,args"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return [int(line.split()[0]) for line in lines if f"resume={workdir}" in line]


def assert_none_left(workdir: Path) -> None:
    """Assert that the workers of a run end within a few minutes; a quiet machine takes some seconds."""
    deadline = time.monotonic() + 150
    while left := processes(workdir):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
