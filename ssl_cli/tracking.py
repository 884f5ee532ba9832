"""Loggers beside history.csv: TensorBoard, Weights & Biases, MLflow. `logger=[tensorboard,mlflow]`.

Each gets the config when a run begins, a row at every validation, and the metrics at the end. All of them write to
this machine's disk unless the command line asks for a server. Their packages are an extra,
`pip install 'ssl-cli[tracking]'`, and are imported when a run asks for one, not before.
"""

import json
import logging
import os
import re
import secrets
import time
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers.logger import Logger

from ssl_cli import console, runs
from ssl_cli.bounds import Pattern, Positive
from ssl_cli.config import build
from ssl_cli.errors import InputError

IDS = "tracking.json"  # in the run folder: what the run is called in each store, so that a resumed run goes on there
LOCAL_STORE = "mlflow.db"  # in paths.outputs
NO_SETTINGS = ("resume", "logger", "headline")  # of a config: they don't say what was learned, or how
Ended = Literal["finished", "failed", "stopped"]  # stopped: by Ctrl-C or a signal
Setting = str | int | float | bool
Name = Annotated[str, Pattern(r"[^/\\#?%:\x00-\x1f]{1,128}", "a name without any of / \\ # ? % :")]


@dataclass(frozen=True)
class Start:
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
    def begin(self, start: Start) -> str:
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
    nodes = {} if runs.is_worker() else cfg.get("logger") or {}
    ids = read_ids(folder) if cfg.resume is not None and nodes else {}
    trackers: list[Tracker] = []
    ended: Ended = "failed"
    try:
        for key, node in nodes.items():
            tracker: Tracker = build(node)
            ids[key] = begin(tracker, key, cfg, folder, ids.get(key))
            trackers.append(tracker)
            runs.write_json(folder / IDS, ids)
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
    if earlier := runs.read_history(folder / runs.HISTORY):
        tracker.step = int(earlier[-1]["step"])
    start = Start(folder, outputs_of(folder, cfg), name, flat_settings(cfg), known_as)
    try:
        return tracker.begin(start)
    except InputError:
        raise
    except Exception as error:  # each package has its own kinds, and those of what it stands on
        raise InputError(f"logger={key} can't begin: {brief(error)}.") from error


def outputs_of(folder: Path, cfg: DictConfig) -> Path:
    """The folder that holds the runs. Of a run folder that lies elsewhere, the folder itself: what is written when it
    is resumed stays in there, whatever path its config names.
    """
    place = folder.resolve()
    in_its_place = len(place.parts) > 3 and place.parts[-3] == cfg.verb
    return place.parents[2] if in_its_place else place


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
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is damaged: {error}. Delete it to track the run anew.") from error
    if not isinstance(content, dict) or not all(isinstance(value, str) for value in content.values()):
        raise InputError(f"{path} is damaged: it must map loggers to ids. Delete it to track the run anew.")
    return content


def brief(error: BaseException) -> str:
    """The first line of what a package says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0].rstrip('.')}" if lines else type(error).__name__


# --- what `check` and `resume=` ask -------------------------------------------------------------------------


def faults(name: str, target: Any) -> Iterator[str]:
    """What is wrong with the class of `logger.NAME`, before it is built."""
    if not (isinstance(target, type) and issubclass(target, Tracker)):
        yield f"logger.{name}._target_ must name a class made from ssl_cli.tracking.Tracker."
        return
    missing = [package for package in target.packages if find_spec(package) is None]
    if missing:
        several = "packages" if len(missing) > 1 else "package"
        yield f"logger={name} needs the {several} {' and '.join(missing)}: pip install 'ssl-cli[tracking]'"


def refuse_unasked_places(cfg: DictConfig, folder: Path, given: set[str]) -> None:
    """Raise InputError where resuming a run would send its numbers to a place that only the run folder names.

    A run folder may come from a stranger, and its config must not say where the data of whoever resumes it goes. The
    command line must say it again; `given` are the options that it gives.
    """
    from ssl_cli.checking import locate

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


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Variables that a package reads as it is imported or begins, set for that long; the user's own stay."""
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


