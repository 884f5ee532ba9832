"""The names of the images in a .sslz file: relative paths, packed and read back, and where each image then goes."""

import re
import zlib
from pathlib import Path, PurePosixPath

from ssl_cli.errors import InputError

PLAIN, DEFLATED = 0, 1  # how they lie in the file
MOST_TEXT, MOST_NAMES = 64, 2  # bytes of text, and names, for each byte that they take in the file
LONGEST = 4096  # bytes of a name
DRIVE, ODD = re.compile(r"[A-Za-z]:"), re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]")
SLASH = re.compile("/")


def pack_names(names: list[str]) -> tuple[int, bytes]:
    """How they lie in the file, and as which bytes. Raises InputError for those that can't be kept."""
    for name in names:
        if fault := fault_of(name):
            raise InputError(f"The image {name!r} can't be kept under its name: {fault}. Rename it.")
    if not are_apart(places(names)):
        raise InputError("Two of the images would be decompressed to one place: rename one of them.")
    text = "\0".join(names).encode()
    packer = zlib.compressobj(9, zlib.DEFLATED, -15, 9)
    deflated = packer.compress(text) + packer.flush()
    # What a reader would refuse, since a forged file could exhaust its memory so, is left as it is.
    is_bounded = len(text) <= MOST_TEXT * len(deflated) and len(names) <= MOST_NAMES * len(deflated)
    return (DEFLATED, deflated) if is_bounded and len(deflated) < len(text) else (PLAIN, text)


def read_names(kept: bytes, n_images: int, way: int) -> list[str]:
    """Raises ValueError, with the reason, where they are none that `pack_names` has made."""
    if way not in (PLAIN, DEFLATED) or not 0 < n_images <= MOST_NAMES * len(kept):
        raise ValueError("it can't hold so many names")
    text = _inflated(kept) if way == DEFLATED else kept
    if text.count(b"\0") != n_images - 1:
        raise ValueError("it has another number of names than of images")
    names = text.decode().split("\0")
    for name in names:
        if fault := fault_of(name):
            raise ValueError(f"the name {name[:100]!r} is refused, since {fault}")
    if not are_apart(names) or not are_apart(places(names)):
        raise ValueError("two of its images would go to one place")
    return names


def _inflated(kept: bytes) -> bytes:
    unpacker = zlib.decompressobj(-15)
    try:
        text = unpacker.decompress(kept, MOST_TEXT * len(kept) + 1)
    except zlib.error as error:
        raise ValueError("its names can't be unpacked") from error
    if len(text) > MOST_TEXT * len(kept) or not unpacker.eof or unpacker.unused_data:
        raise ValueError("its names can't be unpacked")
    return text


def fault_of(name: str) -> str | None:
    """Why a name is no relative path that stays where it is put, on any system; None where it is one."""
    if ODD.search(name):
        return "it has a backslash, a control character, or what is no Unicode"
    if name.startswith("/") or DRIVE.match(name):
        return "it is no relative path"
    if {"", ".", ".."} & set(name.split("/")):
        return "a part of its path is empty, . or .."
    return f"it is longer than {LONGEST:,} bytes" if len(name.encode()) > LONGEST else None


def places(names: list[str]) -> list[str]:
    """Where each image goes, as PNG: a.jpg to a.png; where two would go to one place, all keep theirs: a.jpg.png."""
    short = [str(PurePosixPath(name).with_suffix(".png")) for name in names]
    return short if are_apart(short) else [f"{name}.png" for name in names]


def are_apart(names: list[str]) -> bool:
    """Whether each can be a file of its own: none is another, nor a folder above it."""
    files = set(names)
    folders = {name[: slash.start()] for name in names for slash in SLASH.finditer(name)}
    return len(files) == len(names) and not files & folders


def refuse_outside(output: Path, names: list[str]) -> None:
    """Raise InputError where a link in a folder that exists would lead an image out of it."""
    home = output.resolve()
    for parent in {(output / name).parent for name in names}:
        if not parent.resolve().is_relative_to(home):
            raise InputError(f"{parent} leads out of output={output} by a link: name another folder.")
