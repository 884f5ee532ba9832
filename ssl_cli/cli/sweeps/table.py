"""What came out of a sweep, as tables: each run by what varied, and what is left of them over the seeds."""

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
from ssl_cli.files import write_csv, write_json
from ssl_cli.runs.table import less_is_better

TABLE, SEEDS, OUTCOME = "sweep.csv", "seeds.csv", "outcome.json"
LAST = ("run", "error")  # the columns of sweep.csv that are neither a setting nor a metric
SEED = "seed"
SUMMARY = ("metric", "n", "failed", "mean", "std", "median", "best")  # of the seeds
Row = dict[str, Any]


@dataclass
class Outcome:
    """What came out of one combination. `run` and `error` are empty where there is none."""

    settings: dict[str, str]
    metrics: dict[str, float]
    run: str
    error: str
    summary_metrics: list[str]

    def write(self, folder: Path) -> None:
        write_json(folder / OUTCOME, asdict(self))

    def row(self) -> Row:
        return self.settings | self.metrics | {"run": self.run, "error": self.error}


def read_outcomes(folder: Path) -> list[Outcome]:
    """What has been done of a sweep so far, in the order of its combinations."""
    paths = sorted(folder.glob(f"*/{OUTCOME}"), key=lambda path: int(path.parent.name))
    return [Outcome(**json.loads(path.read_text(encoding="utf-8"))) for path in paths]


def what_varied(outcomes: Iterable[Outcome], but: tuple[str, ...] = ()) -> list[str]:
    """The settings that differ between combinations."""
    settings = [outcome.settings for outcome in outcomes]
    names = dict.fromkeys(chain.from_iterable(settings))
    return [name for name in names if name not in but and len({one.get(name) for one in settings}) > 1]


def alike(outcomes: Iterable[Outcome], names: list[str]) -> dict[tuple[str, ...], list[Outcome]]:
    """The outcomes that share what they set of these, by that."""
    groups: dict[tuple[str, ...], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(tuple(outcome.settings.get(name, "") for name in names), []).append(outcome)
    return groups


# --- every run ----------------------------------------------------------------------------------------------


def write_table(folder: Path) -> list[Outcome]:
    """`sweep.csv`, with every metric. Returns what it shows."""
    outcomes = read_outcomes(folder)
    rows = [outcome.row() for outcome in outcomes]
    columns = [*dict.fromkeys(name for row in rows for name in row if name not in LAST), *LAST]
    write_csv(folder / TABLE, columns, rows)
    return outcomes


def show(folder: Path, verb: str) -> list[Outcome]:
    """The summary_metrics metrics on the terminal, by what varied. Returns what the table shows."""
    outcomes = write_table(folder)
    varied, shown = what_varied(outcomes), summary_metrics(outcomes, verb)
    failed = ["failed because"] if any(outcome.error for outcome in outcomes) else []
    cells = []
    for outcome in outcomes:
        figures = [f"{outcome.metrics[name]:.4f}" if name in outcome.metrics else "" for name in shown]
        settings = [outcome.settings.get(name, "") for name in varied]
        cells.append([*settings, *figures, *([_brief(outcome.error)] if failed else [])])
    title = f"{len(outcomes)} run{'s' if len(outcomes) != 1 else ''} ({folder / TABLE})"
    console.say(console.table(title, [*varied, *shown, *failed], cells, right=set(shown)))
    return outcomes


def summary_metrics(outcomes: list[Outcome], verb: str) -> list[str]:
    """The metrics that the table shows: those that the combinations' configs name, else the verb's own.

    A metric that no run has is shown only where none has any: tasks of one verb have metrics of their own.
    """
    named = list(dict.fromkeys(name for outcome in outcomes for name in outcome.summary_metrics))
    named = named or list(read_yaml(built_in_conf() / f"{verb}.yaml").summary_metrics)
    return [name for name in named if any(name in outcome.metrics for outcome in outcomes)] or named


def _brief(text: str, longest: int = 100) -> str:
    """The first line, cut to fit a table; sweep.csv has the whole."""
    line = text.splitlines()[0] if text else ""
    return line if len(line) <= longest else line[: longest - 1] + "…"


# --- over the seeds -----------------------------------------------------------------------------------------


def show_seeds(folder: Path, verb: str, outcomes: list[Outcome]) -> None:
    """`seeds.csv` and the same on the terminal, where seeds varied: a row for each metric of each combination of what
    else varied, as the field reports GLUE's small tasks. Failed runs are counted, and left out of the figures."""
    if SEED not in what_varied(outcomes):
        return
    others = what_varied(outcomes, but=(SEED,))
    rows: list[Row] = []
    for key, group in alike(outcomes, others).items():
        rows += [dict(zip(others, key, strict=True)) | summary for summary in _summaries(group, verb)]
    columns = [*others, *SUMMARY]
    write_csv(folder / SEEDS, columns, rows)
    cells = [[_cell(row.get(name, "")) for name in columns] for row in rows]
    console.say(console.table(f"over the seeds ({folder / SEEDS})", columns, cells, right=set(SUMMARY[1:])))


def _summaries(group: list[Outcome], verb: str) -> list[Row]:
    """One for each summary_metrics metric that any of the runs has; one without figures where all have failed."""
    failed = sum(bool(outcome.error) for outcome in group)
    finished = [outcome for outcome in group if not outcome.error]
    summaries = []
    for name in summary_metrics(finished, verb):
        values = [outcome.metrics[name] for outcome in finished if name in outcome.metrics]
        if values and not name.startswith("train/"):  # how fast it ran is no score
            summaries.append({"metric": name, "n": len(values), "failed": failed} | _summary(values, name, verb))
    return summaries or [{"n": 0, "failed": failed}]


def _summary(values: list[float], name: str, verb: str) -> Row:
    """`std` is that of a sample (n - 1)."""
    best = min(values) if less_is_better(name, verb) else max(values)
    spread = {"std": stdev(values)} if len(values) > 1 else {}
    return {"mean": fmean(values), "median": median(values), "best": best} | spread


def _cell(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
