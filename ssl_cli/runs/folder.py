"""The run folder, the unit of exchange: find it, read it, say how it stands. Imports neither torch nor Lightning.

outputs/<verb>/<model>-<data>/<time>/
    config.yaml        the resolved config: the model is rebuilt from it without its data
    environment.json   versions, device, git revision, seed, data fingerprint, wall time, peak memory, how it ended
    log.txt            everything that was said
    history.csv        one row a validation
    model.safetensors  (or model.skops), and what the data side learned, as JSON or safetensors
    last.ckpt          what to go on from, and previous.ckpt, should it be torn
    figures/*.png
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
from ssl_cli.config.instantiate import in_quotes
from ssl_cli.errors import InputError
from ssl_cli.files import LOCKLESS
from ssl_cli.runs import safety

METRICS, CONFIG, ENVIRONMENT, LOG, HISTORY = "metrics.json", "config.yaml", "environment.json", "log.txt", "history.csv"
LATEST = "latest"
LARGEST_HISTORY = 1 << 26  # bytes: some half a million validations
FINISHED, RUNNING, STOPPED, FAILED, KILLED = STATES = ("finished", "running", "stopped", "failed", "killed")


# --- finding ------------------------------------------------------------------------------------------------


def all_runs(outputs: str | Path) -> list[Path]:
    """Every run folder below `outputs`, in the order they were started."""
    return sorted((path.parent for path in Path(outputs).expanduser().glob(f"*/*/*/{CONFIG}")), key=_started)


def home(cfg: DictConfig) -> Path:
    """The folder that holds the runs of a config's verb, model and data."""
    name = f"{cfg.choices.model}-{cfg.choices.data}".replace("/", "-")  # a choice in a folder of its group has one
    return Path(cfg.paths.outputs).expanduser() / cfg.verb / name


def runs_at_home(cfg: DictConfig) -> list[Path]:
    """The run folders of the same verb, model and data, in the order they were started."""
    return sorted((path.parent for path in home(cfg).glob(f"*/{CONFIG}")), key=_started)


def _started(folder: Path) -> tuple[int, float, str]:
    """By the number that a run is given at its start: a clock may go back."""
    return number_of(folder), (folder / CONFIG).lstat().st_mtime, folder.name


def number_of(folder: Path) -> int:
    """The how manieth run of its outputs it is; 0 where that can't be read."""
    try:
        number = read_environment(folder).get("number")
    except InputError:
        return 0
    return number if isinstance(number, int) else 0


def go_on(verb: str, folder: Path) -> str:
    """The command that goes on with a run, for a shell."""
    return f"ssl {verb} {shlex.quote(f'resume={in_quotes(folder)}')}"


@dataclass(frozen=True)
class RunFilter:
    """What `latest` must be able to do, `to` in words; `is_able` is asked of a run's folder."""

    to: str
    is_able: Callable[[Path], bool]


def find_run(
    name: str | Path,
    outputs: str | Path = "outputs",
    verb: str | tuple[str, ...] | None = None,
    finished: bool = False,
    run_filter: RunFilter | None = None,
) -> Path:
    """The folder of a run given by path, or `latest`, the newest (of these verbs; finished; able). InputError if there
    is none."""
    verbs = (verb,) if isinstance(verb, str) else verb or ()
    wanted = " or ".join(verbs)
    if str(name) != LATEST:
        folder = Path(name).expanduser()
        if not (folder / CONFIG).is_file():
            raise InputError(f"{folder} is no run folder: it has no {CONFIG}. `ssl list runs` shows those in outputs.")
        if finished and not is_finished(folder):
            own = read_config(folder).get("verb")
            raise InputError(f"{folder} is not finished: it has no {METRICS}. Go on with `{go_on(str(own), folder)}`.")
        if finished and verbs and (other := read_config(folder).verb) not in verbs:
            raise InputError(f"{folder} is a run of ssl {other}: this needs one of ssl {wanted}.")
        return folder
    runs = [folder for folder in all_runs(outputs) if not verbs or folder.parts[-3] in verbs]
    runs = [folder for folder in runs if is_finished(folder) or not finished]
    found = next((folder for folder in reversed(runs) if run_filter is None or run_filter.is_able(folder)), None)
    if found is None:
        kind = f"{'finished ' if finished else ''}{wanted + ' ' if verbs else ''}run"
        kind += f" that can {run_filter.to}" if run_filter else ""
        raise InputError(f"There is no {kind} in {Path(outputs).resolve()}; run one first, or name its folder.")
    return found


