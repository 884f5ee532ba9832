"""The record of a checkpoint: its step, epoch and newest validation, and whether a run can resume from it.

It is in the checkpoint itself, so that it is never that of another one. A run folder may be untrusted: what is read
here is checked.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ssl_cli.errors import InputError
from ssl_cli.training import checkpoints

Validation = dict[str, float]  # `step`, and by name what was measured: val/loss and the monitored metric
BEST_VALIDATION = "best_validation"  # in the state of the callback that keeps the best weights
SUFFIX = ".ckpt"
MAX_STEP = 1 << 53  # as in a history


@dataclass(frozen=True)
class CheckpointRecord:
    """What a checkpoint says of itself.

    `validation` is the newest one before it, `kept` that of the best weights, if the training keeps those; both are
    empty if there is none. `monitor` is the name of the metric that decides which is best. `fault` says why a run can't
    resume from it, and is empty if it can; the other fields are then unknown.
    """

    path: Path
    step: int = 0
    epoch: float | None = None
    monitor: str = ""
    validation: Validation = field(default_factory=dict)
    kept: Validation = field(default_factory=dict)
    fault: str = ""

    @property
    def lower_is_better(self) -> bool:
        """Return whether the monitored value must fall: the loss must, and every other metric must rise."""
        return self.monitor.rpartition("/")[2] == "loss"


def records_of(folder: Path) -> list[CheckpointRecord]:
    """Return the records of all checkpoints of a run, those of its parts (folds, a prior) included."""
    paths = sorted(folder.rglob(f"*{SUFFIX}"), key=lambda path: (len(path.parts), path))
    return [_read(path) for path in paths if path.is_file()]


def _read(path: Path) -> CheckpointRecord:
    """Return the record of a checkpoint, with its fault if it is damaged or of an earlier version."""
    try:
        content = checkpoints.load_checked(path)
        progress = content["progress"]
        epoch, monitor = progress.get("epoch"), progress.get("monitor", "")
        if not _is_step(progress["step"]) or not isinstance(monitor, str) or not _is_number(epoch or 0):
            raise InputError(f"{path} is damaged: its record has a value of another type.")
        validation = _validation(path, progress.get("validation", {}))
        states = [state for state in content["callbacks"].values() if BEST_VALIDATION in state]
        kept = _validation(path, states[0][BEST_VALIDATION]) if states else {}
    except InputError as error:
        return CheckpointRecord(path, fault=str(error).removeprefix(f"{path} ").rstrip("."))
    except (AttributeError, TypeError) as error:
        return CheckpointRecord(path, fault=f"is damaged ({error})")
    return CheckpointRecord(path, progress["step"], epoch, monitor, validation, kept)


def _validation(path: Path, values: Any) -> Validation:
    """Return the values of a validation. Raises InputError if one is no number, or its step is no step."""
    if not isinstance(values, Mapping) or not all(isinstance(key, str) and _is_number(values[key]) for key in values):
        raise InputError(f"{path} is damaged: its record has a value that is no number.")
    if values and not _is_step(values.get("step")):
        raise InputError(f"{path} is damaged: its record has a validation of no step.")
    return dict(values)


def _is_step(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MAX_STEP


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or _is_step(value)
