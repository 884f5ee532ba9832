"""The two newest checkpoints of a run, so that a damaged one leaves the one before it.

A checkpoint is written to a temporary name, flushed to the disk, and then renamed; the one before becomes
`previous.ckpt`. It ends with its own SHA-256, which is checked before anything else. (The file is a zip, whose entries
have checksums, but a flipped bit in its directory can still make torch read wrong bytes.)
"""

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
from ssl_cli.files import sha256_of

CHECKSUM_BYTES = 32
MAX_REASON_CHARS = 100
LAST, PREVIOUS, PARTIAL = "last.ckpt", "previous.ckpt", "last.part"
# Keys that Lightning and the module read from a checkpoint.
REQUIRED_KEYS = {
    *("loops", "callbacks", "optimizer_states", "lr_schedulers", "progress", "pytorch-lightning_version"),
}


def promote(folder: Path) -> None:
    """Turn the finished `last.part` of a folder into its `last.ckpt`."""
    append_checksum(folder / PARTIAL)
    if (folder / LAST).exists():
        (folder / LAST).replace(folder / PREVIOUS)
    (folder / PARTIAL).replace(folder / LAST)
    _flush_names(folder)


def any_exist(folder: Path) -> bool:
    """Return whether a run has a checkpoint, damaged or not."""
    return any((folder / name).exists() for name in (LAST, PREVIOUS))


def append_checksum(path: Path) -> None:
    """Append the file's SHA-256, as the comment with which a zip may end."""
    with path.open("r+b") as file:
        file.seek(-2, os.SEEK_END)
        assert file.read(2) == b"\0\0", "the length of the comment"
        file.seek(-2, os.SEEK_END)
        file.write(CHECKSUM_BYTES.to_bytes(2, "little"))
        file.flush()
        file.write(sha256_of(path))
        file.flush()
        os.fsync(file.fileno())


def _has_valid_checksum(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - CHECKSUM_BYTES))
        return file.read() == sha256_of(path, last=CHECKSUM_BYTES)


def _flush_names(folder: Path) -> None:
    """Flush the folder's entries to the disk: a rename is durable only after that."""
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def find_newest(folder: Path, shapes: Mapping[str, tuple[int, ...]]) -> tuple[Path, int] | None:
    """Return the newest sound checkpoint of a run and its step, or None if there is none yet.

    `shapes` are those of the model's weights. A damaged checkpoint causes a warning, and the one before it is used.
    Raises InputError if there are checkpoints and none is sound.
    """
    (folder / PARTIAL).unlink(missing_ok=True)  # of a write that was cut off
    faults: list[str] = []
    for path in (folder / LAST, folder / PREVIOUS):
        if not path.exists():
            continue
        if not path.is_file():
            raise InputError(f"{path} is no file: move it away.")
        try:
            step = _checked_step(path, shapes)
        except InputError as error:
            faults.append(str(error))
            continue
        for fault in faults:
            console.warn(f"{fault} The one before it is used.")
        return path, step
    if faults:
        raise InputError(f"{' '.join(faults)} There is no other: start a new run.")
    return None


def _checked_step(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Return the step of a checkpoint.

    Raises InputError if it is damaged, holds more than numbers, or belongs to another model.
    """
    content = load_checked(path)
    if {name: tuple(value.shape) for name, value in content["state_dict"].items()} != dict(shapes):
        raise InputError(f"{path} is damaged: it is of another model than this run's.")
    return content["progress"]["step"]


def load_checked(path: Path) -> dict[str, Any]:
    """Return the content of a checkpoint; its tensors stay in the file until they are used.

    Raises InputError if it is damaged, holds more than numbers, or was made by an earlier version.
    """
    try:
        if not _has_valid_checksum(path):
            raise ValueError("its checksum is wrong")
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        has_weights = all(isinstance(value, Tensor) for value in content["state_dict"].values())
        is_whole = has_weights and content.keys() >= REQUIRED_KEYS and "step" in content["progress"]
    except UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        what = f" ({named[1]})" if named else ""
        raise InputError(f"{path} holds more than numbers{what}, and would run code. It is not read.") from error
    except Exception as error:  # a damaged file can raise many kinds of exceptions
        reason = " ".join(str(error).split())[:MAX_REASON_CHARS] or type(error).__name__
        raise InputError(f"{path} is damaged ({reason}).") from error
    if "since_validation" in content:
        raise InputError(f"{path} was made by an earlier version of ssl, whose checkpoints can't be resumed.")
    if not is_whole:
        raise InputError(f"{path} is damaged: it is of another model than this run's.")
    return content


def all_finite(state: Mapping[str, Any]) -> bool:
    """Return whether every weight of a state dict is a finite number."""
    tensors = (value for value in state.values() if isinstance(value, Tensor) and value.is_floating_point())
    return all(bool(torch.isfinite(value).all()) for value in tensors)
