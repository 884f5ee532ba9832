"""Where text lies: files, folders, patterns; plain or compressed. And how the bytes of one are had, piece by piece."""

import bz2
import glob
import gzip
import lzma
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from ssl_cli.errors import InputError

PIECE = 1 << 20  # bytes read at once
COMPRESSED = (".gz", ".zst", ".bz2", ".xz")
UNPACKING = (OSError, EOFError, zlib.error, lzma.LZMAError, pa.ArrowException)


def files_of(given: str | list[str], suffixes: tuple[str, ...]) -> list[Path]:
    """The files that are named, in order, each once: files, folders and all below them, patterns such as `news/*.txt`.

    Of a folder only those count whose names end in one of the `suffixes`, or in one and that of a compression.
    Raises InputError where a path leads nowhere, or to no such file.
    """
    found = [path for one in ([given] if isinstance(given, str) else given) for path in _files(one, suffixes)]
    if not found:
        raise InputError("The list of files is empty: name one file at least.")
    return list(dict.fromkeys(found))


def _files(given: str, suffixes: tuple[str, ...]) -> list[Path]:
    path = Path(given).expanduser()
    if path.is_file():
        return [path]
    if path.is_dir():
        found = sorted(_below(path, suffixes))
        wanted = f"no file whose name ends in {', '.join(suffixes)} (or then in {', '.join(COMPRESSED)})"
    elif glob.has_magic(given):
        names = glob.iglob(str(path), recursive=True)  # noqa: PTH207 - Path's own takes no pattern with a root
        found = sorted(path for path in map(Path, names) if path.is_file())
        wanted = "no file that fits it"
    else:
        raise InputError(f"{path} is neither a file nor a folder.")
    if not found:
        raise InputError(f"{path} holds no text: there is {wanted}.")
    return found


def _below(folder: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """But for what is hidden. Links to folders aren't followed, as they may lead back."""

    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename} can't be read: {error.strerror}.") from error

    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and plain_name(name).endswith(suffixes):
                yield Path(place) / name


def plain_name(name: str) -> str:
    """`news.txt` of `News.txt.gz`."""
    name = name.lower()
    return name.removesuffix(next((suffix for suffix in COMPRESSED if name.endswith(suffix)), ""))


def marks(paths: list[Path]) -> list[object]:
    """What tells each file's version: its place, its size and the time of its last change."""
    try:
        stats = [path.stat() for path in paths]
    except OSError as error:
        raise InputError(f"{error.filename} can't be read: {error.strerror}.") from error
    places = [str(path.resolve()) for path in paths]
    return [[place, stat.st_size, stat.st_mtime_ns] for place, stat in zip(places, stats, strict=True)]


def blocks(path: Path) -> Iterator[bytes]:
    """The bytes of a file, unpacked. Raises InputError where it can't be read to its end."""
    try:
        with _opened(path) as stream:
            while block := stream.read(PIECE):
                yield block
    except UNPACKING as error:
        if isinstance(error, EOFError) or "Truncated" in str(error):
            raise InputError(f"{path} is cut off: its compressed data end too early; fetch it again.") from error
        reason = getattr(error, "strerror", None) or (str(error).splitlines() or ["it is damaged"])[0]
        raise InputError(f"{path} can't be read: {reason.rstrip('.')}.") from error


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    openers: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
    suffix = path.suffix.lower()
    if suffix == ".zst":
        with path.open("rb") as file, pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd") as stream:
            yield stream
    else:
        with openers[suffix](path) if suffix in openers else path.open("rb") as stream:
            yield stream