# --- the three ----------------------------------------------------------------------------------------------


class TensorBoard(Tracker):
    """Event files in the run folder itself, so that `tensorboard --logdir outputs` calls runs by their folders.

    A resumed run adds a file, which tells TensorBoard to forget what the ones before it hold from its first step on.
    """

    label: ClassVar[str] = "TensorBoard"
    packages: ClassVar[tuple[str, ...]] = ("tensorboard",)
    id_pattern: ClassVar[str] = r"\."

    def __init__(self, flush_every_s: Annotated[Positive, "seconds a number may wait before it is in the file"]):
        self.flush_every_s = flush_every_s
        self.writer: Any = None

    def begin(self, start: Start) -> str:
        self.folder, self.is_resumed = start.folder, start.known_as is not None
        if not self.is_resumed:
            from torch.utils.tensorboard.summary import hparams

            self._open(None)
            _, session_start, _ = hparams(start.settings, {})
            self.writer.file_writer.add_summary(session_start)
            lines = "\n".join(f"    {name}: {value}" for name, value in start.settings.items())  # Markdown for code
            self.writer.add_text("config", lines, 0)
            self.writer.flush()
        return "."

    def _open(self, forget_from_step: int | None) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(self.folder, purge_step=forget_from_step, flush_secs=self.flush_every_s)

    def write(self, row: Mapping[str, float], step: int) -> None:
        if self.writer is None:
            self._open(step)
        for name, value in row.items():
            self.writer.add_scalar(name, value, step)

    def finish(self, how: Ended, metrics: Mapping[str, float]) -> None:
        if self.writer is None:  # resumed, with no step left to take: nothing to forget
            self._carefully(lambda: self._open(None))
        super().finish(how, metrics)

    def end(self, how: Ended) -> None:
        from tensorboard.compat.proto import summary_pb2
        from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

        status = api_pb2.STATUS_SUCCESS if how == "finished" else api_pb2.STATUS_FAILURE
        session_end = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=time.time())
        described = metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(session_end_info=session_end))
        value = summary_pb2.Summary.Value(tag=metadata.SESSION_END_INFO_TAG, metadata=described)
        self.writer.file_writer.add_summary(summary_pb2.Summary(value=[value]))
        self.writer.close()


class Wandb(Tracker):
    """A run of Weights & Biases. Offline it is a folder in `RUN/wandb/` that `wandb sync` sends when you say so.

    No source code, git state or terminal output is recorded.
    """

    label: ClassVar[str] = "W&B"
    packages: ClassVar[tuple[str, ...]] = ("wandb",)
    id_pattern: ClassVar[str] = r"[0-9a-f]{16}"
    stays_here: ClassVar[Mapping[str, Any]] = {"offline": True}

    def __init__(
        self,
        project: Annotated[Name, "project that the run is filed under"],
        entity: Annotated[Name | None, "user or team that owns the project; null: your own"],
        offline: Annotated[bool, "write to the run folder only, for `wandb sync`"],
    ):
        self.project, self.entity, self.offline = project, entity, offline

    def begin(self, start: Start) -> str:
        name = start.known_as or secrets.token_hex(8)
        with _environment(WANDB_ERROR_REPORTING="false", WANDB_SILENT="true"):
            wandb = import_module("wandb")
            self.run = wandb.init(
                project=self.project,
                entity=self.entity,
                mode="offline" if self.offline else "online",
                id=name,
                resume="allow",
                name=start.name,
                dir=str(start.folder),
                config=start.settings,
                allow_val_change=True,
                save_code=False,
                reinit="create_new",
                settings=wandb.Settings(silent=True, console="off", disable_git=True, disable_code=True),
            )
        # Its own steps only grow; a resumed run goes over some a second time.
        self.run.define_metric("step", hidden=True)
        self.run.define_metric("*", step_metric="step")
        return name

    def write(self, row: Mapping[str, float], step: int) -> None:
        self.run.log(dict(row) | {"step": step})

    def end(self, how: Ended) -> None:
        self.run.finish(exit_code=0 if how == "finished" else 1)


