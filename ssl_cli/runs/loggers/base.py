"""Loggers besides history.csv: TensorBoard, Weights & Biases, MLflow. `logger=[tensorboard,mlflow]`.

Each gets the config when a run begins, a row at every validation, and the metrics at the end. Each has a file beside
this one.
"""

import json
import os
import re
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers.logger import Logger

from ssl_cli import console
from ssl_cli.config.instantiate import build, locate
from ssl_cli.config.types import Pattern
from ssl_cli.errors import InputError
from ssl_cli.files import write_json
from ssl_cli.process import is_worker
from ssl_cli.runs import folder as run_folder
from ssl_cli.runs import safety
from ssl_cli.runs.folder import IDS_FILE

NOT_SETTINGS = ("resume", "logger", "summary_metrics")  # config keys that don't say what was learned, or how
EndState = Literal["finished", "failed", "stopped"]  # stopped: by Ctrl-C or another signal
Setting = str | int | float | bool
Name = Annotated[str, Pattern(r"[^/\\#?%:\x00-\x1f]{1,128}", "a name without any of / \\ # ? % :")]


@dataclass(frozen=True)
class RunInfo:
    """What a tracker gets when a run begins."""

    folder: Path
    outputs: Path  # the folder for a store that several runs share
    name: str
    settings: dict[str, Setting]  # the config, flat: model.network.latent -> 8
    resume_id: str | None  # the run's id from before it was resumed; None for a new run


