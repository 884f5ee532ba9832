"""Image files -> bytes of one shape: what a model must know to be shown new files."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from ssl_cli.config.typecheck import expected, fits
from ssl_cli.config.types import Range
from ssl_cli.data.images.archive import AT_ONCE, Image, ImageFiles, content_of, image_files
from ssl_cli.data.images.decode import decoded
from ssl_cli.data.io.json_state import read_state
from ssl_cli.errors import InputError

# What a saved reader must look like.
Side = Annotated[int, Range(1, 4096)]
STATE = {"kind": Literal["images"], "shape": tuple[Literal[1, 3], Side, Side], "classes": list[str]}

Rejected = list[tuple[str, str]]  # the name of a file, and why it can't be read


@dataclass
class ImageBatch:
    """Some of a folder's images: `names`, `x` (N, C, H, W) uint8, `number` (N,) of their files.

    `rejected` files can't be read: number, name, reason. `done` of all `total` files have been looked at.
    """

    names: list[str]
    x: np.ndarray
    number: np.ndarray
    rejected: list[tuple[int, str, str]]
    done: int
    total: int


@dataclass
class ImageReader:
    """How a file becomes an image of `shape` (C, H, W); `classes` are the labels' names."""

    shape: list[int]
    classes: list[str]

    def read(self, path: Path) -> Image:
        """One PNG or JPEG -> (C, H, W) uint8, resized, grey or RGB. Raises InputError where it can't be read."""
        try:
            return decoded(content_of(path), self.shape)
        except InputError as error:
            raise InputError(f"{path} can't be read as an image: {error}.") from error

    def read_all(self, path: Path) -> tuple[list[str], np.ndarray, Rejected]:
        """A file, a folder or a zip -> names, images (N, C, H, W) uint8, and files that can't be read, with reasons.

        A name is the file's path within the folder. Raises InputError where there is no image file at all.
        """
        pieces = list(self.pieces(path))
        names = [name for piece in pieces for name in piece.names]
        rejected = [(name, reason) for piece in pieces for _, name, reason in piece.rejected]
        return names, np.concatenate([piece.x for piece in pieces]), rejected

    def pieces(self, path: Path) -> Iterator[ImageBatch]:
        """The same, some files at a time: of a folder or a zip of any size."""
        with image_files(path) as files:
            for start in range(0, len(files.names), AT_ONCE):
                yield self._piece(files.some(start, start + AT_ONCE), start, len(files.names))

    def _piece(self, files: ImageFiles, start: int, total: int) -> ImageBatch:
        names, images, number = [], [], []
        rejected = []
        for place, (name, found) in enumerate(files.decoded(self.shape), start):
            if isinstance(found, str):
                rejected.append((place, name, found))
                continue
            names.append(name)
            images.append(found)
            number.append(place)
        x = np.stack(images) if images else np.empty((0, *self.shape), np.uint8)
        return ImageBatch(names, x, np.array(number, np.int64), rejected, start + len(files.names), total)

    def checked(self, images: Any) -> np.ndarray:
        """Images as users have them: (N, C, H, W) of bytes, or of numbers from 0 to 1. Raises InputError for others."""
        try:
            array = np.asarray(images)
        except (TypeError, ValueError, RuntimeError) as error:  # a ragged list; a tensor on a GPU, or with a gradient
            raise InputError(f"Images must be an array of numpy's: {error}.") from error
        wanted = ", ".join(map(str, self.shape))
        if array.ndim != 4 or list(array.shape[1:]) != list(self.shape):
            raise InputError(f"Images must be an array (N, {wanted}), not {array.shape}.")
        if array.dtype == np.uint8:
            return array
        if array.dtype.kind != "f":
            raise InputError(f"Images must be bytes (uint8), or numbers from 0 to 1; these are {array.dtype}.")
        if not ((array >= 0) & (array <= 1)).all():
            has = f"these go from {array.min():g} to {array.max():g}"
            raise InputError(f"Images must be bytes (uint8), or numbers from 0 to 1; {has}.")
        return array.astype(np.float32, copy=False)

    def save(self, path: Path) -> None:
        """Write it whole or not at all."""
        state = {"kind": "images", "shape": [int(size) for size in self.shape], "classes": self.classes}
        partial = path.with_name(f"{path.name}.{os.getpid()}.part")
        partial.write_text(json.dumps(state, indent=1, ensure_ascii=False), encoding="utf-8")
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> "ImageReader":
        """Read it back. Raises InputError where it isn't what `save` writes: the file may be a stranger's."""
        return cls.from_state(path, read_state(path))

    @classmethod
    def from_state(cls, path: Path, state: dict[str, Any]) -> "ImageReader":
        if set(state) != set(STATE):
            raise InputError(f"{path} is damaged: it must have {', '.join(STATE)}, and nothing else.")
        for name, annotation in STATE.items():
            if not fits(state[name], annotation):
                wanted = "[channels, height, width]" if name == "shape" else expected(annotation)
                raise InputError(f"{path} is damaged: {name} must be {wanted}, not {repr(state[name])[:100]}.")
        return cls(state["shape"], state["classes"])
