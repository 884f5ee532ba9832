"""The run folder, the unit of exchange: find it, read it, report its state. Imports neither torch nor Lightning.

outputs/<verb>/<model>-<data>/<time>/
    config.yaml        the resolved config: the model is rebuilt from it without its data
    environment.json   versions, device, git revision, seed, data fingerprint, wall time, peak memory, how it ended
    log.txt            all output
    history.csv        one row a validation
    model.safetensors  and what the data side learned, as JSON or safetensors
    last.ckpt          the checkpoint to resume from, and previous.ckpt in case it is damaged
    figures/*.png      and sounds/*.flac, which report.html shows and plays
    digests.json       the SHA-256 of each file that is read when the run is used
    metrics.json       flat numbers; written last and atomically: its presence means a finished run
"""

import csv
import fcntl
import itertools
import os
import shlex
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from ssl_cli import console
from ssl_cli.config.instantiate import quote_if_needed
from ssl_cli.errors import InputError
from ssl_cli.files import LOCKS_UNSUPPORTED
from ssl_cli.runs import safety
from ssl_cli.runs.file_ends import last_line, last_step

METRICS, CONFIG, ENVIRONMENT, LOG, HISTORY = "metrics.json", "config.yaml", "environment.json", "log.txt", "history.csv"
IDS_FILE = "tracking.json"  # the run's id in the store of each logger, with which a resumed run goes on there
LATEST = "latest"
MAX_HISTORY_BYTES, MAX_HISTORY_ROWS = 1 << 26, 1 << 19  # half a million validations
LOCK_ATTEMPTS, LOCK_PAUSE_S = 10, 0.02
FINISHED, RUNNING, STOPPED, FAILED, KILLED = STATES = ("finished", "running", "stopped", "failed", "killed")


# --- finding ------------------------------------------------------------------------------------------------


def all_runs(outputs: str | Path) -> list[Path]:
    """Return every run folder below `outputs`, in the order in which the runs were started."""
    parents = (parent for verb in _subfolders(Path(outputs).expanduser()) for parent in _subfolders(verb))
    return sorted((run for parent in parents for run in _runs_in(parent)), key=_start_order)


def runs_parent(cfg: DictConfig) -> Path:
    """Return the folder that holds the runs of a config's verb, model and data."""
    name = f"{cfg.choices.model}-{cfg.choices.data}".replace("/", "-")  # a choice may lie in a folder of its group
    return Path(cfg.paths.outputs).expanduser() / cfg.verb / name


def sibling_runs(cfg: DictConfig) -> list[Path]:
    """Return the run folders of the same verb, model and data, in the order in which the runs were started."""
    return sorted(_runs_in(runs_parent(cfg)), key=_start_order)


def _runs_in(parent: Path) -> list[Path]:
    return [folder for folder in _subfolders(parent) if (folder / CONFIG).exists()]


def _subfolders(folder: Path) -> list[Path]:
    """Return the folders in a folder, none if it can't be read: another process may have removed it."""
    with suppress(OSError), os.scandir(folder) as entries:
        return [folder / entry.name for entry in entries if entry.is_dir()]
    return []


def _start_order(folder: Path) -> tuple[int, float, str]:
    """Return a sort key: first the run's serial number, because a clock may be set back."""
    started_s = 0.0
    with suppress(OSError):  # it may have been removed
        started_s = (folder / CONFIG).lstat().st_mtime
    return serial_number(folder), started_s, folder.name


def serial_number(folder: Path) -> int:
    """Return the run's serial number within its outputs folder, or 0 if it cannot be read."""
    try:
        number = read_environment(folder).get("number")
    except InputError:
        return 0
    return number if isinstance(number, int) else 0


def resume_command(verb: str, folder: Path) -> str:
    """Return the shell command that resumes a run."""
    return f"ssl {verb} {shlex.quote(f'resume={quote_if_needed(folder)}')}"


@dataclass(frozen=True)
class RunFilter:
    """A condition on the run that `latest` stands for: `matches` is called with a run's folder.

    `purpose` names the condition in messages: "a run that can PURPOSE".
    """

    purpose: str
    matches: Callable[[Path], bool]


def find_run(
    name: str | Path,
    outputs: str | Path = "outputs",
    verb: str | tuple[str, ...] | None = None,
    finished: bool = False,
    run_filter: RunFilter | None = None,
) -> Path:
    """Return the folder of a run, named by its path or as `latest`, the newest one in `outputs`.

    `verb`, `finished` and `run_filter` restrict which run is `latest`; `verb` and `finished` are also required of a run
    named by its path. Raises InputError if there is no such run.
    """
    verbs = (verb,) if isinstance(verb, str) else verb or ()
    if str(name) != LATEST:
        return _run_at(Path(name).expanduser(), verbs, finished)
    runs = [folder for folder in all_runs(outputs) if not verbs or folder.parts[-3] in verbs]
    runs = [folder for folder in runs if is_finished(folder) or not finished]
    latest = next((folder for folder in reversed(runs) if run_filter is None or run_filter.matches(folder)), None)
    if latest is None:
        kind = f"{'finished ' if finished else ''}{' or '.join(verbs) + ' ' if verbs else ''}run"
        kind += f" that can {run_filter.purpose}" if run_filter else ""
        raise InputError(f"There is no {kind} in {Path(outputs).resolve()}; run one first, or name its folder.")
    return latest


