"""A person's own images: a folder or a zip of PNG and JPEG files, optionally one sub-folder a class."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from ssl_cli.config.types import Path as FilePath
from ssl_cli.data.images.archive import image_files
from ssl_cli.data.images.cache import ImageArray, image_array
from ssl_cli.data.images.datasets import Images, RawImages
from ssl_cli.data.images.reader import Side
from ssl_cli.errors import InputError

SPLITS = ("train", "test")
OTHER_SPLITS = ("val", "valid", "validation", "dev")
NAMED = 20  # broken files that are named; the others are counted
LAYOUT = "Images lie in the folder itself, or in one folder a class, or so within train and test."


@dataclass(kw_only=True)
class ImageFolder(Images):
    """Files in the folder itself, or in one folder a class; and these, optionally, in `train` and `test`."""

    dir: Annotated[FilePath, "a folder of PNG and JPEG files, or a zip of one"]
    size: Annotated[Side | tuple[Side, Side], "height and width to stretch to, in pixels, or one number for both"] = 32
    color: Annotated[Literal["rgb", "grey"], "whether the colours are kept"] = "rgb"
    cache: Annotated[FilePath | None, "folder for decoded images that are too many for memory; null: ~/.cache/ssl"] = (
        None
    )

    def read(self) -> RawImages:
        height, width = (self.size, self.size) if isinstance(self.size, int) else self.size
        path = Path(self.dir).expanduser()
        if not path.is_dir() and path.suffix.lower() != ".zip":
            raise InputError(f"data.dir={path} is no folder and no zip of images.")
        with image_files(path) as files:
            found = image_array(files, [3 if self.color == "rgb" else 1, height, width], self._cache())
        if not len(found.x):
            name, reason = found.rejected[0]
            raise InputError(f"None of the {len(found.rejected):,} images in {path} can be read; {name}: {reason}.")
        splits, label, classes = arranged(path, found.names)
        return RawImages(
            found.x,
            label,
            classes,
            hashlib.sha256("\0".join([found.digest, *found.names]).encode()).hexdigest(),
            None if splits is None else splits == "test",
            found.names,
            _told(path, found),
        )

    def _cache(self) -> Path:
        if self.cache is not None:
            return Path(self.cache).expanduser()
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "ssl"


def arranged(path: Path, names: list[str]) -> tuple[np.ndarray | None, np.ndarray | None, list[str]]:
    """What the folders above each file say: its split (N,), its label (N,), and the classes' names.

    Raises InputError where files lie in some other way.
    """
    above = [name.split("/")[:-1] for name in names]
    above = _peeled(above)
    split = None
    first = {parts[0].lower() for parts in above if parts}
    if first & {*SPLITS, *OTHER_SPLITS}:
        if first != set(SPLITS) or not all(above):
            raise InputError(f"{path}: beside {' and '.join(SPLITS)} there must be nothing else, and both. {LAYOUT}")
        split = np.array([parts[0].lower() for parts in above])
        above = [parts[1:] for parts in above]
    if not any(above):
        return split, None, []
    if (odd := next((k for k, parts in enumerate(above) if len(parts) != 1), None)) is not None:
        where = "deeper than a class's folder" if above[odd] else "beside the classes' folders"
        raise InputError(f"{path}: {names[odd]} lies {where}. {LAYOUT}")
    classes = sorted(
        {parts[0] for parts in above}, key=lambda name: (not name.isdigit(), len(name) * name.isdigit(), name)
    )
    number = {name: k for k, name in enumerate(classes)}
    return split, np.array([number[parts[0]] for parts in above]), classes


def _peeled(above: list[list[str]]) -> list[list[str]]:
    """Without the folders that all files lie in: one folder alone is no class, and a zip often begins with one."""
    while all(above) and len({parts[0] for parts in above}) == 1:
        above = [parts[1:] for parts in above]
    return above


def _told(path: Path, found: ImageArray) -> list[str]:
    if not found.rejected:
        return []
    named = [f"{name} ({reason})" for name, reason in found.rejected[:NAMED]]
    more = f", and {len(found.rejected) - NAMED:,} more" if len(found.rejected) > NAMED else ""
    total = len(found.x) + len(found.rejected)
    return [f"{len(found.rejected):,} of {total:,} image files in {path} are left out: {', '.join(named)}{more}"]
