"""The table of a run's checkpoints: step, epoch, validation, which one is best, and whether the run can resume from it.

ssl list checkpoints run=RUN
"""

from pathlib import Path

from ssl_cli import console
from ssl_cli.commands.finished import WEIGHTS
from ssl_cli.runs import folder as run_folder
from ssl_cli.training import checkpoints
from ssl_cli.training.checkpoint_record import CheckpointRecord, Validation, records_of

NAMES = {checkpoints.LAST: "last", checkpoints.PREVIOUS: "the one before"}
IN_USE = "used by ssl"  # by score, predict, ...


def print_checkpoints(run: str, outputs: str) -> None:
    """Print the table of a run's checkpoints. Raises InputError if there is no such run."""
    folder = run_folder.find_run(run, outputs)
    run_folder.read_config(folder)  # which checks that the folder is safe to read
    records = records_of(folder)
    if not records:
        console.say(f"checkpoints: none in {folder}: its model was fitted in one go, or it ended before the first.")
        return
    measured = list(dict.fromkeys(name for record in records for name in record.validation if name != "step"))
    rows = []
    for parent in dict.fromkeys(record.path.parent for record in records):  # one training each
        rows += _rows(folder, [record for record in records if record.path.parent == parent], measured)
    columns = ["file", "step", "epoch", *measured, "validated at", "MB", "which", "resume"]
    right = {"step", "epoch", *measured, "validated at", "MB"}
    console.say(console.table(f"checkpoints of {folder}", columns, rows, right=right, no_wrap={"file"}))


def _rows(folder: Path, group: list[CheckpointRecord], measured: list[str]) -> list[list[str]]:
    """Return the rows of the checkpoints of one training, and of the weights that were kept of it."""
    newest = group[0]
    weights = newest.path.with_name(WEIGHTS)
    best = _best(group)
    rows = []
    for record in group:
        which = [NAMES.get(record.path.name, "")] + (["best"] if best and record.validation == best else [])
        at = [f"{record.step:,}", "" if record.epoch is None else f"{record.epoch:.2f}"]
        shown = ["", ""] if record.fault else at
        cells = [*shown, *_cells(record.validation, measured), _megabytes(record.path), ", ".join(which)]
        rows.append([str(record.path.relative_to(folder)), *cells, f"no: {record.fault}" if record.fault else "yes"])
    if weights.is_file() and not newest.fault:
        kept = newest.kept or newest.validation
        step = int(kept["step"]) if newest.kept else newest.step
        epoch = "" if not newest.epoch or not newest.step else f"{newest.epoch * step / newest.step:.2f}"
        which = [IN_USE] + (["best"] if best and kept == best else [])
        cells = [f"{step:,}", epoch, *_cells(kept, measured), _megabytes(weights), ", ".join(which)]
        rows.append([WEIGHTS, *cells, "no: weights only"])
    return rows


def _best(group: list[CheckpointRecord]) -> Validation:
    """Return the validation of the weights that the training keeps, or else the best of its checkpoints; maybe none."""
    newest = group[0]
    measured = [record.validation for record in group if newest.monitor in record.validation]
    if newest.kept or not measured:
        return newest.kept
    return (min if newest.lower_is_better else max)(measured, key=lambda validation: validation[newest.monitor])


def _cells(validation: Validation, measured: list[str]) -> list[str]:
    """Return a validation's values, and its step."""
    values = [f"{validation[name]:.4g}" if name in validation else "" for name in measured]
    return [*values, f"step {int(validation['step']):,}" if "step" in validation else ""]


def _megabytes(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.1f}"
