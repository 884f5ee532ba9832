"""Sweeps in tests: their tables, and small runs."""

import csv
from pathlib import Path

SMALL = ["trainer=cpu", "trainer.max_steps=40", "trainer.checkpoint_every_n_steps=10", "bootstrap_samples=20"]


def folder_of(out: str) -> Path:
    """Return the folder of a sweep from its output, whose last line it is."""
    return Path(out.strip().splitlines()[-1])


def read_rows(out: str, name: str = "sweep.csv") -> list[dict[str, str]]:
    """Return the rows of a sweep's table, given the output of the sweep."""
    with (folder_of(out) / name).open(newline="") as file:
        return list(csv.DictReader(file))


def newest_table(outputs: Path) -> list[dict[str, str]]:
    """Return the rows of the newest sweep, without the run folders, which are named after the time."""
    newest = max(outputs.glob("detect/sweeps/*"), key=lambda path: path.stat().st_mtime_ns)
    with (newest / "sweep.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if run := row.pop("run"):
            assert (outputs.parent / run / "metrics.json").is_file()
    return rows
