"""Weights & Biases: offline by default."""

import secrets
from collections.abc import Mapping
from importlib import import_module
from typing import Annotated, Any, ClassVar

from ssl_cli.runs.loggers.base import EndState, Name, RunInfo, Tracker, environment


class Wandb(Tracker):
    """A run of Weights & Biases. Offline it is a folder in `outputs/wandb/`, which `wandb sync` sends on demand.

    No source code, git state or terminal output is recorded.
    """

    label: ClassVar[str] = "W&B"
    packages: ClassVar[tuple[str, ...]] = ("wandb",)
    id_pattern: ClassVar[str] = r"[0-9a-f]{16}"
    local_defaults: ClassVar[Mapping[str, Any]] = {"offline": True}

    def __init__(
        self,
        project: Annotated[Name, "project that the run is filed under"],
        entity: Annotated[Name | None, "user or team that owns the project; null: your own"],
        offline: Annotated[bool, "write to outputs/wandb only, for `wandb sync`"],
    ):
        self.project, self.entity, self.offline = project, entity, offline

    def begin(self, info: RunInfo) -> str:
        """Open the run under its id, a new random one or that of the resumed run."""
        run_id = info.resume_id or secrets.token_hex(8)
        with environment(WANDB_ERROR_REPORTING="false", WANDB_SILENT="true"):
            wandb = import_module("wandb")
            self.run = wandb.init(
                project=self.project,
                entity=self.entity,
                mode="offline" if self.offline else "online",
                id=run_id,
                resume="allow",
                name=info.name,
                dir=str(info.outputs),
                config=info.settings,
                allow_val_change=True,
                save_code=False,
                reinit="create_new",
                settings=wandb.Settings(silent=True, console="off", disable_git=True, disable_code=True),
            )
        # W&B's own step can only grow; a resumed run repeats some steps.
        self.run.define_metric("step", hidden=True)
        self.run.define_metric("*", step_metric="step")
        return run_id

    def write(self, row: Mapping[str, float], step: int) -> None:
        """Log one row with its step."""
        self.run.log(dict(row) | {"step": step})

    def end(self, state: EndState) -> None:
        """Finish the run with exit code 0 or 1."""
        self.run.finish(exit_code=0 if state == "finished" else 1)