def run_around(place: Path) -> Path | None:
    """The run folder that a place is, or lies in, however it is named; sound or not."""
    whole = place.expanduser().resolve()
    return next((folder for folder in (whole, *whole.parents) if _looks_like_run(folder)), None)


def _looks_like_run(folder: Path) -> bool:
    """Whether its config.yaml begins as ours do: other programs have files of that name too."""
    try:
        with (folder / CONFIG).open("rb") as file:
            return any(line.startswith(b"verb:") for line in file.read(safety.LARGEST_TEXT).splitlines())
    except OSError:
        return False


# --- reading ------------------------------------------------------------------------------------------------


def read_config(folder: Path) -> DictConfig:
    """The resolved config of a run, which may be a stranger's: what is odd in its folder is refused first."""
    safety.refuse_odd_files(folder)
    return safety.read_saved_config(folder / CONFIG)


def read_metrics(folder: Path) -> dict[str, float]:
    metrics = safety.read_object(folder / METRICS)
    safety.refuse_no_number(folder / METRICS, metrics, list(metrics))
    return metrics


def read_environment(folder: Path) -> dict[str, Any]:
    """environment.json; empty where a run was killed before it was written."""
    path = folder / ENVIRONMENT
    environment = safety.read_object(path) if path.is_file() else {}
    safety.refuse_no_number(path, environment, [name for name in ("wall_time_s",) if name in environment])
    return environment


def read_history(path: Path) -> list[dict[str, float]]:
    """The rows of a history.csv; empty where there is none. A last row that was cut off is left out."""
    if not path.is_file():
        return []
    whole, _, _ = safety.read_text(path, LARGEST_HISTORY).rpartition("\n")
    try:
        rows = [
            {name: float(value) for name, value in row.items() if value} for row in csv.DictReader(whole.splitlines())
        ]
    except (ValueError, TypeError, csv.Error) as error:
        raise InputError(f"{path} is damaged: {error}.") from error
    if not all(0 <= row.get("step", -1) < 1 << 53 for row in rows):
        raise InputError(f"{path} is damaged: each row must begin with a step.")
    return rows


# --- how a run stands ---------------------------------------------------------------------------------------


def is_finished(folder: Path) -> bool:
    return (folder / METRICS).is_file()


def standing(folder: Path) -> tuple[str, str]:
    """One of STATES, and the last words of a run that isn't finished. Raises InputError where it is damaged."""
    safety.refuse_odd_files(folder)
    if is_held(folder):
        return RUNNING, ""
    if is_finished(folder):
        return FINISHED, ""
    ended = read_environment(folder).get("ended")
    if isinstance(ended, dict) and (state := ended.get("state")) in (STOPPED, FAILED):
        return state, str(ended.get("words"))
    history = read_history(folder / HISTORY)
    reached = f"after step {history[-1]['step']:.0f}; " if history else ""
    return KILLED, f"{reached}last said: {_last_line(folder / LOG)}"


def hold(folder: Path) -> int:
    """Lock a run folder, until the descriptor is closed or the process ends. Raises InputError where another has it."""
    try:
        held = os.open(folder / LOG, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise InputError(f"{folder} can't be written: {error.strerror}.") from error
    try:
        for _ in range(10):
            with suppress(BlockingIOError):  # somebody may only be looking, see `is_held`
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return held
            time.sleep(0.02)
        os.close(held)
        raise InputError(f"{folder} is running: wait for it, or stop it first.")
    except OSError as error:
        if error.errno not in LOCKLESS:
            raise
        console.warn(f"{folder} lies on a file system without locks: nothing keeps two processes from working in it")
    return held


def is_held(folder: Path) -> bool:
    """Whether a process is at work in it."""
    try:
        tried = os.open(folder / LOG, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(tried, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in LOCKLESS
    finally:
        os.close(tried)
    return False


def _last_line(path: Path, tail: int = 4096) -> str:
    with suppress(OSError), path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - tail))
        lines = file.read().decode("utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else ""
    return ""


# --- a new one ---------------------------------------------------------------------------------------------


def new_folder(parent: Path) -> Path:
    """An empty folder named after the time; nobody else has it, though he ask in the same second."""
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
