"""Sound files of a folder and what lies beside them."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ssl_cli.data.io.remedies import SOUND_SUFFIXES, remedy_of_names
from ssl_cli.errors import InputError


@dataclass
class SoundFiles:
    """Files below `root` by name (path within it), in order, with their versions: size and time of last change.

    `others` are the files that are no sounds by their names.
    """

    root: Path
    sounds: dict[str, tuple[int, int]] = field(default_factory=dict)
    others: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Return the names of the sounds."""
        return list(self.sounds)


def sound_files(folder: Path) -> SoundFiles:
    """Return the files below a folder, except hidden ones. Raises InputError if none is a sound."""
    found = SoundFiles(folder)
    try:
        for name, version in sorted(_walk(str(folder), "", frozenset([_identity(folder.stat())]))):
            (found.sounds if name.lower().endswith(SOUND_SUFFIXES) else found.others)[name] = version
    except OSError as error:
        raise InputError(f"{error.filename or folder} can't be read: {error.strerror}.") from error
    if not found.sounds:
        suffixes = ", ".join(SOUND_SUFFIXES)
        raise InputError(f"{folder} holds no sound: no file whose name ends in {suffixes}.{_others(found)}")
    return found


def _others(found: SoundFiles) -> str:
    """Return what a folder without sounds has instead."""
    counts = Counter(PurePosixPath(name).suffix.lower() or "without a suffix" for name in found.others)
    listed = ", ".join(f"{n:,} {suffix}" for suffix, n in counts.most_common(5))
    return f" It has {listed}.{remedy_of_names(found.others)}" if listed else ""


def _walk(folder: str, prefix: str, above: frozenset[tuple[int, int]]) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield the names and versions of the files below a folder. A link to a folder in `above` is not followed."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                identity = _identity(entry.stat())
                if identity not in above:
                    yield from _walk(entry.path, f"{prefix}{entry.name}/", above | {identity})
            elif entry.is_file():
                stat = entry.stat()
                yield prefix + entry.name, (stat.st_size, stat.st_mtime_ns)


def _identity(stat: os.stat_result) -> tuple[int, int]:
    return stat.st_dev, stat.st_ino
