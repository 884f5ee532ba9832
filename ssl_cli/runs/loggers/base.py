"""Loggers beside history.csv: TensorBoard, Weights & Biases, MLflow. `logger=[tensorboard,mlflow]`.

Each gets the config when a run begins, a row at every validation, and the metrics at the end. `trackers.py` has the
three.
"""

import json
import re
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal

from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers.logger import Logger

from ssl_cli import console
from ssl_cli.config.instantiate import build
from ssl_cli.errors import InputError
from ssl_cli.files import write_json
from ssl_cli.process import is_worker
from ssl_cli.runs import folder as run_folder
from ssl_cli.runs import safety

IDS = "tracking.json"  # in the run folder: what the run is called in each store, so that a resumed run goes on there
NO_SETTINGS = ("resume", "logger", "summary_metrics")  # of a config: they don't say what was learned, or how
Ended = Literal["finished", "failed", "stopped"]  # stopped: by Ctrl-C or a signal
Setting = str | int | float | bool


@dataclass(frozen=True)
class RunInfo:
    """What a tracker is told as a run begins."""

    folder: Path
    outputs: Path  # where a store that several runs share belongs
    name: str
    settings: dict[str, Setting]  # the config, flat: model.network.latent -> 8
    known_as: str | None  # the id that an earlier part of this run got; None in a new run


class Tracker(Logger):
    """One more place for a run's numbers. A Lightning logger, so that `Learner` tells it the rows of history.csv.

    What goes wrong in `begin` is an InputError, before any training. What goes wrong later ends the tracking with a
    warning, and not the run.
    """

    label: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]  # what it imports
    id_pattern: ClassVar[str]  # of the ids that `begin` gives: a run folder may come from a stranger
    # Options by the value that keeps the numbers on this machine, beside the run.
    stays_here: ClassVar[Mapping[str, Any]] = {}

    step = 0
    is_broken = False

    @abstractmethod
    def begin(self, start: RunInfo) -> str:
        """Open a new run, or go on with `start.known_as`; returns its id. Raises InputError where it can't be had."""

    @abstractmethod
    def write(self, row: Mapping[str, float], step: int) -> None:
        """Note one row: name -> value, at an optimizer step."""

    @abstractmethod
    def end(self, how: Ended) -> None:
        """Close the run. Called once, also where `write` has failed."""

    def finish(self, how: Ended, metrics: Mapping[str, float]) -> None:
        """Note the run's metrics, if it has any, at the last step, and close."""
        if metrics:
            self.log_metrics({name: float(value) for name, value in metrics.items()}, self.step)
        self._carefully(lambda: self.end(how))

    def _carefully(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:  # a server that is gone, a full disk: no reason to lose the training
            if not self.is_broken:
                console.warn(f"{self.label} gets no more of this run: {brief(error)}. history.csv goes on.")
            self.is_broken = True

    @classmethod
    def missing_packages(cls) -> list[str]:
        """Return the packages that this logger imports and that are not installed."""
        return [package for package in cls.packages if find_spec(package) is None]

    # --- what Lightning asks of a logger ---

    @property
    def name(self) -> str:
        return self.label

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """`begin` has them."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.step = step or 0
        if not self.is_broken:
            self._carefully(lambda: self.write(metrics, self.step))


# --- around a run -------------------------------------------------------------------------------------------


@contextmanager
def tracked(cfg: DictConfig, folder: Path, metrics: Mapping[str, float]) -> Iterator[list[Tracker]]:
    """The trackers that the config asks for; at the end they get what `metrics` then holds, or that the run failed.

    None in the worker processes of a distributed run: the first process writes for all.
    """
    nodes = {} if is_worker() else cfg.get("logger") or {}
    ids = read_ids(folder) if cfg.resume is not None and nodes else {}
    trackers: list[Tracker] = []
    ended: Ended = "failed"
    try:
        for key, node in nodes.items():
            tracker: Tracker = build(node)
            ids[key] = begin(tracker, key, cfg, folder, ids.get(key))
            trackers.append(tracker)
            write_json(folder / IDS, ids)
        yield trackers
        ended = "finished"
    except BaseException as error:
        ended = "failed" if isinstance(error, Exception) else "stopped"
        raise
    finally:
        for tracker in trackers:
            tracker.finish(ended, metrics if ended == "finished" else {})


def begin(tracker: Tracker, key: str, cfg: DictConfig, folder: Path, known_as: str | None) -> str:
    """Begin it, for a new run or one that is resumed; returns the run's id there."""
    if known_as is not None and not re.fullmatch(tracker.id_pattern, known_as):
        raise InputError(f"{folder / IDS} is damaged: {known_as!r} is no id of {tracker.label}. Delete the file.")
    name = f"{cfg.choices.model}-{cfg.choices.data} {folder.resolve().name}"
    if earlier := run_folder.read_history(folder / run_folder.HISTORY):
        tracker.step = int(earlier[-1]["step"])
    start = RunInfo(folder, outputs_of(folder, cfg), name, flat_settings(cfg), known_as)
    try:
        return tracker.begin(start)
    except InputError:
        raise
    except Exception as error:  # each package has its own kinds, and those of what it stands on
        raise InputError(f"logger={key} can't begin: {brief(error)}.") from error


def outputs_of(folder: Path, cfg: DictConfig) -> Path:
    """The folder that holds the runs, whatever path the config names; of a run folder elsewhere, where it lies."""
    place = folder.resolve()
    in_its_place = len(place.parts) > 3 and place.parts[-3] == cfg.verb
    return place.parents[2] if in_its_place else place.parent


def flat_settings(cfg: DictConfig) -> dict[str, Setting]:
    """The config as one level of names: model.network.latent -> 8. Lists become texts, null the text null."""

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
    return dict(leaves({key: value for key, value in content.items() if key not in NO_SETTINGS}, ""))


def read_ids(folder: Path) -> dict[str, str]:
    """What the run is called in each store; empty where it was in none. Raises InputError where the file is damaged."""
    path = folder / IDS
    if not path.is_file():
        return {}
    content = safety.read_object(path)
    if not all(isinstance(value, str) for value in content.values()):
        raise InputError(f"{path} is damaged: it must map loggers to ids. Delete it to track the run anew.")
    return content


def brief(error: BaseException) -> str:
    """The first line of what a package says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0].rstrip('.')}" if lines else type(error).__name__


# --- what `resume=` asks -------------------------------------------------------------------------


def refuse_unasked_places(cfg: DictConfig, folder: Path, given: set[str]) -> None:
    """Raise InputError where resuming a run would send its numbers to a place that only the run folder names.

    A run folder may come from a stranger, and its config must not say where the data of whoever resumes it goes. The
    command line must say it again; `given` are the options that it gives.
    """
    from ssl_cli.config.instantiate import locate

    for key, node in (cfg.get("logger") or {}).items():
        if not isinstance(node, DictConfig) or "_target_" not in node:
            continue  # said by `check`
        here = getattr(locate(node["_target_"]), "stays_here", {})
        for option, value in here.items():
            name = f"logger.{key}.{option}"
            if node.get(option, value) != value and name not in given:
                raise InputError(
                    f"{folder} has {name}={node[option]}, which sends its numbers elsewhere. A run folder doesn't "
                    f"decide that: say {name}={node[option]} again, or {name}={json.dumps(value)} to keep them here."
                )
