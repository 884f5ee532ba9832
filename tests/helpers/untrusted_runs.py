"""Attacks on copies of run folders, for the tests of untrusted runs."""

import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from ssl_cli.training import checkpoints

Attack = Callable[[Path], None]
WAYS = ("load", "score", "resume")  # to open a run
CANARY = "hacked"  # file that each attack's code would make
SYSTEM = {"_target_": "os.system", "command": f"touch {CANARY}"}


class RunsCommand:
    """An object whose pickle runs a command when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {CANARY}",)


def pickled(name: str) -> Attack:
    """Return an attack that replaces a file by a pickle."""
    return lambda folder: (folder / name).write_bytes(pickle.dumps(RunsCommand()))


def zipped(name: str) -> Attack:
    """Return an attack that replaces a file by a pickle in a zip, as torch.save writes it."""

    def attack(folder: Path) -> None:
        torch.save({"global_step": 4, "state_dict": RunsCommand()}, folder / name)
        checkpoints.append_checksum(folder / name)  # an attacker can compute the checksum, too

    return attack


def configured(**changes: Any) -> Attack:
    """Return an attack that changes entries of the config, by dotted name, each dot written __."""

    def attack(folder: Path) -> None:
        cfg = OmegaConf.load(folder / "config.yaml")
        for name, value in changes.items():
            OmegaConf.update(cfg, name.replace("__", "."), value, merge=False, force_add=True)
        OmegaConf.save(cfg, folder / "config.yaml")

    return attack


def bomb(name: str) -> Attack:
    """Return an attack that replaces a file by a zip that unpacks to 10 MB."""

    def attack(folder: Path) -> None:
        with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("archive/data.pkl", b"\0" * 10**7)

    return attack


def without_fingerprint(folder: Path) -> None:
    """Remove the data's fingerprint from the record of a run."""
    path = folder / "environment.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "data_fingerprint": None}))
