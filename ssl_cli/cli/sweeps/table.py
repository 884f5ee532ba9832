"""Tables of a sweep: each run with the settings that varied, and a summary over the seeds."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

from ssl_cli import console
from ssl_cli.config.choices import built_in_conf
from ssl_cli.config.instantiate import read_yaml
from ssl_cli.files import write_json
from ssl_cli.runs.csv_files import write_csv
from ssl_cli.runs.table import is_lower_better

TABLE, SEEDS, OUTCOME = "sweep.csv", "seeds.csv", "outcome.json"
RESULT_COLUMNS = ("run", "error")  # of sweep.csv, the last ones: neither a setting nor a metric
SEED = "seed"
SEED_COLUMNS = ("metric", "n", "failed", "mean", "std", "median", "best")
MAX_ERROR_CHARS = 100  # in the printed table
Row = dict[str, Any]


@dataclass
class Outcome:
    """Result of one combination of a sweep. `run` is "" if there is no run folder, `error` if it did not fail."""

    settings: dict[str, str]
    metrics: dict[str, float]
    run: str
    error: str
    summary_metrics: list[str]

    def write(self, folder: Path) -> None:
        """Write `outcome.json`."""
        write_json(folder / OUTCOME, asdict(self))

    def row(self) -> Row:
        """Return the row of sweep.csv."""
        return self.settings | self.metrics | {"run": self.run, "error": self.error}


def read_outcomes(folder: Path) -> list[Outcome]:
    """Return the outcomes of a sweep so far, in the order of its combinations."""
    paths = sorted(folder.glob(f"*/{OUTCOME}"), key=lambda path: int(path.parent.name))
    return [Outcome(**json.loads(path.read_text(encoding="utf-8"))) for path in paths]


def varied_settings(outcomes: Iterable[Outcome], exclude: tuple[str, ...] = ()) -> list[str]:
    """Return the names of the settings that differ between combinations."""
    settings = [outcome.settings for outcome in outcomes]
    names = dict.fromkeys(chain.from_iterable(settings))
    return [name for name in names if name not in exclude and len({values.get(name) for values in settings}) > 1]


def escapes_formulas(outcomes: Iterable[Outcome]) -> bool:
    """Return whether the runs escape formulas in their CSV files (`escape_formulas=true`), and so the tables do."""
    return any(outcome.settings.get("escape_formulas", "").lower() == "true" for outcome in outcomes)


def group_by_settings(outcomes: Iterable[Outcome], names: list[str]) -> dict[tuple[str, ...], list[Outcome]]:
    """Return the outcomes grouped by their values of the named settings."""
    groups: dict[tuple[str, ...], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(tuple(outcome.settings.get(name, "") for name in names), []).append(outcome)
    return groups


# --- every run ----------------------------------------------------------------------------------------------


def write_table(folder: Path) -> list[Outcome]:
    """Write `sweep.csv` with all metrics, and return its outcomes."""
    outcomes = read_outcomes(folder)
    rows = [outcome.row() for outcome in outcomes]
    columns = [*dict.fromkeys(name for row in rows for name in row if name not in RESULT_COLUMNS), *RESULT_COLUMNS]
    write_csv(folder / TABLE, columns, rows, escapes_formulas(outcomes))
    return outcomes


def show_table(folder: Path, verb: str) -> list[Outcome]:
    """Write `sweep.csv` and print its summary metrics and the settings that varied; returns its outcomes."""
    outcomes = write_table(folder)
    varied, shown = varied_settings(outcomes), summary_metrics(outcomes, verb)
    failed = ["failed because"] if any(outcome.error for outcome in outcomes) else []
    cells = []
    for outcome in outcomes:
        values = [f"{outcome.metrics[name]:.4f}" if name in outcome.metrics else "" for name in shown]
        settings = [outcome.settings.get(name, "") for name in varied]
        cells.append([*settings, *values, *([_first_line(outcome.error)] if failed else [])])
    title = f"{len(outcomes)} run{'s' if len(outcomes) != 1 else ''} ({folder / TABLE})"
    console.say(console.table(title, [*varied, *shown, *failed], cells, right=set(shown)))
    return outcomes


def summary_metrics(outcomes: list[Outcome], verb: str) -> list[str]:
    """Return the metrics that the table shows: those that the combinations' configs name, or the verb's defaults.

    Metrics that no run has are left out, because the tasks of one verb have different ones; if no run has any metric,
    all names are returned.
    """
    named = list(dict.fromkeys(name for outcome in outcomes for name in outcome.summary_metrics))
    named = named or list(read_yaml(built_in_conf() / f"{verb}.yaml").summary_metrics)
    return [name for name in named if any(name in outcome.metrics for outcome in outcomes)] or named


def _first_line(text: str) -> str:
    """Return the first line of a text, cut to fit a table; sweep.csv has the whole text."""
    line = text.splitlines()[0] if text else ""
    return line if len(line) <= MAX_ERROR_CHARS else line[: MAX_ERROR_CHARS - 1] + "…"


# --- over the seeds -----------------------------------------------------------------------------------------


def show_seed_summary(folder: Path, verb: str, outcomes: list[Outcome]) -> None:
    """Write and print `seeds.csv`, if seeds varied: statistics over the seeds, as papers report GLUE's small tasks.

    There is a row for each metric of each combination of the other settings that varied. Failed runs are counted, and
    left out of the statistics.
    """
    if SEED not in varied_settings(outcomes):
        return
    others = varied_settings(outcomes, exclude=(SEED,))
    rows: list[Row] = []
    for key, group in group_by_settings(outcomes, others).items():
        rows += [dict(zip(others, key, strict=True)) | summary for summary in _summaries(group, verb)]
    columns = [*others, *SEED_COLUMNS]
    write_csv(folder / SEEDS, columns, rows, escapes_formulas(outcomes))
    cells = [[_cell(row.get(name, "")) for name in columns] for row in rows]
    console.say(console.table(f"over the seeds ({folder / SEEDS})", columns, cells, right=set(SEED_COLUMNS[1:])))


def _summaries(group: list[Outcome], verb: str) -> list[Row]:
    """Return a row for each summary metric that any of the runs has; one row without statistics if all have failed."""
    failed = sum(bool(outcome.error) for outcome in group)
    finished = [outcome for outcome in group if not outcome.error]
    summaries = []
    for name in summary_metrics(finished, verb):
        values = [outcome.metrics[name] for outcome in finished if name in outcome.metrics]
        if values and not name.startswith("train/"):  # throughput is not a score
            summaries.append({"metric": name, "n": len(values), "failed": failed} | _summary(values, name, verb))
    return summaries or [{"n": 0, "failed": failed}]


def _summary(values: list[float], name: str, verb: str) -> Row:
    """Return the statistics of a metric over seeds; `std` is that of a sample (n - 1)."""
    best = min(values) if is_lower_better(name, verb) else max(values)
    spread = {"std": stdev(values)} if len(values) > 1 else {}
    return {"mean": fmean(values), "median": median(values), "best": best} | spread


def _cell(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
