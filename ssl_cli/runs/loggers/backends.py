"""TensorBoard, Weights & Biases and MLflow, as trackers.

All of them write to this machine's disk unless the command line asks for a server. Their packages are an extra,
`pip install 'ssl-cli[tracking]'`, and are imported when a run asks for one, not before.
"""

import fcntl
import logging
import os
import re
import secrets
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

from ssl_cli.config.types import Pattern, Positive
from ssl_cli.errors import InputError
from ssl_cli.files import LOCKLESS
from ssl_cli.runs.loggers.base import IDS, Ended, RunInfo, Tracker, brief

LOCAL_STORE = "mlflow.db"  # in the folder of runs
Name = Annotated[str, Pattern(r"[^/\\#?%:\x00-\x1f]{1,128}", "a name without any of / \\ # ? % :")]


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

    def begin(self, start: RunInfo) -> str:
        self.folder = start.folder
        if start.known_as is None:
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
    """A run of Weights & Biases. Offline it is a folder in `outputs/wandb/` that `wandb sync` sends when you say so.

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
        offline: Annotated[bool, "write to outputs/wandb only, for `wandb sync`"],
    ):
        self.project, self.entity, self.offline = project, entity, offline

    def begin(self, start: RunInfo) -> str:
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
                dir=str(start.outputs),
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
    patience: ClassVar[dict[str, str]] = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}  # its own is minutes
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
        try:
            password = urlsplit(options.get("tracking_uri") or "").password
        except ValueError as error:
            yield f"tracking_uri={options['tracking_uri']} is no URI: {error}."
            return
        if password:
            yield (
                "tracking_uri has a password in it, which would be written to config.yaml: leave it out, and set the "
                "variables MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."
            )

    def begin(self, start: RunInfo) -> str:
        local = self.tracking_uri is None
        uri = f"sqlite:///{start.outputs / LOCAL_STORE}" if local else self.tracking_uri
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_LOGGING_LEVEL": "WARNING"}
        with _environment(**quiet, **self.patience):
            self.entities = import_module("mlflow.entities")
            logging.getLogger("alembic").setLevel(logging.WARNING)
            artifacts = (start.outputs / "mlartifacts").as_uri() if local else None
            with _alone(start.outputs / LOCAL_STORE) if local else nullcontext():
                self.client = import_module("mlflow").MlflowClient(tracking_uri=uri)
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

    def _run(self, start: RunInfo, artifacts: str | None) -> Any:
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
        with _environment(**self.patience):
            self.client.log_batch(self.id, metrics=points)

    def end(self, how: Ended) -> None:
        with _environment(**self.patience):
            self.client.set_terminated(self.id, status=self.statuses[how])


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


@contextmanager
def _alone(store: Path) -> Iterator[None]:
    """Two runs that make the same store at the same moment would break it for good."""
    with store.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in LOCKLESS:
                raise
        yield
