"""Where image files lie: by themselves, in a folder, or in a zip, of which nothing is ever unpacked to the disk."""

import lzma
import os
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ssl_cli.data.images.decode import LARGEST_BYTES, SUFFIXES, decoded
from ssl_cli.errors import InputError

DEEPEST = 4  # folders above an image
AT_ONCE = 1024  # files handed to the threads together
THREADS = min(8, os.cpu_count() or 1)

# What a zip's reader raises where it is damaged, or locked by a password.
UNPACKING = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, RuntimeError, ValueError)

Image = np.ndarray  # (C, H, W) uint8


@dataclass
class ImageFiles:
    """Image files by name, in order: one file, those of a folder (path within it), or a zip's entries.

    `marks` tell each file's version: size and time of change, or in a zip the checksum. Nothing is ever unpacked.
    """

    root: Path
    names: list[str]
    marks: list[tuple[int, int]]
    archive: zipfile.ZipFile | None = None

    def some(self, start: int, end: int) -> "ImageFiles":
        return ImageFiles(self.root, self.names[start:end], self.marks[start:end], self.archive)

    def content(self, name: str) -> bytes:
        """Raises InputError, with the reason alone, where it can't be read."""
        if self.archive is None:
            return content_of(self.root / name)
        try:
            with self.archive.open(name) as file:
                return _bounded(file.read(LARGEST_BYTES + 1))
        except InputError:
            raise
        except UNPACKING as error:
            raise InputError(f"it can't be unpacked: {error}") from error

    def decoded(self, shape: list[int]) -> Iterator[tuple[str, Image | str]]:
        """Each name with its image, or with the reason why it can't be read."""

        def of(name: str) -> Image | str:
            try:
                return decoded(self.content(name), shape)
            except InputError as error:
                return str(error)

        threads = ThreadPoolExecutor(THREADS)
        try:
            for start in range(0, len(self.names), AT_ONCE):
                part = self.names[start : start + AT_ONCE]
                yield from zip(map(readable, part), threads.map(of, part), strict=True)
        finally:
            threads.shutdown(cancel_futures=True)


@contextmanager
def image_files(path: Path) -> Iterator[ImageFiles]:
    """The image files of a folder or a zip, or the one file. Raises InputError where there is none."""
    path = path.expanduser()
    if path.is_file() and path.suffix.lower() == ".zip":
        try:
            archive = zipfile.ZipFile(path)
        except UNPACKING as error:
            raise InputError(f"{path} can't be read: {error}.") from error
        with archive:
            entries = sorted(filter(_is_image, archive.infolist()), key=lambda entry: entry.filename)
            unique = {entry.filename: (entry.file_size, entry.CRC) for entry in entries}
            yield _some(ImageFiles(path, list(unique), list(unique.values()), archive))
    elif path.is_dir():
        yield _some(_in_folder(path))
    elif path.is_file():
        stat = path.stat()
        yield ImageFiles(path.parent, [path.name], [(stat.st_size, stat.st_mtime_ns)])
    else:
        raise InputError(f"{path} is neither a file nor a folder.")


def _in_folder(path: Path) -> ImageFiles:
    try:
        names = sorted(_walk(path, path))
        stats = [(path / name).stat() for name in names]
    except OSError as error:
        raise InputError(f"{error.filename or path} can't be read: {error.strerror}.") from error
    return ImageFiles(path, names, [(stat.st_size, stat.st_mtime_ns) for stat in stats])


def _some(files: ImageFiles) -> ImageFiles:
    if not files.names:
        raise InputError(f"{files.root} holds no image: no file whose name ends in {', '.join(SUFFIXES)}.")
    return files


def _walk(root: Path, folder: Path, depth: int = 0) -> Iterator[str]:
    """The names of image files below `root`, but for what is hidden. A link back isn't followed for ever."""
    for entry in os.scandir(folder):
        if entry.name.startswith("."):
            continue
        if entry.is_dir() and depth < DEEPEST:
            yield from _walk(root, Path(entry.path), depth + 1)
        elif entry.name.lower().endswith(SUFFIXES) and entry.is_file():
            yield Path(entry.path).relative_to(root).as_posix()


def _is_image(entry: zipfile.ZipInfo) -> bool:
    """A Mac puts a file `__MACOSX/._name` beside each."""
    parts = entry.filename.split("/")
    hidden = parts[0] == "__MACOSX" or parts[-1].startswith(".")
    return parts[-1].lower().endswith(SUFFIXES) and not hidden and not entry.is_dir()


def readable(name: str) -> str:
    """A file's name as text that can be written anywhere: what is no UTF-8 in it becomes \\x.."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def content_of(path: Path) -> bytes:
    """A file's bytes. Raises InputError, with the reason alone, where it can't be read."""
    try:
        if not path.is_file():
            raise InputError("there is no such file")
        with path.open("rb") as file:
            return _bounded(file.read(LARGEST_BYTES + 1))
    except OSError as error:
        raise InputError(error.strerror or str(error)) from error


def _bounded(content: bytes) -> bytes:
    if len(content) > LARGEST_BYTES:
        raise InputError(f"it has more than {LARGEST_BYTES:,} bytes")
    return content