class Tracker(Logger):
    """A store that records a run's numbers. It is a Lightning logger: the module gives it the rows of history.csv.

    An error in `begin` becomes an InputError before any training. A later error ends the tracking with a warning, and
    not the run.
    """

    label: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]  # packages that it imports
    install: ClassVar[str] = "'ssl-cli[tracking]'"  # what pip installs for it
    id_pattern: ClassVar[str]  # regular expression of the ids from `begin`: a run folder may be untrusted
    # Options by the value that keeps the numbers on this machine.
    local_defaults: ClassVar[Mapping[str, Any]] = {}

    step = 0
    is_broken = False

    @abstractmethod
    def begin(self, info: RunInfo) -> str:
        """Open a new run, or resume `info.resume_id`; return its id. Raises InputError if that is not possible."""

    @abstractmethod
    def write(self, row: Mapping[str, float], step: int) -> None:
        """Record one row, name -> value, at an optimizer step."""

    @abstractmethod
    def end(self, state: EndState) -> None:
        """Close the run. Called once, also after `write` has failed."""

    def view_command(self) -> str:
        """Return the shell command that shows the run, printed at its end; empty if there is none."""
        return ""

    def finish(self, state: EndState, metrics: Mapping[str, float]) -> None:
        """Record the run's metrics, if it has any, at the last step, and close it."""
        if metrics:
            self.log_metrics({name: float(value) for name, value in metrics.items()}, self.step)
        self._try(lambda: self.end(state))

    def _try(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # a lost server or a full disk must not end the training
            if not self.is_broken:
                console.warn(f"{self.label} stopped recording this run: {first_line(error)}. history.csv has all rows.")
            self.is_broken = True

    @classmethod
    def missing_packages(cls) -> list[str]:
        """Return the packages that this logger imports and that are not installed."""
        return [package for package in cls.packages if find_spec(package) is None]

    # --- Lightning's interface of a logger ---

    @property
    def name(self) -> str:
        """The name of the store, for messages."""
        return self.label

    @property
    def version(self) -> str:
        """Empty: the store numbers its runs itself."""
        return ""

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Do nothing: `begin` gets the config."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Record one row, unless an earlier one has failed."""
        self.step = step or 0
        if not self.is_broken:
            self._try(lambda: self.write(metrics, self.step))


# --- around a run -------------------------------------------------------------------------------------------


@contextmanager
def open_trackers(cfg: DictConfig, folder: Path, metrics: Mapping[str, float]) -> Iterator[list[Tracker]]:
    """Yield the trackers that the config asks for; at the end they get the content of `metrics`, or the failure.

    Yields none in the worker processes of a distributed run: only the first process writes.
    """
    nodes = {} if is_worker() else cfg.get("logger") or {}
    ids = read_ids(folder) if cfg.resume is not None and nodes else {}
    trackers: list[Tracker] = []
    state: EndState = "failed"
    try:
        for key, node in nodes.items():
            tracker: Tracker = build(node)
            ids[key] = begin(tracker, key, cfg, folder, ids.get(key))
            trackers.append(tracker)
            write_json(folder / IDS_FILE, ids)
        yield trackers
        state = "finished"
    except BaseException as error:
        state = "failed" if isinstance(error, Exception) else "stopped"
        raise
    finally:
        for tracker in trackers:
            tracker.finish(state, metrics if state == "finished" else {})
            if state == "finished" and not tracker.is_broken and (command := tracker.view_command()):
                console.say(f"{tracker.label}: {command}")


def begin(tracker: Tracker, key: str, cfg: DictConfig, folder: Path, resume_id: str | None) -> str:
    """Begin tracking a new run, or a resumed one by its id; return the run's id in the store."""
    if resume_id is not None and not re.fullmatch(tracker.id_pattern, resume_id):
        raise InputError(f"{folder / IDS_FILE} is damaged: {resume_id!r} is no id of {tracker.label}. Delete the file.")
    name = f"{cfg.choices.model}-{cfg.choices.data} {folder.resolve().name}"
    if history := run_folder.read_history(folder / run_folder.HISTORY):
        tracker.step = int(history[-1]["step"])
    info = RunInfo(folder, outputs_folder(folder, cfg), name, flat_settings(cfg), resume_id)
    try:
        return tracker.begin(info)
    except InputError:
        raise
    except Exception as error:  # packages raise many kinds of exceptions, their own and their dependencies'
        raise InputError(f"logger={key} can't begin: {first_line(error)}.") from error


def outputs_folder(folder: Path, cfg: DictConfig) -> Path:
    """Return the folder that holds the runs, whatever path the config names; for a run moved elsewhere, its parent."""
    path = folder.resolve()
    is_in_outputs = len(path.parts) > 3 and path.parts[-3] == cfg.verb
    return path.parents[2] if is_in_outputs else path.parent


def flat_settings(cfg: DictConfig) -> dict[str, Setting]:
    """Return the config as one level of names: model.network.latent -> 8. Lists become texts, null the text null."""

    def leaves(value: Any, name: str) -> Iterator[tuple[str, Setting]]:
        if isinstance(value, dict):
            for key, inner in value.items():
                yield from leaves(inner, f"{name}.{key}" if name else str(key))
        elif isinstance(value, bool | int | float | str):
            yield name, value
        else:
            yield name, "null" if value is None else str(value)

    content = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(content, dict)
    return dict(leaves({key: value for key, value in content.items() if key not in NOT_SETTINGS}, ""))


def read_ids(folder: Path) -> dict[str, str]:
    """Return the run's id in each store; empty if it was in none. Raises InputError if the file is damaged."""
    path = folder / IDS_FILE
    if not path.is_file():
        return {}
    content = safety.read_json_object(path)
    if not all(isinstance(value, str) for value in content.values()):
        raise InputError(f"{path} is damaged: it must map loggers to ids. Delete it to track the run as a new one.")
    return content


def first_line(error: BaseException) -> str:
    """Return the type of an error and the first line of its message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0].rstrip('.')}" if lines else type(error).__name__


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Set environment variables that a package reads on import or start; those that the user has set stay as they are.

    Warnings of the package are ignored meanwhile.
    """
    before = dict(os.environ)
    os.environ.update({name: value for name, value in variables.items() if name not in before})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name in variables:
            if name not in before:
                os.environ.pop(name, None)


# --- checks on `resume=` ------------------------------------------------------------------------------------


def check_destinations(cfg: DictConfig, folder: Path, given: set[str]) -> None:
    """Raise InputError if resuming a run would send its numbers to a place that only the run folder names.

    A run folder may be untrusted, and must not decide where the data of the user who resumes it goes. The command line
    must name the place again; `given` are the options that it sets.
    """
    for key, node in (cfg.get("logger") or {}).items():
        if not isinstance(node, DictConfig) or "_target_" not in node:
            continue  # `check` reports it
        for option, value in getattr(locate(node["_target_"]), "local_defaults", {}).items():
            name = f"logger.{key}.{option}"
            if node.get(option, value) != value and name not in given:
                raise InputError(
                    f"{folder} has {name}={node[option]}, which sends its numbers elsewhere. A run folder doesn't "
                    f"decide that: set {name}={node[option]} again, or {name}={json.dumps(value)} to keep them here."
                )
