"""A sweep: every combination, one after another, and one table of what came out, by what varied.

Where one of the things that varied is a number (`data.pollution=0,0.01,0.1`), a figure shows what came of it.
"""

import csv
import traceback
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from ssl_cli import console, runs
from ssl_cli.catalog import built_in_conf
from ssl_cli.config import read_yaml
from ssl_cli.errors import InputError

# Runs have folders and logs of their own: Hydra's would only stand beside them.
QUIET = ["hydra.output_subdir=null", "hydra/job_logging=none", "hydra/hydra_logging=none"]
BUG = "a bug of ours: "
FIGURE = "sweep.png"
LAST = ("run", "error")  # the columns of sweep.csv that are neither a setting nor a metric
Outcome = dict[str, str | None]  # {"run": folder or None, "error": sentence or None}


def sweep(hydra: Any, verb: str, job: Callable[[DictConfig], Outcome], lines: list[str], outputs: Path) -> int:
    """Run `job` with every combination of the overrides; returns the exit code. A failure doesn't stop the others."""

    def careful(cfg: DictConfig) -> Outcome:
        try:
            outcome = job(cfg)
        except Exception as error:
            traceback.print_exc()
            outcome = {"run": None, "error": f"{BUG}{type(error).__name__}: {error}"}
        if outcome["error"]:
            console.warn(f"this combination failed: {outcome['error']}")
        return outcome

    folder = outputs / verb / "sweeps" / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"No sweep folder can be made in {outputs}: {error.strerror}. Say paths.outputs=FOLDER."
        ) from error
    quoted = str(folder).replace("\\", "\\\\").replace("'", "\\'")
    overrides = [f"hydra.sweep.dir='{quoted}'", *QUIET, *lines]
    batches = hydra.multirun(verb, careful, overrides, with_log_configuration=False)
    outcomes = [(list(job.overrides), job.return_value) for batch in batches for job in batch]
    rows = write_table(folder, verb, outcomes)
    draw(folder / FIGURE, rows, headline(verb)[0])
    print(folder, flush=True)
    failures = [outcome["error"] for _, outcome in outcomes if outcome["error"]]
    bugs = [failure for failure in failures if failure.startswith(BUG)]
    return 1 if bugs else 2 if failures else 0


def write_table(folder: Path, verb: str, outcomes: list[tuple[list[str], Outcome]]) -> list[dict[str, Any]]:
    """`sweep.csv` with every metric; on the terminal the headline metrics, by what varied. Returns the CSV's rows."""
    rows: list[dict[str, Any]] = []
    for overrides, outcome in outcomes:
        settings = dict(word.lstrip("+").partition("=")[::2] for word in overrides)
        metrics = runs.read_metrics(Path(outcome["run"])) if outcome["run"] else {}
        rows.append(settings | metrics | {"run": outcome["run"] or "", "error": outcome["error"] or ""})
    columns = [*dict.fromkeys(name for row in rows for name in row if name not in LAST), *LAST]
    with (folder / "sweep.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)

    varied, shown = what_varied(rows), headline(verb)
    failed = ["failed because"] if any(row["error"] for row in rows) else []
    cells = []
    for row in rows:
        figures = [f"{row[name]:.4f}" if name in row else "" for name in shown]
        cells.append([*(str(row[name]) for name in varied), *figures, *([_brief(row["error"])] if failed else [])])
    title = f"{len(rows)} runs ({folder / 'sweep.csv'})"
    console.say(console.table(title, [*varied, *shown, *failed], cells, right=set(shown)))
    return rows


def headline(verb: str) -> list[str]:
    """The metrics that tables of this verb's runs show."""
    return list(read_yaml(built_in_conf() / f"{verb}.yaml").headline)


def what_varied(rows: list[dict[str, Any]]) -> list[str]:
    """The settings (texts, where metrics are numbers) that differ between rows."""
    names = dict.fromkeys(name for row in rows for name, value in row.items() if isinstance(value, str))
    return [name for name in names if name not in LAST and len({row.get(name) for row in rows}) > 1]


def draw(path: Path, rows: list[dict[str, Any]], metric: str) -> None:
    """The metric against the one number that varied over three values or more; none where there is no such number.

    A panel for each data set, a line for each combination of what else varied; means and ranges over seeds.
    """
    rows = [row for row in rows if metric in row]
    varied = [name for name in what_varied(rows) if name != "seed"]
    numbers = [
        name for name in varied if len(values := {_number(row[name]) for row in rows}) > 2 and None not in values
    ]
    if len(numbers) != 1:
        return
    (axis,) = numbers
    others = [name for name in varied if name not in (axis, "data")]
    from ssl_cli import plots  # imports matplotlib: the pages that only compose must not wait for it

    panels: plots.Panels = {}
    for row in rows:
        line = " ".join(row[name] if name == "model" else f"{name}={row[name]}" for name in others)
        points = panels.setdefault(row.get("data", ""), {}).setdefault(line, {})
        points.setdefault(float(row[axis]), []).append(row[metric])
    plots.sweep(path, panels, axis, metric)
    console.say(f"{metric} against {axis}: {path}")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _brief(text: str, longest: int = 100) -> str:
    """The first line, cut to fit a table; sweep.csv has the whole."""
    line = text.splitlines()[0] if text else ""
    return line if len(line) <= longest else line[: longest - 1] + "…"
