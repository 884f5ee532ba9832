"""The ends of a run's log and history, which may be long: where it was when it was killed."""

from contextlib import suppress
from pathlib import Path

TAIL_BYTES = 4096  # of a log or a history, whose last line is shown
MAX_STEP_DIGITS = 16


def last_line(path: Path) -> str:
    """Return the last line of a log; empty if there is none."""
    lines = _tail(path).strip().splitlines()
    return lines[-1] if lines else ""


def last_step(path: Path) -> str:
    """Return the step of the last whole row of a history.csv, from the end of the file; empty if there is none."""
    rows = _tail(path).rpartition("\n")[0].splitlines()
    step = rows[-1].partition(",")[0] if rows else ""
    return step if step.isdecimal() and len(step) <= MAX_STEP_DIGITS else ""


def _tail(path: Path) -> str:
    """Return the end of a text file, empty if it can't be read."""
    with suppress(OSError), path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        return file.read(TAIL_BYTES).decode("utf-8", errors="replace")
    return ""
