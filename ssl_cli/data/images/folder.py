"""Image folders: a user's own images, a folder or a zip of files, optionally one sub-folder per class."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from ssl_cli.config.types import Path as FilePath
from ssl_cli.data.images.archive import open_image_files
from ssl_cli.data.images.cache import ImageArray, load_images
from ssl_cli.data.images.datasets import Images, RawImages
from ssl_cli.data.images.reader import Side
from ssl_cli.data.io.content import file_kind
from ssl_cli.data.io.remedies import remedy_of_kind
from ssl_cli.errors import InputError

SPLITS = ("train", "test")
OTHER_SPLITS = ("val", "valid", "validation", "dev")
MAX_NAMED_FILES = 20  # rejected files that are named; all are counted
Classes = Literal["top", "parent", "path"]
CLASS_OF = {"top": lambda folders: folders[0], "parent": lambda folders: folders[-1], "path": "/".join}
LAYOUT = "Images must be in the folder itself or in one folder per class, optionally within train and test."


@dataclass(kw_only=True)
class ImageFolder(Images):
    """Files in the folder itself, or in one folder per class; optionally, these are within `train` and `test`."""

    dir: Annotated[FilePath, "a folder of PNG, JPEG, WebP, BMP, GIF, TIFF or PNM files, or a zip of one"]
    size: Annotated[Side | tuple[Side, Side], "height and width to stretch to, in pixels, or one number for both"] = 32
    color: Annotated[Literal["rgb", "grey"], "whether to keep the colours"] = "rgb"
    classes: Annotated[
        Classes | None, "which of several nested folders is an image's class: the top one, its parent, or their path"
    ] = None
    cache: Annotated[FilePath | None, "folder for decoded images that don't fit in memory; null: ~/.cache/ssl"] = None

    def read(self) -> RawImages:
        """Read all images. Raises InputError if none can be read, or the folders follow no known layout."""
        height, width = (self.size, self.size) if isinstance(self.size, int) else self.size
        path = Path(self.dir).expanduser()
        if not path.is_dir() and path.suffix.lower() != ".zip":
            kind = file_kind(path) if path.is_file() else None
            is_other = f" is {kind}, which" if kind else ""
            remedy = remedy_of_kind(kind or "")
            raise InputError(f"data.dir={path}{is_other} is neither a folder nor a zip of images.{remedy}")
        with open_image_files(path) as files:
            images = load_images(files, [3 if self.color == "rgb" else 1, height, width], self._cache())
            skipped = files.skipped_warnings()
        if not len(images.x):
            name, reason = images.rejected[0]
            raise InputError(f"None of the {len(images.rejected):,} images in {path} can be read; {name}: {reason}.")
        splits, label, classes = parse_layout(path, images.names, self.classes)
        return RawImages(
            images.x,
            label,
            classes,
            hashlib.sha256("\0".join([images.digest, *images.names]).encode()).hexdigest(),
            None if splits is None else splits == "test",
            images.names,
            [*skipped, *_rejection_warnings(path, images)],
        )

    def _cache(self) -> Path:
        if self.cache is not None:
            return Path(self.cache).expanduser()
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "ssl"


def parse_layout(
    path: Path, names: list[str], nested: Classes | None = None
) -> tuple[np.ndarray | None, np.ndarray | None, list[str]]:
    """Return what the folders above each file mean: its split (N,), its label (N,), and the names of the classes.

    `nested` says what is the class of an image that is in several nested folders. Raises InputError if the
    files are in another layout.
    """
    parents = _strip_common_folders([name.split("/")[:-1] for name in names])
    split = None
    first = {folders[0].lower() for folders in parents if folders}
    if first & {*SPLITS, *OTHER_SPLITS}:
        if first != set(SPLITS) or not all(parents):
            raise InputError(f"{path} must have both {' and '.join(SPLITS)}, and nothing besides them. {LAYOUT}")
        split = np.array([folders[0].lower() for folders in parents])
        parents = [folders[1:] for folders in parents]
    if not any(parents):
        return split, None, []
    is_odd = (not folders or (nested is None and len(folders) > 1) for folders in parents)
    if (odd := next((k for k, flag in enumerate(is_odd) if flag), None)) is not None:
        if not parents[odd] or not all(parents):
            raise InputError(f"{path}: {names[odd]} is {_place(parents[odd])}. {LAYOUT}")
        raise InputError(f"{path}: {names[odd]} is {_place(parents[odd])}. {LAYOUT} {_nested_advice(parents)}")
    parents = [[CLASS_OF[nested or "path"](folders)] for folders in parents]
    # Numbers in numeric order, then other names.
    classes = sorted(
        {folders[0] for folders in parents}, key=lambda name: (not name.isdigit(), len(name) * name.isdigit(), name)
    )
    index = {name: k for k, name in enumerate(classes)}
    return split, np.array([index[folders[0]] for folders in parents]), classes


def _place(folders: list[str]) -> str:
    return "deeper than a class's folder" if folders else "beside the classes' folders"


def _nested_advice(parents: list[list[str]]) -> str:
    """Return which option makes classes of nested folders, with the classes that each of its values gives."""
    classes = {name: {of(folders): None for folders in parents} for name, of in CLASS_OF.items()}
    choices = [f"{name} ({len(found):,}, such as {next(iter(found))})" for name, found in classes.items()]
    return f"For nested folders set data.classes to what a class is: {', '.join(choices[:-1])} or {choices[-1]}."


def _strip_common_folders(parents: list[list[str]]) -> list[list[str]]:
    """Remove the folders that contain all files: a single folder is not a class, and a zip often begins with one."""
    while all(parents) and len({folders[0] for folders in parents}) == 1:
        parents = [folders[1:] for folders in parents]
    return parents


def _rejection_warnings(path: Path, images: ImageArray) -> list[str]:
    if not images.rejected:
        return []
    named = [f"{name} ({reason})" for name, reason in images.rejected[:MAX_NAMED_FILES]]
    n_more = len(images.rejected) - MAX_NAMED_FILES
    more = f", and {n_more:,} more" if n_more > 0 else ""
    total = len(images.x) + len(images.rejected)
    return [f"{len(images.rejected):,} of {total:,} image files in {path} are left out: {', '.join(named)}{more}"]
