"""A run's record: its folder made, locked and filled, its end written down, however it ends."""

import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ssl_cli import console
from ssl_cli.errors import InputError
from ssl_cli.files import write_json, write_text
from ssl_cli.process import Interrupted, is_worker
from ssl_cli.runs.duplicates import config_hash, matching_runs
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
    go_on,
    hold,
    home,
    new_folder,
    number_of,
    read_environment,
    standing,
)

PACKAGES = ["ssl-cli", "torch", "pytorch-lightning", "hydra-core", "numpy", "scikit-learn", "pyarrow"]
# What a disk says that can't take any more, in the words of those libraries that pass on no number.
DISK_FAULTS = ("No space left on device", "Disk quota exceeded", "File too large", "Read-only file system")


@contextmanager
def open_run_folder(cfg: DictConfig, fingerprint: str) -> Iterator[tuple[Path, dict[str, float]]]:
    """The folder of this run, new or resumed, with its log open, and an empty dict to put its metrics into.

    At the end the metrics are written: a run that broke has none, and its environment.json says how it ended. Raises
    InputError where the data of a resumed run has changed since, or another process is at work on it.
    """
    if is_worker():
        with tempfile.TemporaryDirectory() as nowhere:
            yield Path(nowhere if cfg.resume is None else cfg.resume), {}
        return
    with ExitStack() as on_leaving:
        folder, held = _folder(cfg, fingerprint)
        on_leaving.callback(os.close, held)
        on_leaving.enter_context(_said_in_words(folder, cfg.verb))
        record = RunRecord(cfg, fingerprint, folder)
        try:
            record.begin()
            with console.logging_to(folder / LOG):
                console.note(f"$ {' '.join(sys.argv)}")
                metrics: dict[str, float] = {}
                yield folder, metrics
                record.finish(metrics)
        except BaseException as error:
            record.broke(error)
            raise


class RunRecord:
    """What a run folder says of the run itself, at its start and at its end."""

    def __init__(self, cfg: DictConfig, fingerprint: str, folder: Path):
        self.cfg, self.fingerprint, self.folder = cfg, fingerprint, folder
        self.started = time.monotonic()
        files = (folder / METRICS, folder / CONFIG, folder / ENVIRONMENT)
        self.before = {path: path.read_bytes() for path in files if path.is_file()}
        self.stamps = _stamps(folder)
        self.earlier = earlier = read_environment(folder)
        self.environment = _environment(cfg) | {
            "number": earlier.get("number") or 1 + _last_number(Path(cfg.paths.outputs)),
            "started": earlier.get("started") or datetime.now().astimezone().isoformat(timespec="seconds"),
            "data_fingerprint": fingerprint,
            "config_hash": self._hash(),
        }

    def _hash(self) -> str | None:
        """A run that went on otherwise than it began is nobody's twin, though its last config be the same."""
        now = config_hash(self.cfg, self.fingerprint)
        return None if self.earlier.get("config_hash", now) != now else now

    def _is_untouched(self, was_finished: bool) -> bool:
        """Whether the run's model is what it was; of a run without one, its checkpoint."""
        now = _stamps(self.folder)
        looked_at = [name for name in now | self.stamps if not (was_finished and name.endswith(".ckpt"))]
        return all(now.get(name) == self.stamps.get(name) for name in looked_at)

    def begin(self) -> None:
        # A run being resumed is unfinished again, until it is finished again.
        (self.folder / METRICS).unlink(missing_ok=True)
        for partial in self.folder.glob("*.part"):  # of a write that a kill cut off
            partial.unlink()
        (self.folder / "figures").mkdir(exist_ok=True)
        gone_s = {name: self.earlier[name] for name in ("wall_time_s",) if name in self.earlier}
        write_json(self.folder / ENVIRONMENT, self.environment | gone_s)
        write_text(self.folder / CONFIG, OmegaConf.to_yaml(self.cfg, resolve=True))

    def finish(self, metrics: dict[str, float]) -> None:
        self._write_end({"state": FINISHED})
        write_json(self.folder / METRICS, {name: float(value) for name, value in metrics.items()})

    def broke(self, error: BaseException) -> None:
        """Write down how, as far as the disk lets us."""
        state = STOPPED if isinstance(error, Interrupted | KeyboardInterrupt) else FAILED
        plain = _disk_fault(error) or (str(error) if isinstance(error, InputError | Interrupted) else None)
        words = plain or f"{type(error).__name__}: {error}"
        # A resume that failed leaves the run as it was, finished or not, unless it has got further.
        was_finished = self.folder / METRICS in self.before
        if self.before and isinstance(error, Exception) and self._is_untouched(was_finished):
            with suppress(OSError):
                for path, content in self.before.items():
                    path.write_bytes(content)
            self.environment = self.earlier
        if not (was_finished and self.environment is self.earlier):
            with suppress(OSError):
                self._write_end({"state": state, "words": words.splitlines()[0] if words else ""})
        with suppress(OSError), (self.folder / LOG).open("a", encoding="utf-8") as log:
            log.write(console.harmless(f"{state}: {words}\n"))

    def _write_end(self, ended: dict[str, str]) -> None:
        measured = {
            "wall_time_s": round(self.earlier.get("wall_time_s", 0.0) + time.monotonic() - self.started, 3),
            "peak_memory_mb": _peak_memory_mb(),
        }
        write_json(self.folder / ENVIRONMENT, self.environment | measured | {"ended": ended})


