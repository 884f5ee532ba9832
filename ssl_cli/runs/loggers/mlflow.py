"""MLflow: a database in the outputs folder, or a server."""

import fcntl
import logging
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

from ssl_cli.config.types import Pattern
from ssl_cli.errors import InputError
from ssl_cli.files import LOCKS_UNSUPPORTED
from ssl_cli.runs.folder import IDS_FILE
from ssl_cli.runs.loggers.base import EndState, Name, RunInfo, Tracker, environment, first_line

LOCAL_STORE = "mlflow.db"  # in the outputs folder
PARAMS_BATCH = 100  # parameters that MLflow takes in one call
MAX_VALUE_CHARS = 500  # of a parameter's value: every version takes as many
FEW_RETRIES = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}  # the default waits for minutes
STATUSES: dict[EndState, str] = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}


class MLflow(Tracker):
    """A run of MLflow: in the file outputs/mlflow.db (SQLite), which all runs share, or on a server.

    It is a database because MLflow 3 rejects folders of files (`mlruns/`) unless an environment variable allows them.
    """

    label: ClassVar[str] = "MLflow"
    packages: ClassVar[tuple[str, ...]] = ("mlflow", "sqlalchemy", "alembic", "pandas")
    id_pattern: ClassVar[str] = r"[0-9a-f]{32}"
    local_defaults: ClassVar[Mapping[str, Any]] = {"tracking_uri": None}

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
        """Yield a sentence for each fault of the options: a URI that cannot be parsed, or one with a password."""
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

    def begin(self, info: RunInfo) -> str:
        """Open the run in the store and log its config as parameters."""
        is_local = self.tracking_uri is None
        uri = f"sqlite:///{info.outputs / LOCAL_STORE}" if is_local else self.tracking_uri
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_LOGGING_LEVEL": "WARNING"}
        with environment(**quiet, **FEW_RETRIES):
            self.entities = import_module("mlflow.entities")
            logging.getLogger("alembic").setLevel(logging.WARNING)
            artifacts = (info.outputs / "mlartifacts").as_uri() if is_local else None
            with _locked(info.outputs / LOCAL_STORE) if is_local else nullcontext():
                self.client = import_module("mlflow").MlflowClient(tracking_uri=uri)
                run = self._open_run(info, artifacts)
        self.id: str = run.info.run_id
        params = [
            self.entities.Param(re.sub(r"[^\w./ :-]", "_", name), str(value)[:MAX_VALUE_CHARS])
            for name, value in info.settings.items()
            if name not in run.data.params  # they can't change: a resumed run keeps those it was started with
        ]
        for first in range(0, len(params), PARAMS_BATCH):
            self.client.log_batch(self.id, params=params[first : first + PARAMS_BATCH])
        return self.id

    def _open_run(self, info: RunInfo, artifacts: str | None) -> Any:
        """Return a new run, or the resumed one; the experiment is created if it does not exist."""
        mlflow_error: type[Exception] = import_module("mlflow.exceptions").MlflowException
        if info.resume_id is not None:
            try:
                self.client.update_run(info.resume_id, status="RUNNING")
                return self.client.get_run(info.resume_id)
            except mlflow_error as error:
                raise InputError(
                    f"{info.folder / IDS_FILE} names the MLflow run {info.resume_id}, which can't be resumed: "
                    f"{first_line(error)}. Delete the file to track the run as a new one."
                ) from error
        experiment = self.client.get_experiment_by_name(self.experiment)
        if experiment is None:
            try:
                self.client.create_experiment(self.experiment, artifact_location=artifacts)
            except mlflow_error:  # another run has just created it
                time.sleep(0.1)
            experiment = self.client.get_experiment_by_name(self.experiment)
        return self.client.create_run(experiment.experiment_id, run_name=info.name, tags={"ssl.run": str(info.folder)})

    def write(self, row: Mapping[str, float], step: int) -> None:
        """Log one row of metrics in a single call."""
        now_ms = int(time.time() * 1000)
        points = [self.entities.Metric(name, value, now_ms, step) for name, value in row.items()]
        with environment(**FEW_RETRIES):
            self.client.log_batch(self.id, metrics=points)

    def end(self, state: EndState) -> None:
        """Set the run's status to FINISHED, FAILED or KILLED."""
        with environment(**FEW_RETRIES):
            self.client.set_terminated(self.id, status=STATUSES[state])


@contextmanager
def _locked(store: Path) -> Iterator[None]:
    """Hold a lock on the store: two runs that create it at the same moment would damage it for good."""
    with store.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in LOCKS_UNSUPPORTED:
                raise
        yield
