"""The environment of a run, for its environment.json: versions, device, git revision, memory."""

import os
import platform
import resource
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

PACKAGES = ["ssl-cli", "torch", "pytorch-lightning", "hydra-core", "numpy", "scikit-learn", "pyarrow"]
GIT_TIMEOUT_S = 10


def describe_environment(cfg: DictConfig) -> dict[str, Any]:
    """Return the versions, platform, device, git revision and seed of a run that begins."""
    import torch

    cuda = torch.cuda.is_available() and cfg.trainer.accelerator != "cpu"
    return {
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name() if cuda else platform.processor() or platform.machine(),
        "cpus": os.cpu_count(),
        "git_revision": _git_revision(Path.cwd()) or _git_revision(Path(__file__).parent),
        "seed": cfg.seed,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except ModuleNotFoundError:
        return None


def _git_revision(folder: Path) -> str | None:
    """Return the commit checked out in `folder`, with `-dirty` if files differ from it; None outside a repository."""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=GIT_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def peak_memory_mb() -> float:
    """Return the largest resident size of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10), 1)
