"""Image files in a folder or a zip, or a single one. A zip is never unpacked to disk."""

import lzma
import os
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from ssl_cli.data.images.decode import MAX_FILE_BYTES, SUFFIXES, decode_image
from ssl_cli.data.io.remedies import remedy_of_names
from ssl_cli.errors import InputError

DECODE_BATCH = 1024  # files handed to the threads together
THREADS = min(8, os.cpu_count() or 1)

# What `zipfile` raises for a damaged zip, or one with a password.
UNPACK_ERRORS = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, RuntimeError, ValueError)

Image = np.ndarray  # (C, H, W) uint8


@dataclass
class ImageFiles:
    """Image files by name, in order: a single file, those of a folder (path within it), or the entries of a zip.

    `versions` identify each file's content: its size and modification time, or in a zip its size and checksum.
    `skipped`: how many other files there are, by suffix, which are no images by their names.
    """

    root: Path
    names: list[str]
    versions: list[tuple[int, int]]
    archive: zipfile.ZipFile | None = None
    skipped: Counter[str] = field(default_factory=Counter)

    def skipped_warnings(self) -> list[str]:
        """Return a sentence about the files that were skipped, if there are any."""
        n = self.skipped.total()
        if not n:
            return []
        return [f"{n:,} of {n + len(self.names):,} files in {self.root} are skipped: {self.skipped_suffixes()}"]

    def skipped_suffixes(self) -> str:
        """Return how many files were skipped, by suffix: `20 .txt, 1 .pdf`."""
        return ", ".join(f"{n:,} {suffix or 'without a suffix'}" for suffix, n in self.skipped.most_common())

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
            entries = sorted(filter(_is_visible, archive.infolist()), key=lambda entry: entry.filename)
            files = {entry.filename: (entry.file_size, entry.CRC) for entry in entries}
            unique = {name: version for name, version in files.items() if _is_image(name)}
            skipped = Counter(map(_suffix, files.keys() - unique.keys()))
            yield _check_not_empty(ImageFiles(path, list(unique), list(unique.values()), archive, skipped))
    elif path.is_dir():
        yield _check_not_empty(_list_folder(path))
    elif path.is_file():
        stat = path.stat()
        yield ImageFiles(path.parent, [path.name], [(stat.st_size, stat.st_mtime_ns)])
    else:
        raise InputError(f"{path} is neither a file nor a folder.")


def _list_folder(path: Path) -> ImageFiles:
    skipped = Counter[str]()
    try:
        versions = dict(sorted(_walk(str(path), "", skipped, frozenset([_identity(path.stat())]))))
    except OSError as error:
        raise InputError(f"{error.filename or path} can't be read: {error.strerror}.") from error
    return ImageFiles(path, list(versions), list(versions.values()), skipped=skipped)


def _check_not_empty(files: ImageFiles) -> ImageFiles:
    if not files.names:
        others = f" It has {files.skipped_suffixes()}." if files.skipped else ""
        others += remedy_of_names(files.skipped.elements())
        raise InputError(f"{files.root} holds no image: no file whose name ends in {', '.join(SUFFIXES)}.{others}")
    return files


def _walk(
    folder: str, prefix: str, skipped: Counter[str], above: frozenset[tuple[int, int]]
) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield the names of image files below a folder that are not hidden, with their versions; count the others.

    `prefix` begins their names. A link to a folder that it lies in, one of those `above`, is not followed.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                identity = _identity(entry.stat())
                if identity not in above:
                    yield from _walk(entry.path, f"{prefix}{entry.name}/", skipped, above | {identity})
            elif not _is_image(entry.name):
                skipped[_suffix(entry.name)] += 1
            elif entry.is_file():
                stat = entry.stat()
                yield prefix + entry.name, (stat.st_size, stat.st_mtime_ns)


def _identity(stat: os.stat_result) -> tuple[int, int]:
    return stat.st_dev, stat.st_ino


def _is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _is_visible(entry: zipfile.ZipInfo) -> bool:
    """Return whether an entry is a file, and not hidden as the `__MACOSX/._name` that macOS adds for each."""
    parts = entry.filename.split("/")
    return not (entry.is_dir() or parts[0] == "__MACOSX" or parts[-1].startswith("."))


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
