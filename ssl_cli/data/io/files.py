"""Files: finding them by path, folder or pattern, and reading their bytes in blocks, plain or compressed."""

import bz2
import glob
import gzip
import lzma
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from ssl_cli.data.io.remedies import remedy_of_names
from ssl_cli.errors import InputError

READ_BYTES = 1 << 20  # bytes of a block
ARROW_COMPRESSIONS = {".zst": "zstd", ".lz4": "lz4"}
COMPRESSED = (".gz", ".bz2", ".xz", *ARROW_COMPRESSIONS)
READ_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError, pa.ArrowException)


def list_files(paths: str | list[str], suffixes: tuple[str, ...]) -> list[Path]:
    """Return the files that paths name, in order, without duplicates.

    A path is a file, a folder (with everything below it) or a pattern such as `news/*.txt`. Of a folder, only files
    with one of the `suffixes` count, optionally followed by that of a compression. Raises InputError if a path does
    not exist or leads to no such file.
    """
    found = [file for path in ([paths] if isinstance(paths, str) else paths) for file in _files_at(path, suffixes)]
    if not found:
        raise InputError("The list of files is empty: name at least one file.")
    return list(dict.fromkeys(found))


def _files_at(name: str, suffixes: tuple[str, ...]) -> list[Path]:
    path = Path(name).expanduser()
    if path.is_file():
        return [path]
    if path.is_dir():
        found = sorted(_files_below(path, suffixes))
        remedy = "" if found else remedy_of_names(file.name for file in _files_below(path, ("",)))
        missing = f"no file whose name ends in {', '.join(suffixes)} (optionally with {', '.join(COMPRESSED)})"
    elif glob.has_magic(name):
        names = glob.iglob(str(path), recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
        found, remedy = sorted(path for path in map(Path, names) if path.is_file()), ""
        missing = "no file that matches it"
    else:
        raise InputError(f"{path} is neither a file nor a folder.")
    if not found:
        raise InputError(f"{path} has no text: there is {missing}.{remedy}")
    return found


def _files_below(folder: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """Yield the files below a folder, except hidden ones. Links to folders are not followed: they may form a loop."""

    def raise_error(error: OSError) -> None:
        raise InputError(f"{error.filename} can't be read: {error.strerror}.") from error

    for place, folders, names in os.walk(folder, onerror=raise_error):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and uncompressed_name(name).endswith(suffixes):
                yield Path(place) / name


def uncompressed_name(name: str) -> str:
    """Return a file's name in lower case without the suffix of a compression: `news.txt` for `News.txt.gz`."""
    name = name.lower()
    return name.removesuffix(next((suffix for suffix in COMPRESSED if name.endswith(suffix)), ""))


def file_versions(paths: list[Path]) -> list[object]:
    """Return what identifies each file's version: its absolute path, size and time of last change.

    Raises InputError if a file cannot be read.
    """
    try:
        stats = [path.stat() for path in paths]
    except OSError as error:
        raise InputError(f"{error.filename} can't be read: {error.strerror}.") from error
    places = [str(path.resolve()) for path in paths]
    return [[place, stat.st_size, stat.st_mtime_ns] for place, stat in zip(places, stats, strict=True)]


def read_blocks(path: Path, size: int | None = None) -> Iterator[bytes]:
    """Yield the decompressed bytes of a file in blocks of at most `size` (None: READ_BYTES).

    Raises InputError if it cannot be read to its end.
    """
    return (block for block, _ in read_blocks_with_progress(path, size))


def read_blocks_with_progress(path: Path, size: int | None = None) -> Iterator[tuple[bytes, int]]:
    """Yield the blocks of `read_blocks`, each with the number of bytes of the file itself that are read so far."""
    try:
        with path.open("rb") as file, _decompress(file, path.suffix.lower()) as stream:
            while block := stream.read(size or READ_BYTES):
                yield block, file.tell()
    except READ_ERRORS as error:
        if isinstance(error, EOFError) or "Truncated" in str(error):
            raise InputError(f"{path} is cut off: its compressed data end too early; download it again.") from error
        reason = getattr(error, "strerror", None) or (str(error).splitlines() or ["it is damaged"])[0]
        raise InputError(f"{path} can't be read: {reason.rstrip('.')}.") from error


@contextmanager
def _decompress(file: BinaryIO, suffix: str) -> Iterator[Any]:
    openers: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
    if suffix in ARROW_COMPRESSIONS:
        with pa.CompressedInputStream(pa.PythonFile(file, "r"), ARROW_COMPRESSIONS[suffix]) as stream:
            yield stream
    elif suffix in openers:
        with openers[suffix](file) as stream:
            yield stream
    else:
        yield file
