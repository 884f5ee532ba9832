"""Names of the files in a .sslz file: relative paths, packed and unpacked, and the files to decompress them to."""

import re
import zlib
from pathlib import Path, PurePosixPath

from ssl_cli.errors import InputError

PLAIN, DEFLATED = 0, 1  # encodings of the names in the file
MAX_TEXT_RATIO, MAX_NAMES_RATIO = 64, 2  # bytes of text, and names, per byte in the file
MAX_NAME_BYTES = 4096
DRIVE, FORBIDDEN = re.compile(r"[A-Za-z]:"), re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]")
SLASH = re.compile("/")


def pack_names(names: list[str], suffix: str = ".png") -> tuple[int, bytes]:
    """Return the encoding of names and their bytes; they are decompressed to files with `suffix`.

    Raises InputError for names that can't be stored.
    """
    for name in names:
        if fault := find_fault(name):
            raise InputError(f"The file {name!r} can't be stored under its name: {fault}. Rename it.")
    if not can_coexist(output_paths(names, suffix)):
        raise InputError("Two of the files would be decompressed to the same file: rename one of them.")
    text = "\0".join(names).encode()
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15, 9)
    deflated = compressor.compress(text) + compressor.flush()
    # Readers reject names that are compressed too well, since a forged file could exhaust their memory.
    is_readable = len(text) <= MAX_TEXT_RATIO * len(deflated) and len(names) <= MAX_NAMES_RATIO * len(deflated)
    return (DEFLATED, deflated) if is_readable and len(deflated) < len(text) else (PLAIN, text)


def unpack_names(packed: bytes, n_names: int, encoding: int, suffix: str = ".png") -> list[str]:
    """Return the names that `pack_names` has packed. Raises ValueError, with the reason, if they are invalid."""
    if encoding not in (PLAIN, DEFLATED) or not 0 < n_names <= MAX_NAMES_RATIO * len(packed):
        raise ValueError("it is too small for its number of names")
    text = _inflate(packed) if encoding == DEFLATED else packed
    if text.count(b"\0") != n_names - 1:
        raise ValueError("it has another number of names than of files")
    names = text.decode().split("\0")
    for name in names:
        if fault := find_fault(name):
            raise ValueError(f"the name {name[:100]!r} is not allowed: {fault}")
    if not can_coexist(names) or not can_coexist(output_paths(names, suffix)):
        raise ValueError("two of its files would be decompressed to the same file")
    return names


def _inflate(packed: bytes) -> bytes:
    """Decompress the names, to MAX_TEXT_RATIO times their size at most. Raises ValueError if they are invalid."""
    decompressor = zlib.decompressobj(-15)
    try:
        text = decompressor.decompress(packed, MAX_TEXT_RATIO * len(packed) + 1)
    except zlib.error as error:
        raise ValueError("its names can't be unpacked") from error
    if len(text) > MAX_TEXT_RATIO * len(packed) or not decompressor.eof or decompressor.unused_data:
        raise ValueError("its names can't be unpacked")
    return text


def find_fault(name: str) -> str | None:
    """Return why a name is not a relative path that stays inside its folder on any system; None if it is one."""
    if FORBIDDEN.search(name):
        return "it has a backslash, a control character or invalid Unicode"
    if name.startswith("/") or DRIVE.match(name):
        return "it is not a relative path"
    if {"", ".", ".."} & set(name.split("/")):
        return "a part of its path is empty, . or .."
    return f"it is longer than {MAX_NAME_BYTES:,} bytes" if len(name.encode()) > MAX_NAME_BYTES else None


def output_paths(names: list[str], suffix: str = ".png") -> list[str]:
    """Return the file of each: a.png for a.jpg, or a.jpg.png for all if two would get the same file."""
    paths = [str(PurePosixPath(name).with_suffix(suffix)) for name in names]
    return paths if can_coexist(paths) else [f"{name}{suffix}" for name in names]


def can_coexist(paths: list[str]) -> bool:
    """Return whether each path can be a file: none is equal to another, nor a folder above it."""
    files = set(paths)
    folders = {path[: slash.start()] for path in paths for slash in SLASH.finditer(path)}
    return len(files) == len(paths) and not files & folders


def check_stays_inside(output: Path, names: list[str]) -> None:
    """Raise InputError if a symbolic link in an existing folder would lead a file outside of it."""
    root = output.resolve()
    for parent in {(output / name).parent for name in names}:
        if not parent.resolve().is_relative_to(root):
            raise InputError(f"{parent} leads out of output={output} by a symbolic link: name another folder.")
