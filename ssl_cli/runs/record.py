"""The record of a run: its folder is made, locked and filled, and how the run ended is written down."""

import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from datetime import datetime
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from ssl_cli import console
from ssl_cli.errors import InputError
from ssl_cli.files import file_lock, to_json, write_bytes, write_json, write_text
from ssl_cli.printable import escape_controls
from ssl_cli.process import Interrupted, is_worker
from ssl_cli.runs.digests import DIGESTS, write_digests
from ssl_cli.runs.duplicates import config_hash, matching_runs
from ssl_cli.runs.environment import describe_environment, peak_memory_mb
from ssl_cli.runs.folder import (
    CONFIG,
    ENVIRONMENT,
    FAILED,
    FINISHED,
    KILLED,
    LOG,
    METRICS,
    STOPPED,
    all_runs,
    create_folder,
    lock_run,
    read_environment,
    resume_command,
    run_state,
    runs_parent,
    serial_number,
)

# Messages of a disk that takes no more, as quoted by libraries that pass on no error number.
DISK_ERRORS = ("No space left on device", "Disk quota exceeded", "File too large", "Read-only file system")
NUMBERING = ".numbering"  # in the outputs: locked while a new run takes its number


@contextmanager
def open_run_folder(cfg: DictConfig, fingerprint: str) -> Iterator[tuple[Path, dict[str, float]]]:
    """Yield the folder of this run, new or resumed, with its log open, and an empty dict for its metrics.

    At the end the metrics are written. A run that failed has none, and its environment.json says how it ended. Raises
    InputError if the data of a resumed run has changed, or another process is running in the folder.
    """
    if is_worker():
        with tempfile.TemporaryDirectory() as temporary:
            yield Path(temporary if cfg.resume is None else cfg.resume), {}
        return
    with ExitStack() as stack:
        folder, lock = _open_folder(cfg, fingerprint)
        stack.callback(os.close, lock)
        stack.enter_context(_explained_errors(folder, cfg.verb))
        record = RunRecord(cfg, fingerprint, folder)
        try:
            record.start()
            with console.logging_to(folder / LOG):
                console.note(f"$ {' '.join(sys.argv)}")
                metrics: dict[str, float] = {}
                yield folder, metrics
                record.finish(metrics)
        except BaseException as error:
            record.fail(error)
            raise


