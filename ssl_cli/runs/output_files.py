"""Where the verbs that read a file of any size and write one put it, and beside it what can't be read: `rejects`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
from omegaconf import DictConfig

from ssl_cli.errors import InputError
from ssl_cli.runs.folder import run_around

REJECTS, REJECT_COLUMNS = "rejects.csv", ["row", "line", "reason", "text"]


def places(cfg: DictConfig) -> tuple[Path, Path, Path]:
    """Input, output and rejects. Raises InputError where something would be overwritten or there is no folder."""
    source, output = Path(cfg.input).expanduser(), Path(cfg.output).expanduser()
    rejects = output.with_name(REJECTS) if cfg.rejects is None else Path(cfg.rejects).expanduser()
    for name, path in (("output", output), ("rejects", rejects)):
        if not path.parent.is_dir():
            raise InputError(f"{name}={path}: there is no folder {path.parent}; make it first.")
        if path.is_dir():
            raise InputError(f"{name}={path} is a folder; name a file in it.")
        if run_around(path) is not None:
            raise InputError(f"{name}={path} lies in a run: name a file outside of it.")
        if path.exists() and path.resolve() == source.resolve():
            raise InputError(f"{name}={path} is the input itself: name another file.")
    if output.resolve() == rejects.resolve():
        raise InputError(f"output and rejects are both {output}: name two files.")
    if output.exists() and not cfg.overwrite:
        raise InputError(f"output={output} exists: name another file, or say overwrite=true.")
    if rejects.is_file() and not cfg.overwrite and not is_ours(rejects):
        raise InputError(f"rejects={rejects} exists and is none of ours: name another, or say overwrite=true.")
    return source, output, rejects


def is_ours(rejects: Path) -> bool:
    """Whether a file is the rejects of an earlier run, which a new one replaces."""
    with rejects.open("rb") as file:
        return file.readline().strip() == ",".join(REJECT_COLUMNS).encode()


@contextmanager
def disk_errors_as_input_errors(place: Path) -> Iterator[None]:
    """What keeps a file from being written, as one sentence."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise InputError(f"{place} can't be written: {reason}.") from error


@contextmanager
def folder_in(place: Path) -> Iterator[Path]:
    """A folder of our own beside a place, removed at the end with what is left in it: no file of anybody's is in the
    way, or in danger."""
    with disk_errors_as_input_errors(place):
        folder = TemporaryDirectory(prefix=".ssl-", dir=place.parent)
    with folder as name:
        yield Path(name)


def beside(output: Path, rejects: Path) -> Path:
    """Where rejects are written before they are moved: near their place, unless that is no file (/dev/null)."""
    near = rejects.parent if rejects.is_file() or not rejects.exists() else output.parent
    return near / rejects.name


def move(part: Path, place: Path) -> None:
    """To its place; what is there and is no file (/dev/null) is written into."""
    if place.exists() and not place.is_file():
        place.write_bytes(part.read_bytes())
    else:
        part.replace(place)
