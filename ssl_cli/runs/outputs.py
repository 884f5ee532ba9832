"""Outputs of the verbs that use a finished run: a folder, or a file with a file of rejects beside it.

Each appears at its place only when all of it is written.
"""

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pyarrow as pa
from omegaconf import DictConfig

from ssl_cli import console
from ssl_cli.errors import InputError
from ssl_cli.files import unfinished_folder, write_bytes
from ssl_cli.runs.csv_files import write_csv
from ssl_cli.runs.folder import create_folder, enclosing_run

DISK_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)  # such errors often name no file
REJECTS = "rejects.csv"
REJECTED_FILE_COLUMNS = ["name", "reason"]  # for inputs of many files
REJECTED_ROW_COLUMNS = ["row", "line", "reason", "text"]  # for an input of many rows
MAX_SHOWN_REJECTS = 3


@contextmanager
def disk_errors_as_input_errors(path: Path, within: Path | None = None) -> Iterator[None]:
    """Turn an error in writing `path` into an InputError with one sentence.

    With `within`, only errors about that folder or a full disk are turned: the work may also read other files.
    """
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        if within is not None and not _concerns(error, within):
            raise
        reason = getattr(error, "strerror", None) or (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path} can't be written: {reason}.") from error


def _concerns(error: Exception, folder: Path) -> bool:
    is_within = Path(str(getattr(error, "filename", None))).is_relative_to(folder)
    return is_within or getattr(error, "errno", None) in DISK_ERRNOS


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder beside `path`, removed at the end with what is left in it; see `unfinished_folder`.

    Raises InputError if it cannot be made.
    """
    with ExitStack() as stack:
        with disk_errors_as_input_errors(path):
            folder = stack.enter_context(unfinished_folder(path.parent))
        yield folder


# --- an output folder ---------------------------------------------------------------------------------------


@contextmanager
def output_folder(output: str | None, overwrite: bool, default_parent: Path) -> Iterator[tuple[Path, Path]]:
    """Yield an empty folder to write into, and the place to which its content is moved at the end.

    The place is `output`, or a new folder named after the time in `default_parent`. On an error nothing is left behind.
    With `overwrite`, files of the same names in an existing folder are replaced and others left alone. Raises
    InputError if the place does not exist and cannot be made, or is not empty.
    """
    place = checked_output_folder(output, overwrite) if output is not None else _new_place(default_parent)
    try:
        with temporary_folder(place) as parent:
            folder = parent / "results"  # with the usual permissions: those of a temporary folder are for its owner
            folder.mkdir()
            with disk_errors_as_input_errors(place, within=folder):
                yield folder, place
            with disk_errors_as_input_errors(place):
                if output is None or not place.is_dir():
                    folder.replace(place)  # at once; a folder may replace an empty one
                else:
                    _move_content(folder, place)
    except BaseException:
        if output is None:
            with suppress(OSError):
                place.rmdir()
        raise


def check_output_is_free(output: str | None, overwrite: bool) -> None:
    """Raise InputError if `output_folder` would, before any work is done."""
    if output is not None:
        checked_output_folder(output, overwrite)


def checked_output_folder(output: str, overwrite: bool) -> Path:
    """Return the path of an output folder. Raises InputError if it is in a run, not empty, or cannot be made."""
    place = Path(output).expanduser()
    if (run := enclosing_run(place)) is not None:
        raise InputError(
            f"output={place} {'is' if run == place.resolve() else 'lies in'} a run: name a folder outside it."
        )
    if place.is_dir():
        if not overwrite and any(place.iterdir()):
            raise InputError(f"output={place} exists: name another folder, or set overwrite=true.")
    elif os.path.lexists(place):
        raise InputError(f"output={place} is no folder: name another, or a new one.")
    elif not place.parent.is_dir():
        raise InputError(f"output={place}: there is no folder {place.parent}; make it first.")
    return place


def check_output_is_apart(source: Path, output: str | None) -> None:
    """Raise InputError if an output file could replace an input file, or become an input of the next run."""
    if output is None:
        return
    place = Path(output).expanduser().resolve()
    if source.is_dir() and place.is_relative_to(source.resolve()):
        relation = "is" if place == source.resolve() else "lies in"
        raise InputError(f"output={output} {relation} the folder of the input: name a folder outside it.")
    if place == source.resolve().parent and not source.is_dir():
        raise InputError(f"output={output} is the folder of the input file: name another folder.")


def _new_place(parent: Path) -> Path:
    with disk_errors_as_input_errors(parent):
        return create_folder(parent.expanduser())


def _move_content(folder: Path, place: Path) -> None:
    """Move what is in a folder, file by file, into one that exists."""
    targets = {path: place / path.relative_to(folder) for path in sorted(folder.rglob("*"))}
    for path, target in targets.items():
        if target.exists() and path.is_dir() != target.is_dir():
            raise InputError(f"{target} is in the way of a {'folder' if path.is_dir() else 'file'} of that name.")
    for path, target in targets.items():
        if path.is_dir():
            target.mkdir(exist_ok=True)
        else:
            path.replace(target)


def write_rejected_files(folder: Path, rejected: Sequence[tuple[str, str]], escape_formulas: bool) -> None:
    """Write the table of input files that cannot be read, each (name, reason)."""
    rows = [dict(zip(REJECTED_FILE_COLUMNS, reject, strict=True)) for reject in rejected]
    write_csv(folder / REJECTS, REJECTED_FILE_COLUMNS, rows, escape_formulas)


def warn_about_rejected_files(rejected: Sequence[tuple[str, str]], n_read: int, reasons_written: bool = True) -> None:
    """Warn of the number of files that cannot be read, with the reasons of the first; `rejected`: (name, reason).

    `reasons_written` says whether the table of all reasons is among the outputs.
    """
    if rejected:
        shown = "; ".join(f"{name}: {reason}" for name, reason in rejected[:MAX_SHOWN_REJECTS])
        total = len(rejected) + n_read
        where = f", {REJECTS} has the reasons" if reasons_written else ", and are left out"
        console.warn(f"{len(rejected):,} of {total:,} files can't be read{where}: {shown}")


# --- an output file -----------------------------------------------------------------------------------------


def write_output_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all. Raises InputError if it cannot be written."""
    with temporary_folder(path) as folder, disk_errors_as_input_errors(path):
        write_bytes(folder / "content", content)
        move_into_place(folder / "content", path)