@contextmanager
def _said_in_words(folder: Path, verb: str) -> Iterator[None]:
    """A full or read-only disk is nobody's bug, and a stopped run says how to go on."""
    try:
        yield
    except Interrupted as stop:
        if (folder / CONFIG).is_file():
            console.warn(f"{stop}; go on with `{go_on(verb, folder)}`")
            stop.is_reported = True
        raise
    except Exception as error:
        if fault := _disk_fault(error):
            kept = f" What was saved before is kept: make room, then go on with `{go_on(verb, folder)}`."
            has_begun = (folder / CONFIG).is_file()
            raise InputError(f"{folder} can't be written: {fault}.{kept if has_begun else ''}") from error
        raise
    finally:
        if not (folder / CONFIG).is_file():
            shutil.rmtree(folder, ignore_errors=True)  # hardly made: there is nothing to go on with


def _disk_fault(error: BaseException | None) -> str | None:
    """What the disk said, where an error comes of its not taking any more."""
    while error is not None:
        if found := next((fault for fault in DISK_FAULTS if fault.lower() in str(error).lower()), None):
            return found
        error = error.__cause__ or error.__context__
    return None


# --- the folder ---------------------------------------------------------------------------------------------


def _folder(cfg: DictConfig, fingerprint: str) -> tuple[Path, int]:
    """The resumed run's folder, one begun by an earlier try of the same sweep, or a new one; and its lock."""
    if cfg.resume is not None:
        # A stranger's config may name any file of this machine: only one whose content he knew goes into a run.
        folder = Path(cfg.resume)
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
        return folder, hold(folder)
    if cfg.sweep.skip_done:
        for folder in matching_runs(cfg, fingerprint):
            with suppress(InputError):  # it may be damaged, or another process of the sweep be quicker
                if standing(folder)[0] in (STOPPED, KILLED):
                    held = hold(folder)
                    cfg.resume = str(folder)
                    console.say(f"going on with {folder}, which was begun and not finished")
                    return folder, held
    folder = _new_folder(cfg)
    return folder, hold(folder)


def _new_folder(cfg: DictConfig) -> Path:
    try:
        return new_folder(home(cfg))
    except OSError as error:
        raise InputError(
            f"No run folder can be made in {home(cfg)}: {error.strerror}. Say paths.outputs=FOLDER for another place."
        ) from error


def _stamps(folder: Path) -> dict[str, int]:
    """When each of a run's model files and checkpoints was written, in ns."""
    paths = [*folder.glob("model.*"), *folder.glob("*.ckpt")]
    return {path.name: path.stat().st_mtime_ns for path in paths}


def _last_number(outputs: Path) -> int:
    """The largest number among the runs so far: a newer run has a larger one, whatever the clock does."""
    return max((number_of(folder) for folder in all_runs(outputs)[-1:]), default=0)


# --- where and with what it ran -----------------------------------------------------------------------------


def _environment(cfg: DictConfig) -> dict[str, Any]:
    import torch

    cuda = torch.cuda.is_available() and cfg.trainer.accelerator != "cpu"
    return {
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name() if cuda else platform.processor() or platform.machine(),
        "cpus": os.cpu_count(),
        "git_revision": _git_revision(Path.cwd()) or _git_revision(Path(__file__).parent),
        "seed": cfg.seed,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except ModuleNotFoundError:
        return None


def _git_revision(folder: Path) -> str | None:
    """The commit checked out in `folder`, with `-dirty` where files differ from it; None outside a repository."""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def _peak_memory_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10), 1)
