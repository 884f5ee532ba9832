"""The two newest checkpoints of a run, so that a torn one leaves the one before.

A checkpoint is written beside its place, flushed to the disk, and then moved into it; what was there becomes
`previous.ckpt`. It ends with its own SHA-256, which is looked at before anything else is. (It is a zip, whose entries
have checksums; a flipped bit in its directory can make torch read other bytes all the same.)
"""

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from ssl_cli import console
from ssl_cli.errors import InputError

SEAL_LENGTH, CHUNK = 32, 1 << 20  # bytes
LAST, PREVIOUS, PARTIAL = "last.ckpt", "previous.ckpt", "last.part"
# What Lightning and the learner look for in it.
SAVED = {"loops", "callbacks", "optimizer_states", "lr_schedulers", "since_validation", "pytorch-lightning_version"}


def keep(folder: Path) -> None:
    """Make the finished `last.part` of a folder its `last.ckpt`."""
    seal(folder / PARTIAL)
    if (folder / LAST).exists():
        (folder / LAST).replace(folder / PREVIOUS)
    (folder / PARTIAL).replace(folder / LAST)
    _flush(folder)


def exist(folder: Path) -> bool:
    """Whether a run has any, sound or not."""
    return any((folder / name).exists() for name in (LAST, PREVIOUS))


def seal(path: Path) -> None:
    """Append the file's SHA-256, as the comment that a zip may end with."""
    with path.open("r+b") as file:
        file.seek(-2, os.SEEK_END)
        assert file.read(2) == b"\0\0", "the length of the comment"
        file.seek(-2, os.SEEK_END)
        file.write(SEAL_LENGTH.to_bytes(2, "little"))
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").digest()
        file.seek(0, os.SEEK_END)
        file.write(digest)
        file.flush()
        os.fsync(file.fileno())


def _is_whole(path: Path) -> bool:
    digest, left = hashlib.sha256(), path.stat().st_size - SEAL_LENGTH
    with path.open("rb") as file:
        while left > 0 and (part := file.read(min(left, CHUNK))):
            digest.update(part)
            left -= len(part)
        return file.read() == digest.digest()


def _flush(folder: Path) -> None:
    """The names, too, must be on the disk before anything counts on them."""
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def newest(folder: Path, shapes: Mapping[str, tuple[int, ...]]) -> tuple[Path, int] | None:
    """The newest sound checkpoint of a run and its step; None where there is none yet.

    `shapes` are those of the model's weights. A damaged one is named, and the one before it taken. Raises InputError
    where there are checkpoints and none is sound.
    """
    (folder / PARTIAL).unlink(missing_ok=True)  # a write that was cut off
    faults: list[str] = []
    for path in (folder / LAST, folder / PREVIOUS):
        if not path.exists():
            continue
        if not path.is_file():
            raise InputError(f"{path} is no file: move it away.")
        try:
            step = _sound_step(path, shapes)
        except InputError as error:
            faults.append(str(error))
            continue
        for fault in faults:
            console.warn(f"{fault} The one before it is used.")
        return path, step
    if faults:
        raise InputError(f"{' '.join(faults)} There is no other: start a new run.")
    return None


def _sound_step(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """The step of a checkpoint. Raises InputError where it is torn, holds more than numbers, or is another model's."""
    try:
        if not _is_whole(path):
            raise ValueError("its checksum is wrong")
        content = torch.load(path, map_location="cpu", weights_only=True)
        found = {name: tuple(value.shape) for name, value in content["state_dict"].items()}
        step = int(content["global_step"])
    except UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        what = f" ({named[1]})" if named else ""
        raise InputError(f"{path} holds more than numbers{what}, and would run code. It is not read.") from error
    except Exception as error:  # a torn file raises many kinds
        said = " ".join(str(error).split())[:100] or type(error).__name__
        raise InputError(f"{path} is damaged ({said}).") from error
    if found != dict(shapes) or not content.keys() >= SAVED:
        raise InputError(f"{path} is damaged: it is of another model than this run's.")
    return step


def finite(state: Mapping[str, Any]) -> bool:
    """Whether every weight of a state dict is a finite number."""
    tensors = (value for value in state.values() if isinstance(value, Tensor) and value.is_floating_point())
    return all(bool(torch.isfinite(value).all()) for value in tensors)