def _run_at(folder: Path, verbs: tuple[str, ...], finished: bool) -> Path:
    """Return the folder if it holds such a run. Raises InputError if it does not."""
    if not (folder / CONFIG).is_file():
        raise InputError(f"{folder} is no run folder: it has no {CONFIG}. `ssl list runs` shows those in outputs.")
    if finished and not is_finished(folder):
        command = resume_command(str(read_config(folder).get("verb")), folder)
        raise InputError(f"{folder} is not finished: it has no {METRICS}. Resume it with `{command}`.")
    if finished and verbs and (verb := read_config(folder).verb) not in verbs:
        raise InputError(f"{folder} is a run of ssl {verb}: this needs one of ssl {' or '.join(verbs)}.")
    return folder


def enclosing_run(path: Path) -> Path | None:
    """Return the run folder that a path is or lies in, whatever its name and whether it is damaged; None if none."""
    absolute = path.expanduser().resolve()
    return next((folder for folder in (absolute, *absolute.parents) if _looks_like_run(folder)), None)


def _looks_like_run(folder: Path) -> bool:
    """Return whether its config.yaml names a verb: other programs use that file name too."""
    try:
        with (folder / CONFIG).open("rb") as file:
            return any(line.startswith(b"verb:") for line in file.read(safety.MAX_TEXT_BYTES).splitlines())
    except OSError:
        return False


# --- reading ------------------------------------------------------------------------------------------------


def read_config(folder: Path) -> DictConfig:
    """Return the resolved config of a run, which may be untrusted. Raises InputError if its folder is not safe."""
    safety.check_files(folder)
    return safety.read_saved_config(folder / CONFIG)


def read_metrics(folder: Path) -> dict[str, float]:
    """Return the numbers of metrics.json, without those that are null: NaN or infinite.

    Raises InputError if another value is not a number.
    """
    content = safety.read_json_object(folder / METRICS)
    metrics = {name: value for name, value in content.items() if value is not None}
    safety.check_are_numbers(folder / METRICS, metrics, list(metrics))
    return metrics


def read_environment(folder: Path) -> dict[str, Any]:
    """Return the content of environment.json; empty if a run was killed before it was written."""
    path = folder / ENVIRONMENT
    environment = safety.read_json_object(path) if path.is_file() else {}
    safety.check_are_numbers(path, environment, [name for name in ("wall_time_s",) if name in environment])
    return environment


def read_history(path: Path) -> list[dict[str, float]]:
    """Return the rows of a history.csv; empty if there is none. A last row that was cut off is left out."""
    if not path.is_file():
        return []
    whole_lines, _, _ = safety.read_text(path, MAX_HISTORY_BYTES).rpartition("\n")
    if (n_rows := whole_lines.count("\n")) > MAX_HISTORY_ROWS:
        raise InputError(f"{path} is damaged: it has {n_rows:,} rows, and may have {MAX_HISTORY_ROWS:,}.")
    try:
        rows = [
            {name: float(value) for name, value in row.items() if value}
            for row in csv.DictReader(whole_lines.splitlines())
        ]
    except (ValueError, TypeError, csv.Error) as error:
        raise InputError(f"{path} is damaged: {error}.") from error
    if not all(0 <= row.get("step", -1) < 1 << 53 for row in rows):
        raise InputError(f"{path} is damaged: each row must begin with a step.")
    return rows


# --- the state of a run -------------------------------------------------------------------------------------


def is_finished(folder: Path) -> bool:
    """Return whether the run has written its metrics."""
    return (folder / METRICS).is_file()


def run_state(folder: Path) -> tuple[str, str]:
    """Return one of STATES, and the last message of a run that is not finished. Raises InputError if it is damaged."""
    safety.check_files(folder)
    if is_locked(folder):
        return RUNNING, ""
    if is_finished(folder):
        return FINISHED, ""
    ended = read_environment(folder).get("ended")
    if isinstance(ended, dict) and (state := ended.get("state")) in (STOPPED, FAILED):
        return state, str(ended.get("words"))
    step = last_step(folder / HISTORY)
    reached = f"after step {step}; " if step else ""
    return KILLED, f"{reached}last log line: {last_line(folder / LOG)}"


def lock_run(folder: Path) -> int:
    """Lock a run folder until the returned descriptor is closed or the process ends.

    Raises InputError if another process holds the lock, or the folder cannot be written.
    """
    try:
        lock = os.open(folder / LOG, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise InputError(f"{folder} can't be written: {error.strerror}.") from error
    try:
        for _ in range(LOCK_ATTEMPTS):
            with suppress(BlockingIOError):  # `is_locked` of another process holds the lock for a moment
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return lock
            time.sleep(LOCK_PAUSE_S)
        os.close(lock)
        raise InputError(f"{folder} is running: wait for it, or stop it first.")
    except OSError as error:
        if error.errno not in LOCKS_UNSUPPORTED:
            raise
        console.warn(f"{folder} is on a file system without locks: two processes could write to it at the same time")
    return lock


def is_locked(folder: Path) -> bool:
    """Return whether a process is running in the folder."""
    try:
        lock = os.open(folder / LOG, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in LOCKS_UNSUPPORTED
    finally:
        os.close(lock)
    return False


# --- a new folder -------------------------------------------------------------------------------------------


def create_folder(parent: Path) -> Path:
    """Create an empty folder named after the current time, unique even within one second."""
    parent.mkdir(parents=True, exist_ok=True)
    name = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    for attempt in itertools.count(1):
        folder = parent / (name if attempt == 1 else f"{name}_{attempt}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise AssertionError