def file_paths(cfg: DictConfig) -> tuple[Path, Path, Path]:
    """Return the paths of input, output and rejects.

    Raises InputError if a file would be overwritten, lies in a run, or its folder does not exist.
    """
    source, output = Path(cfg.input).expanduser(), Path(cfg.output).expanduser()
    rejects = output.with_name(REJECTS) if cfg.rejects is None else Path(cfg.rejects).expanduser()
    for name, path in (("output", output), ("rejects", rejects)):
        _check_file_path(name, path, source)
    if output.resolve() == rejects.resolve():
        raise InputError(f"output and rejects are both {output}: name two files.")
    if output.exists() and not cfg.overwrite:
        raise InputError(f"output={output} exists: name another file, or set overwrite=true.")
    if rejects.is_file() and not cfg.overwrite and not is_reject_file(rejects):
        raise InputError(
            f"rejects={rejects} exists and isn't a table of rejects: name another file, or set overwrite=true."
        )
    return source, output, rejects


def _check_file_path(name: str, path: Path, source: Path) -> None:
    if not path.parent.is_dir():
        raise InputError(f"{name}={path}: there is no folder {path.parent}; make it first.")
    if path.is_dir():
        raise InputError(f"{name}={path} is a folder; name a file in it.")
    if enclosing_run(path) is not None:
        raise InputError(f"{name}={path} lies in a run: name a file outside of it.")
    if path.exists() and path.resolve() == source.resolve():
        raise InputError(f"{name}={path} is the input itself: name another file.")


def is_reject_file(path: Path) -> bool:
    """Return whether a file is the table of rejects of an earlier run, which a new one may replace."""
    with path.open("rb") as file:
        return file.readline().strip() == ",".join(REJECTED_ROW_COLUMNS).encode()


def rejects_staging_path(output: Path, rejects: Path) -> Path:
    """Return a path in the folder where rejects are written first: theirs, or the output's for e.g. /dev/null."""
    parent = rejects.parent if rejects.is_file() or not rejects.exists() else output.parent
    return parent / rejects.name


def move_into_place(file: Path, place: Path) -> None:
    """Move a finished file to its place; a place that is no plain file, such as /dev/null, is written into."""
    if place.exists() and not place.is_file():
        place.write_bytes(file.read_bytes())
    else:
        file.replace(place)
