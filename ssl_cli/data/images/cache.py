"""Image files -> one array: in memory, or where it would be too large for that, mapped from a file in a cache."""

import hashlib
import json
import math
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ssl_cli.config.typecheck import fits
from ssl_cli.data.images.archive import ImageFiles
from ssl_cli.data.images.reader import Rejected
from ssl_cli.data.io.json_state import read_state
from ssl_cli.errors import InputError

LARGEST_IN_MEMORY = 1 << 30  # bytes of decoded images
VERSION = 1  # of what `decoded` makes of a file
PIXELS, ABOUT = "pixels", "about.json"
STATE = {"names": list[str], "rejected": list[list[str]], "digest": str}


@dataclass
class ImageArray:
    """`x` (N, C, H, W) uint8 and the `names` (N,) of the files that could be read; the `rejected`, with reasons.

    `digest` is the SHA-256 of x.
    """

    x: np.ndarray
    names: list[str]
    rejected: Rejected
    digest: str


def image_array(files: ImageFiles, shape: list[int], cache: Path) -> ImageArray:
    """All images of a shape (C, H, W), in order. Raises InputError where the cache is needed and can't be written."""
    if len(files.names) * math.prod(shape) <= LARGEST_IN_MEMORY:
        return _in_memory(files, shape)
    place = cache / _key(files, shape)
    try:
        if not place.is_dir():
            _write(files, shape, place)
        return _mapped(place, shape)
    except OSError as error:
        size = len(files.names) * math.prod(shape)
        raise InputError(
            f"{size:,} bytes of images are to be kept in {cache}, which fails: {error.strerror or error}. "
            "Say data.cache=PATH for another folder."
        ) from error


def _in_memory(files: ImageFiles, shape: list[int]) -> ImageArray:
    x = np.empty((len(files.names), *shape), np.uint8)
    names: list[str] = []
    rejected: Rejected = []
    for name, found in files.decoded(shape):
        if isinstance(found, str):
            rejected.append((name, found))
        else:
            x[len(names)] = found
            names.append(name)
    x = x[: len(names)]
    return ImageArray(x, names, rejected, hashlib.sha256(x.data).hexdigest())


def _key(files: ImageFiles, shape: list[int]) -> str:
    """Changes with every file, its size or its time; and with what is made of them."""
    listed = [VERSION, shape, str(files.root.resolve()), files.names, files.marks]
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()[:32]


def _write(files: ImageFiles, shape: list[int], place: Path) -> None:
    """A folder of the pixels and what is said of them; it gets its name when it is whole."""
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".part-", dir=place.parent))
    try:
        names, rejected, digest = [], [], hashlib.sha256()
        with (partial / PIXELS).open("wb") as file:
            for name, found in files.decoded(shape):
                if isinstance(found, str):
                    rejected.append((name, found))
                    continue
                names.append(name)
                content = np.ascontiguousarray(found).tobytes()
                digest.update(content)
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
        about = {"names": names, "rejected": rejected, "digest": digest.hexdigest()}
        (partial / ABOUT).write_text(json.dumps(about), encoding="utf-8")
        try:
            partial.replace(place)
        except OSError:
            if not place.is_dir():  # another process was faster, and wrote the same
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _mapped(place: Path, shape: list[int]) -> ImageArray:
    about: dict[str, Any] = read_state(place / ABOUT)
    n_bytes = len(about.get("names", ())) * math.prod(shape)
    sound = set(about) == set(STATE) and all(fits(about[name], wanted) for name, wanted in STATE.items())
    if not sound or (place / PIXELS).stat().st_size != n_bytes:
        raise InputError(f"{place} is damaged: remove it, and it is made anew.")
    names, rejected = about["names"], [(name, reason) for name, reason in about["rejected"]]
    if not names:
        return ImageArray(np.empty((0, *shape), np.uint8), names, rejected, about["digest"])
    x = np.memmap(place / PIXELS, np.uint8, "c", shape=(len(names), *shape))
    return ImageArray(x, names, rejected, about["digest"])