class MLflow(Tracker):
    """A run of MLflow: in the file outputs/mlflow.db (SQLite), which all runs share, or on a server.

    A database, because MLflow 3 refuses folders of files (`mlruns/`) unless a variable of the environment allows them.
    """

    label: ClassVar[str] = "MLflow"
    packages: ClassVar[tuple[str, ...]] = ("mlflow", "sqlalchemy", "alembic", "pandas")
    id_pattern: ClassVar[str] = r"[0-9a-f]{32}"
    stays_here: ClassVar[Mapping[str, Any]] = {"tracking_uri": None}
    batch: ClassVar[int] = 100  # parameters that MLflow takes in one call
    longest: ClassVar[int] = 500  # characters of a parameter's value that every version takes
    statuses: ClassVar[dict[Ended, str]] = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}

    def __init__(
        self,
        experiment: Annotated[Name, "experiment that the run is filed under"],
        tracking_uri: Annotated[
            Annotated[str, Pattern(r"(https?|sqlite|postgresql|mysql)(\+\w+)?://.+", "a URI such as http://host:5000")]
            | None,
            "the server, or a database; null: outputs/mlflow.db",
        ],
    ):
        self.experiment, self.tracking_uri = experiment, tracking_uri

    @staticmethod
    def option_faults(options: Mapping[str, Any]) -> Iterator[str]:
        if options.get("tracking_uri") and urlsplit(options["tracking_uri"]).password:
            yield (
                "tracking_uri has a password in it, which would be written to config.yaml: leave it out, and set the "
                "variables MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."
            )

    def begin(self, start: Start) -> str:
        local = self.tracking_uri is None
        uri = f"sqlite:///{start.outputs / LOCAL_STORE}" if local else self.tracking_uri
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_LOGGING_LEVEL": "WARNING"}
        # Its own patience with a server that doesn't answer is minutes.
        with _environment(**quiet, MLFLOW_HTTP_REQUEST_MAX_RETRIES="2"):
            self.entities = import_module("mlflow.entities")
            logging.getLogger("alembic").setLevel(logging.WARNING)
            self.client = import_module("mlflow").MlflowClient(tracking_uri=uri)
            artifacts = (start.outputs / "mlartifacts").as_uri() if local else None
            run = self._run(start, artifacts)
        self.id: str = run.info.run_id
        there = run.data.params
        new = [
            self.entities.Param(re.sub(r"[^\w./ :-]", "_", name), str(value)[: self.longest])
            for name, value in start.settings.items()
            if name not in there  # MLflow's parameters can't change: a resumed run keeps those it was started with
        ]
        for first in range(0, len(new), self.batch):
            self.client.log_batch(self.id, params=new[first : first + self.batch])
        return self.id

    def _run(self, start: Start, artifacts: str | None) -> Any:
        """The run, new or as it was left; an experiment of that name is made where there is none."""
        from_mlflow: type[Exception] = import_module("mlflow.exceptions").MlflowException
        if start.known_as is not None:
            try:
                self.client.update_run(start.known_as, status="RUNNING")
                return self.client.get_run(start.known_as)
            except from_mlflow as error:
                raise InputError(
                    f"{start.folder / IDS} names the MLflow run {start.known_as}, which can't be gone on with: "
                    f"{brief(error)}. Delete the file to track the run anew."
                ) from error
        found = self.client.get_experiment_by_name(self.experiment)
        if found is None:
            try:
                self.client.create_experiment(self.experiment, artifact_location=artifacts)
            except from_mlflow:  # another run has made it just now
                time.sleep(0.1)
            found = self.client.get_experiment_by_name(self.experiment)
        return self.client.create_run(found.experiment_id, run_name=start.name, tags={"ssl.run": str(start.folder)})

    def write(self, row: Mapping[str, float], step: int) -> None:
        now_ms = int(time.time() * 1000)
        points = [self.entities.Metric(name, value, now_ms, step) for name, value in row.items()]
        self.client.log_batch(self.id, metrics=points)

    def end(self, how: Ended) -> None:
        self.client.set_terminated(self.id, status=self.statuses[how])
