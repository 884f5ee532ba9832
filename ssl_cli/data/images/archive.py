"""Image files in a folder or a zip, or a single one. A zip is never unpacked to disk."""

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

from ssl_cli.data.images.decode import MAX_FILE_BYTES, SUFFIXES, decode_image
from ssl_cli.errors import InputError

MAX_DEPTH = 4  # nested folders above an image
DECODE_BATCH = 1024  # files handed to the threads together
THREADS = min(8, os.cpu_count() or 1)

# What `zipfile` raises for a damaged zip, or one with a password.
UNPACK_ERRORS = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, RuntimeError, ValueError)

Image = np.ndarray  # (C, H, W) uint8


@dataclass
class ImageFiles:
    """Image files by name, in order: a single file, those of a folder (path within it), or the entries of a zip.

    `versions` identify each file's content: its size and modification time, or in a zip its size and checksum.
    """

    root: Path
    names: list[str]
    versions: list[tuple[int, int]]
    archive: zipfile.ZipFile | None = None

    def slice(self, start: int, end: int) -> "ImageFiles":
        """Return the files from `start` to before `end`."""
        return ImageFiles(self.root, self.names[start:end], self.versions[start:end], self.archive)

    def read_bytes(self, name: str) -> bytes:
        """Return a file's content. Raises InputError, with the reason alone, if it can't be read."""
        if self.archive is None:
            return read_file(self.root / name)
        try:
            with self.archive.open(name) as file:
                return _check_size(file.read(MAX_FILE_BYTES + 1))
        except InputError:
            raise
        except UNPACK_ERRORS as error:
            raise InputError(f"it can't be unpacked: {error}") from error

    def decode(self, shape: list[int]) -> Iterator[tuple[str, Image | str]]:
        """Yield each name with its image, or with the reason why it can't be read."""

        def image_or_reason(name: str) -> Image | str:
            try:
                return decode_image(self.read_bytes(name), shape)
            except InputError as error:
                return str(error)

        threads = ThreadPoolExecutor(THREADS)
        try:
            for start in range(0, len(self.names), DECODE_BATCH):
                names = self.names[start : start + DECODE_BATCH]
                yield from zip(map(printable_name, names), threads.map(image_or_reason, names), strict=True)
        finally:
            threads.shutdown(cancel_futures=True)


@contextmanager
def open_image_files(path: Path) -> Iterator[ImageFiles]:
    """Open the image files of a folder or a zip, or a single file. Raises InputError if there is none."""
    path = path.expanduser()
    if path.is_file() and path.suffix.lower() == ".zip":
        try:
            archive = zipfile.ZipFile(path)
        except UNPACK_ERRORS as error:
            raise InputError(f"{path} can't be read: {error}.") from error
        with archive:
            entries = sorted(filter(_is_image, archive.infolist()), key=lambda entry: entry.filename)
            unique = {entry.filename: (entry.file_size, entry.CRC) for entry in entries}
            yield _check_not_empty(ImageFiles(path, list(unique), list(unique.values()), archive))
    elif path.is_dir():
        yield _check_not_empty(_list_folder(path))
    elif path.is_file():
        stat = path.stat()
        yield ImageFiles(path.parent, [path.name], [(stat.st_size, stat.st_mtime_ns)])
    else:
        raise InputError(f"{path} is neither a file nor a folder.")


def _list_folder(path: Path) -> ImageFiles:
    try:
        names = sorted(_walk(path, path))
        stats = [(path / name).stat() for name in names]
    except OSError as error:
        raise InputError(f"{error.filename or path} can't be read: {error.strerror}.") from error
    return ImageFiles(path, names, [(stat.st_size, stat.st_mtime_ns) for stat in stats])


def _check_not_empty(files: ImageFiles) -> ImageFiles:
    if not files.names:
        raise InputError(f"{files.root} holds no image: no file whose name ends in {', '.join(SUFFIXES)}.")
    return files


def _walk(root: Path, folder: Path, depth: int = 0) -> Iterator[str]:
    """Yield the names of image files below `root` that are not hidden. The depth limit also ends cycles of links."""
    for entry in os.scandir(folder):
        if entry.name.startswith("."):
            continue
        if entry.is_dir() and depth < MAX_DEPTH:
            yield from _walk(root, Path(entry.path), depth + 1)
        elif entry.name.lower().endswith(SUFFIXES) and entry.is_file():
            yield Path(entry.path).relative_to(root).as_posix()


def _is_image(entry: zipfile.ZipInfo) -> bool:
    """Return whether an entry is an image, not the file `__MACOSX/._name` that macOS adds for each."""
    parts = entry.filename.split("/")
    is_hidden = parts[0] == "__MACOSX" or parts[-1].startswith(".")
    return parts[-1].lower().endswith(SUFFIXES) and not is_hidden and not entry.is_dir()


def printable_name(name: str) -> str:
    """Return a file's name as valid UTF-8: other bytes in it become \\x.."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def read_file(path: Path) -> bytes:
    """Return a file's bytes. Raises InputError, with the reason alone, if it can't be read."""
    try:
        if not path.is_file():
            raise InputError("there is no such file")
        with path.open("rb") as file:
            return _check_size(file.read(MAX_FILE_BYTES + 1))
    except OSError as error:
        raise InputError(error.strerror or str(error)) from error


def _check_size(content: bytes) -> bytes:
    if len(content) > MAX_FILE_BYTES:
        raise InputError(f"it has more than {MAX_FILE_BYTES:,} bytes")
    return content
