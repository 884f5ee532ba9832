"""Image files -> one array: in memory or, if it would be too large, memory-mapped from a cache on disk."""

import hashlib
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ssl_cli.config.typecheck import fits
from ssl_cli.data.images.archive import ImageFiles
from ssl_cli.data.images.reader import RejectedFiles
from ssl_cli.data.io.json_state import read_state
from ssl_cli.errors import InputError
from ssl_cli.files import unfinished_folder

MAX_MEMORY_BYTES = 1 << 30  # of decoded images
VERSION = 2  # of what decoding makes of a file; a new one invalidates the cache
PIXELS, METADATA = "pixels", "about.json"
METADATA_TYPES = {"names": list[str], "rejected": list[list[str]], "digest": str}


@dataclass
class ImageArray:
    """Images `x` (N, C, H, W) uint8 and the `names` (N,) of their files; `rejected` files come with reasons.

    `digest` is the SHA-256 of x.
    """

    x: np.ndarray
    names: list[str]
    rejected: RejectedFiles
    digest: str


def load_images(files: ImageFiles, shape: list[int], cache: Path) -> ImageArray:
    """Return all images in order, in a shape (C, H, W). Raises InputError if a cache is needed and can't be written."""
    if len(files.names) * math.prod(shape) <= MAX_MEMORY_BYTES:
        return _decode_to_memory(files, shape)
    folder = cache / _folder_name(files, shape)
    try:
        if not folder.is_dir():
            _write_folder(files, shape, folder)
        return _map_folder(folder, shape)
    except OSError as error:
        size = len(files.names) * math.prod(shape)
        raise InputError(
            f"{size:,} bytes of images can't be stored in {cache}: {error.strerror or error}. "
            "Set data.cache=PATH to use another folder."
        ) from error


def _decode_to_memory(files: ImageFiles, shape: list[int]) -> ImageArray:
    x = np.empty((len(files.names), *shape), np.uint8)
    names: list[str] = []
    rejected: RejectedFiles = []
    for name, decoded in files.decode(shape):
        if isinstance(decoded, str):
            rejected.append((name, decoded))
        else:
            x[len(names)] = decoded
            names.append(name)
    x = x[: len(names)]
    return ImageArray(x, names, rejected, hashlib.sha256(x.data).hexdigest())


def _folder_name(files: ImageFiles, shape: list[int]) -> str:
    """Return a hash that changes with the files, their sizes and times, and with how they are decoded."""
    key = [VERSION, shape, str(files.root.resolve()), files.names, files.versions]
    return hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]


def _write_folder(files: ImageFiles, shape: list[int], folder: Path) -> None:
    """Write a folder of pixels and metadata under another name, and rename it when it is complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with unfinished_folder(folder.parent) as parent:
        partial = parent / folder.name  # with the usual permissions: those of an unfinished folder are for its owner
        partial.mkdir()
        names, rejected, digest = [], [], hashlib.sha256()
        with (partial / PIXELS).open("wb") as file:
            for name, decoded in files.decode(shape):
                if isinstance(decoded, str):
                    rejected.append((name, decoded))
                    continue
                names.append(name)
                content = np.ascontiguousarray(decoded).tobytes()
                digest.update(content)
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
        metadata = {"names": names, "rejected": rejected, "digest": digest.hexdigest()}
        (partial / METADATA).write_text(json.dumps(metadata), encoding="utf-8")
        try:
            partial.replace(folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster, and wrote the same
                raise


def _map_folder(folder: Path, shape: list[int]) -> ImageArray:
    metadata: dict[str, Any] = read_state(folder / METADATA)
    n_bytes = len(metadata.get("names", ())) * math.prod(shape)
    is_valid = set(metadata) == set(METADATA_TYPES) and all(
        fits(metadata[name], annotation) for name, annotation in METADATA_TYPES.items()
    )
    if not is_valid or (folder / PIXELS).stat().st_size != n_bytes:
        raise InputError(f"{folder} is damaged: remove it, and it will be built again.")
    names, rejected = metadata["names"], [(name, reason) for name, reason in metadata["rejected"]]
    if not names:
        return ImageArray(np.empty((0, *shape), np.uint8), names, rejected, metadata["digest"])
    x = np.memmap(folder / PIXELS, np.uint8, "c", shape=(len(names), *shape))
    return ImageArray(x, names, rejected, metadata["digest"])