def without_nan(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """Return metrics as JSON can hold them, null for NaN and infinity, which is said in the log."""
    values: dict[str, float | None] = {}
    for name, value in metrics.items():
        values[name] = float(value) if math.isfinite(value) else None
        if values[name] is None:
            console.warn(f"{name} is {float(value)}, which JSON can't hold: {METRICS} has null")
    return values


class RunRecord:
    """The files of a run folder that describe the run itself, written at its start and at its end."""

    def __init__(self, cfg: DictConfig, fingerprint: str, folder: Path):
        self.cfg, self.fingerprint, self.folder = cfg, fingerprint, folder
        self.started_s = time.monotonic()
        files = (folder / name for name in (CONFIG, ENVIRONMENT, DIGESTS, METRICS))
        self.contents_before = {path: path.read_bytes() for path in files if path.is_file()}
        self.mtimes_before = _model_mtimes(folder)
        self.earlier = earlier = read_environment(folder)
        self.environment = describe_environment(cfg) | {
            "started": earlier.get("started") or datetime.now().astimezone().isoformat(timespec="seconds"),
            "data_fingerprint": fingerprint,
            "config_hash": self._hash(),
        }

    def _hash(self) -> str | None:
        """Return the config's hash, or None if a resumed run began with another config: then it matches no other."""
        now = config_hash(self.cfg, self.fingerprint)
        return None if self.earlier.get("config_hash", now) != now else now

    def _is_unchanged(self, was_finished: bool) -> bool:
        """Return whether the run's model files are as before; for an unfinished run, its checkpoints too."""
        now = _model_mtimes(self.folder)
        relevant = [name for name in now | self.mtimes_before if not (was_finished and name.endswith(".ckpt"))]
        return all(now.get(name) == self.mtimes_before.get(name) for name in relevant)

    def start(self) -> None:
        """Write config.yaml and environment.json; remove what only a finished run has, because this one isn't."""
        for name in (METRICS, DIGESTS):
            (self.folder / name).unlink(missing_ok=True)
        for partial in self.folder.rglob("*.part"):  # of a write that was cut off
            if partial.is_file():
                partial.unlink()
        (self.folder / "figures").mkdir(exist_ok=True)
        time_so_far = {name: self.earlier[name] for name in ("wall_time_s",) if name in self.earlier}
        outputs = Path(self.cfg.paths.outputs).expanduser()
        # A resumed run, which may be untrusted, writes nothing outside its folder.
        with file_lock(outputs / NUMBERING) if self.cfg.resume is None else nullcontext():
            self.environment["number"] = self.earlier.get("number") or 1 + _last_number(outputs)
            write_json(self.folder / ENVIRONMENT, self.environment | time_so_far)
            write_text(self.folder / CONFIG, OmegaConf.to_yaml(self.cfg, resolve=True))

    def finish(self, metrics: dict[str, float]) -> None:
        """Write the metrics, which makes the run a finished one."""
        self._write_end({"state": FINISHED})
        text = to_json(without_nan(metrics))
        write_digests(self.folder, {METRICS: text})
        write_text(self.folder / METRICS, text)

    def fail(self, error: BaseException) -> None:
        """Write down how the run ended, as far as the disk allows.

        A resume that failed leaves the run as it was, finished or not, unless it has written a newer model.
        """
        state = STOPPED if isinstance(error, Interrupted | KeyboardInterrupt) else FAILED
        plain = _disk_error(error) or (str(error) if isinstance(error, InputError | Interrupted) else None)
        message = plain or f"{type(error).__name__}: {error}"
        was_finished = self.folder / METRICS in self.contents_before
        if self.contents_before and isinstance(error, Exception) and self._is_unchanged(was_finished):
            with suppress(OSError):
                for path, content in self.contents_before.items():
                    write_bytes(path, content)
            self.environment = self.earlier
        if not (was_finished and self.environment is self.earlier):
            with suppress(OSError):
                (self.folder / DIGESTS).unlink(missing_ok=True)
                self._write_end({"state": state, "words": message.splitlines()[0] if message else ""})
        with suppress(OSError), (self.folder / LOG).open("a", encoding="utf-8") as log:
            log.write(escape_controls(f"{state}: {message}\n"))

    def _write_end(self, ended: dict[str, str]) -> None:
        measured = {
            "wall_time_s": round(self.earlier.get("wall_time_s", 0.0) + time.monotonic() - self.started_s, 3),
            "peak_memory_mb": peak_memory_mb(),
        }
        write_json(self.folder / ENVIRONMENT, self.environment | measured | {"ended": ended})


@contextmanager
def _explained_errors(folder: Path, verb: str) -> Iterator[None]:
    """Turn the errors of a full or read-only disk into an InputError, and say how to resume a stopped run.

    A folder without a config is removed: there is nothing to resume in it.
    """
    try:
        yield
    except Interrupted as interrupted:
        if (folder / CONFIG).is_file():
            console.warn(f"{interrupted}; resume with `{resume_command(verb, folder)}`")
            interrupted.is_reported = True
        raise
    except Exception as error:
        if reason := _disk_error(error):
            kept = f" What was saved before is kept: make room, then resume with `{resume_command(verb, folder)}`."
            has_config = (folder / CONFIG).is_file()
            raise InputError(f"{folder} can't be written: {reason}.{kept if has_config else ''}") from error
        raise
    finally:
        if not (folder / CONFIG).is_file():
            shutil.rmtree(folder, ignore_errors=True)


def _disk_error(error: BaseException | None) -> str | None:
    """Return the disk's message if an error was caused by a disk that takes no more, else None."""
    while error is not None:
        message = next((text for text in DISK_ERRORS if text.lower() in str(error).lower()), None)
        if message:
            return message
        error = error.__cause__ or error.__context__
    return None


# --- the folder ---------------------------------------------------------------------------------------------


def _open_folder(cfg: DictConfig, fingerprint: str) -> tuple[Path, int]:
    """Return the folder of this run, locked, and the lock.

    It is the resumed run's, or one begun by an earlier try of the same sweep, or a new one.
    """
    if cfg.resume is not None:
        folder = Path(cfg.resume)
        _check_same_data(folder, fingerprint)
        return folder, lock_run(folder)
    if cfg.sweep.skip_done:
        for folder in matching_runs(cfg, fingerprint):
            with suppress(InputError):  # it may be damaged, or another process of the sweep may have locked it
                if run_state(folder)[0] in (STOPPED, KILLED):
                    lock = lock_run(folder)
                    cfg.resume = str(folder)
                    console.say(f"resuming {folder}, which was begun and not finished")
                    return folder, lock
    folder = _create_folder(cfg)
    return folder, lock_run(folder)


def _check_same_data(folder: Path, fingerprint: str) -> None:
    """Raise InputError if a run to resume learned from other data, or does not say from which.

    The config of an untrusted run may name any file of this machine. Only a file whose content its author knew may
    go into the run.
    """
    before = read_environment(folder).get("data_fingerprint")
    if before is None:
        raise InputError(
            f"{folder / ENVIRONMENT} doesn't say what data the run learned from (data_fingerprint), so it can't be "
            "resumed: start a new run."
        )
    if before != fingerprint:
        raise InputError(
            f"The data has changed since {folder} was started: resume it with the same file, or start a new run."
        )


def _create_folder(cfg: DictConfig) -> Path:
    parent = runs_parent(cfg)
    try:
        return create_folder(parent)
    except OSError as error:
        raise InputError(
            f"No run folder can be made in {parent}: {error.strerror}. Say paths.outputs=FOLDER for another place."
        ) from error


def _model_mtimes(folder: Path) -> dict[str, int]:
    """Return when each of a run's model files and checkpoints was written: name -> ns."""
    paths = [*folder.glob("model.*"), *folder.glob("*.ckpt")]
    return {path.name: path.stat().st_mtime_ns for path in paths}


def _last_number(outputs: Path) -> int:
    """Return the largest serial number of the runs so far. Unlike a time, it always grows."""
    return max((serial_number(folder) for folder in all_runs(outputs)[-1:]), default=0)
