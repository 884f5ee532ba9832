"""Where the verbs that use a finished run put what they make: a folder or a file, there when all in it is written."""

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from ssl_cli import console
from ssl_cli.errors import InputError
from ssl_cli.files import write_bytes, write_csv
from ssl_cli.runs.folder import new_folder, run_around

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)  # such errors name no file
REJECTS, REJECT_COLUMNS = "rejects.csv", ["name", "reason"]


@contextmanager
def results(output: str | None, overwrite: bool, otherwise: Path) -> Iterator[tuple[Path, Path]]:
    """An empty folder to write into, and the place that all of it is moved to at the end: `output`, or a new folder
    named after the time in `otherwise`. On an error nothing is left behind.

    With `overwrite` files of the same names are replaced in a folder that exists, and others left alone. Raises
    InputError where there is no place, or something in it.
    """
    place = free_place(output, overwrite) if output is not None else _new_place(otherwise)
    try:
        with disk_errors_as_input_errors(place):
            beside = TemporaryDirectory(prefix=".ssl-", dir=place.parent)
        with beside as name:
            folder = Path(name) / "results"  # made as any folder is: the one around it is for us alone
            folder.mkdir()
            with disk_errors_as_input_errors(place, of=folder):
                yield folder, place
            with disk_errors_as_input_errors(place):
                _move(folder, place)
    except BaseException:
        if output is None:
            with suppress(OSError):
                place.rmdir()
        raise


def write_whole(path: Path, content: bytes) -> None:
    """Raises InputError where the disk doesn't take it; then nothing of it is left."""
    try:
        write_bytes(path, content)
    except OSError as error:
        raise InputError(f"{path} can't be written: {error.strerror}.") from error


def write_rejects(folder: Path, rejected: Sequence[tuple[str, str]]) -> None:
    """Files that can't be read, each with the reason."""
    rows = [dict(zip(REJECT_COLUMNS, reject, strict=True)) for reject in rejected]
    write_csv(folder / REJECTS, REJECT_COLUMNS, rows)


def warn_of_rejects(rejected: Sequence[tuple[str, str]], sound: int, kept: bool = True) -> None:
    """How many files can't be read, beside those that can, and why the first of them can't; `kept`: in REJECTS, all."""
    if rejected:
        told = "; ".join(f"{name}: {reason}" for name, reason in rejected[:3])
        total = len(rejected) + sound
        where = f", {REJECTS} has the reasons" if kept else ", and are left out"
        console.warn(f"{len(rejected):,} of {total:,} files can't be read{where}: {told}")


def refuse_taken(output: str | None, overwrite: bool) -> None:
    """What `results` would refuse, before any work is done."""
    if output is not None:
        free_place(output, overwrite)


def free_place(output: str, overwrite: bool) -> Path:
    place = Path(output).expanduser()
    if (run := run_around(place)) is not None:
        raise InputError(
            f"output={place} {'is' if run == place.resolve() else 'lies in'} a run: name a folder outside it."
        )
    if place.is_dir():
        if not overwrite and any(place.iterdir()):
            raise InputError(f"output={place} exists: name another folder, or say overwrite=true.")
    elif os.path.lexists(place):
        raise InputError(f"output={place} is no folder: name another, or a new one.")
    elif not place.parent.is_dir():
        raise InputError(f"output={place}: there is no folder {place.parent}; make it first.")
    return place


def _new_place(parent: Path) -> Path:
    with disk_errors_as_input_errors(parent):
        return new_folder(parent.expanduser())


@contextmanager
def disk_errors_as_input_errors(place: Path, of: Path | None = None) -> Iterator[None]:
    """What keeps a file from being written, as one sentence; of work of many kinds, what the folder `of` is to blame
    for."""
    try:
        yield
    except OSError as error:
        if of is not None and error.errno not in FULL and not Path(str(error.filename)).is_relative_to(of):
            raise  # a file that is read, say
        raise InputError(f"{place} can't be written: {error.strerror or error}.") from error


def _move(folder: Path, place: Path) -> None:
    """Whole, or file by file into a folder that was there."""
    if not place.is_dir():
        folder.replace(place)
        return
    goals = {path: place / path.relative_to(folder) for path in sorted(folder.rglob("*"))}
    for path, goal in goals.items():
        if goal.exists() and path.is_dir() != goal.is_dir():
            raise InputError(f"{goal} is in the way of a {'folder' if path.is_dir() else 'file'} of that name.")
    for path, goal in goals.items():
        if path.is_dir():
            goal.mkdir(exist_ok=True)
        else:
            path.replace(goal)
