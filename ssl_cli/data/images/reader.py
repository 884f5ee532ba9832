"""Image reader: image files -> bytes of one shape; saved with a run, so that its model can be applied to new files."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from ssl_cli.config.typecheck import expected, fits
from ssl_cli.config.types import Range
from ssl_cli.data.images.archive import DECODE_BATCH, Image, ImageFiles, open_image_files, read_file
from ssl_cli.data.images.decode import decode_image
from ssl_cli.data.io.json_state import read_state
from ssl_cli.errors import InputError
from ssl_cli.files import write_text

Side = Annotated[int, Range(1, 4096)]
STATE_TYPES = {"kind": Literal["images"], "shape": tuple[Literal[1, 3], Side, Side], "classes": list[str]}

RejectedFiles = list[tuple[str, str]]  # the name of a file, and why it can't be read


@dataclass
class ImageBatch:
    """A batch of a folder's images: `names`, `x` (N, C, H, W) uint8, and `file_ids` (N,), the indices of their files.

    `rejected` files can't be read: index, name, reason. `n_done` of all `n_files` files have been read so far.
    """

    names: list[str]
    x: np.ndarray
    file_ids: np.ndarray
    rejected: list[tuple[int, str, str]]
    n_done: int
    n_files: int


@dataclass
class ImageReader:
    """Converts files to images of `shape` (C, H, W); `classes` are the names of the labels."""

    shape: list[int]
    classes: list[str]
    warnings: list[str] = field(default_factory=list, init=False, compare=False)  # about what was read last

    def read(self, path: Path) -> Image:
        """Return a file as (C, H, W) uint8, resized, grey or RGB. Raises InputError if it can't be read."""
        try:
            return decode_image(read_file(path), self.shape)
        except InputError as error:
            raise InputError(f"{path} can't be read as an image: {error}.") from error

    def read_all(self, path: Path) -> tuple[list[str], np.ndarray, RejectedFiles]:
        """Read a file, a folder or a zip -> names, images (N, C, H, W) uint8, and files that can't be read.

        A name is the file's path within the folder. Raises InputError if there is no image file at all.
        """
        batches = list(self.read_batches(path))
        names = [name for batch in batches for name in batch.names]
        rejected = [(name, reason) for batch in batches for _, name, reason in batch.rejected]
        return names, np.concatenate([batch.x for batch in batches]), rejected

    def read_batches(self, path: Path) -> Iterator[ImageBatch]:
        """Yield the same in batches, for a folder or a zip of any size."""
        with open_image_files(path) as files:
            self.warnings = files.skipped_warnings()
            for start in range(0, len(files.names), DECODE_BATCH):
                yield self._read_batch(files.slice(start, start + DECODE_BATCH), start, len(files.names))

    def _read_batch(self, files: ImageFiles, start: int, n_files: int) -> ImageBatch:
        names, images, file_ids = [], [], []
        rejected = []
        for file_id, (name, decoded) in enumerate(files.decode(self.shape), start):
            if isinstance(decoded, str):
                rejected.append((file_id, name, decoded))
                continue
            names.append(name)
            images.append(decoded)
            file_ids.append(file_id)
        x = np.stack(images) if images else np.empty((0, *self.shape), np.uint8)
        return ImageBatch(names, x, np.array(file_ids, np.int64), rejected, start + len(files.names), n_files)

    def validate(self, images: Any) -> np.ndarray:
        """Return a user's images as an array (N, C, H, W) of bytes, or of numbers from 0 to 1.

        Raises InputError if they are anything else.
        """
        try:
            array = np.asarray(images)
        except (TypeError, ValueError, RuntimeError) as error:  # a ragged list; a tensor on a GPU, or with a gradient
            raise InputError(f"Images must be a NumPy array: {error}.") from error
        expected_shape = ", ".join(map(str, self.shape))
        if array.ndim != 4 or list(array.shape[1:]) != list(self.shape):
            raise InputError(f"Images must be an array (N, {expected_shape}), not {array.shape}.")
        if array.dtype == np.uint8:
            return array
        if array.dtype.kind != "f":
            raise InputError(f"Images must be bytes (uint8), or numbers from 0 to 1; these are {array.dtype}.")
        if not ((array >= 0) & (array <= 1)).all():
            actual = f"these range from {array.min():g} to {array.max():g}"
            raise InputError(f"Images must be bytes (uint8), or numbers from 0 to 1; {actual}.")
        return array.astype(np.float32, copy=False)

    def save(self, path: Path) -> None:
        """Write a JSON file atomically."""
        state = {"kind": "images", "shape": [int(size) for size in self.shape], "classes": self.classes}
        write_text(path, json.dumps(state, indent=1, ensure_ascii=False))

    @classmethod
    def load(cls, path: Path) -> "ImageReader":
        """Read what `save` wrote. Raises InputError if it is anything else: the file may be untrusted."""
        return cls.from_state(path, read_state(path))

    @classmethod
    def from_state(cls, path: Path, state: dict[str, Any]) -> "ImageReader":
        """Return the reader of a saved state, read from `path`. Raises InputError if the state is not valid."""
        if set(state) != set(STATE_TYPES):
            raise InputError(f"{path} is damaged: it must have {', '.join(STATE_TYPES)}, and nothing else.")
        for name, annotation in STATE_TYPES.items():
            if not fits(state[name], annotation):
                required = "[channels, height, width]" if name == "shape" else expected(annotation)
                raise InputError(f"{path} is damaged: {name} must be {required}, not {repr(state[name])[:100]}.")
        return cls(state["shape"], state["classes"])
