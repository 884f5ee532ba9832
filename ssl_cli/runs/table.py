"""The table of runs: what each ran on, how it ended and how well; filtered and sorted.

ssl list runs model=best,knn state=finished      only these; any option of a run's config can be a filter
ssl list runs --sort seconds                     or -seconds, size, state, a metric; by default by start
ssl list runs --best test/auroc                  the best first, and only runs that have the metric
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ssl_cli import console
from ssl_cli.config.choices import did_you_mean
from ssl_cli.config.instantiate import as_text
from ssl_cli.errors import InputError
from ssl_cli.runs import folder as run_folder

# Metrics of which a lower value is better. The perplexity of a codebook, the number of codes in use, is none of them.
LOWER_IS_BETTER = re.compile(r".*(loss|error|mse|mae|perplexity|nll|brier|fpr|fdr|bits_per_\w+)")
CODEBOOK_PERPLEXITY = re.compile(r".*/perplexity")
SORT_KEYS = ("started", "seconds", "size", "state", "verb", "model", "data")
DAMAGED = "damaged"
ABSENT = "(no such option)"
MAX_MESSAGE_CHARS = 200  # of a last message; log.txt has all of it


@dataclass
class RunSummary:
    """One run, as far as its folder can be read; `size` in MB."""

    folder: Path
    state: str = DAMAGED
    message: str = ""
    started: datetime | None = None
    seconds: float | None = None
    size: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)
    config: DictConfig = field(default_factory=lambda: DictConfig({}))

    @classmethod
    def read(cls, folder: Path) -> "RunSummary":
        """Return the summary of a run folder; of a damaged one, its state and what is wrong."""
        run = cls(folder)
        try:
            run.state, run.message = run_folder.run_state(folder)
            run.config, environment = run_folder.read_config(folder), run_folder.read_environment(folder)
            run.metrics = run_folder.read_metrics(folder) if run.state == run_folder.FINISHED else {}
            run.seconds = environment.get("wall_time_s")
            run.started = datetime.fromisoformat(environment["started"]) if "started" in environment else None
        except (InputError, TypeError, ValueError, AttributeError) as error:
            run.state, run.message = DAMAGED, str(error)
        run.size = sum(_size_bytes(Path(parent, name)) for parent, _, names in os.walk(folder) for name in names) / 1e6
        return run

    @property
    def verb(self) -> str:
        """The verb that made the run."""
        return self.folder.parts[-3]

    @property
    def choices(self) -> Mapping[str, str]:
        """The run's choices: config group -> name."""
        return self.config.get("choices") or {}

    def option(self, name: str) -> list[str]:
        """Return the run's values of an option: its state, choices of a group, or a config value; empty if none."""
        if name == "state":
            return [self.state]
        if name in self.choices:
            return str(self.choices[name]).split(",")
        try:
            value = OmegaConf.select(self.config, name, default=ABSENT)
        except OmegaConfBaseException:
            return []
        return [] if value is ABSENT else [as_text(value)]


def _size_bytes(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:  # a run in progress has moved it in the meantime
        return 0


def print_runs(outputs: str, filters: dict[str, str], sort: str | None, best: str | None) -> None:
    """Print the table of runs. Raises InputError if no run has the option or the metric asked for."""
    runs = [RunSummary.read(folder) for folder in run_folder.all_runs(outputs)]
    runs = [run for run in runs if run.folder.is_dir()]  # it may have been removed meanwhile
    if not runs:
        console.say(f"runs: none in {outputs} yet.")
        return
    tests = [_filter(runs, name, wanted) for name, wanted in filters.items()]
    runs = [run for run in runs if all(matches(run) for matches in tests)]
    if not runs:
        console.say(f"runs: none in {outputs} matches.")
        return
    order = "oldest first"
    if best is not None:
        runs = [run for run in runs if best in run.metrics] or _raise_unknown_metric(runs, best)
        is_lowest = all(is_lower_better(best, run.verb) for run in runs)
        runs.sort(key=lambda run: run.metrics[best], reverse=not is_lowest)
        order = f"best {best} first: the {'lowest' if is_lowest else 'highest'}"
    elif sort is not None:
        key, is_descending = _sort_key(sort, runs)
        runs.sort(key=key, reverse=is_descending)
        order = f"by {sort.removeprefix('-')}, {'descending' if is_descending else 'ascending'}"
    console.say(_table(f"runs in {outputs}, {order}", runs, best))


def is_lower_better(metric: str, verb: str) -> bool:
    """Return whether a lower value of a metric of a verb's runs is better."""
    if verb == "reconstruct" and CODEBOOK_PERPLEXITY.fullmatch(metric):
        return False
    return LOWER_IS_BETTER.fullmatch(metric) is not None


def _filter(runs: list[RunSummary], name: str, wanted: str) -> Callable[[RunSummary], bool]:
    """Return a test whether a run has one of the wanted values, separated by commas; numbers compare as numbers."""
    if not any(run.option(name) for run in runs):
        raise InputError(f"No run here has the option {name}: filter by state=, or an option such as model= or seed=.")
    values = [wanted] if wanted.startswith("[") else wanted.split(",")
    if name == "state" and (unknown := [value for value in values if value not in (*run_folder.STATES, DAMAGED)]):
        raise InputError(f"state={unknown[0]}: a run is one of {', '.join((*run_folder.STATES, DAMAGED))}.")
    return lambda run: any(_are_equal(actual, value) for actual in run.option(name) for value in values)


def _are_equal(a: str, b: str) -> bool:
    try:
        return float(a) == float(b)
    except ValueError:
        return a == b


def _raise_unknown_metric(runs: list[RunSummary], name: str) -> list[RunSummary]:
    known = _metrics(runs)
    hint = did_you_mean(name, known)
    raise InputError(f"No run here has the metric {name}.{hint} Known: {', '.join(known) or 'none'}.")


def _metrics(runs: list[RunSummary]) -> list[str]:
    """Return the names of the runs' metrics, without the ends of confidence intervals."""
    names = dict.fromkeys(name for run in runs for name in run.metrics)
    return [name for name in names if not name.endswith(("_low", "_high"))]


def _sort_key(sort: str, runs: list[RunSummary]) -> tuple[Callable[[RunSummary], Any], bool]:
    """Return the key to sort by, and whether to sort in descending order. Runs without a value come last either way."""
    name, is_descending = sort.removeprefix("-"), sort.startswith("-")
    if name not in SORT_KEYS and not any(name in run.metrics for run in runs):
        known = [*SORT_KEYS, *_metrics(runs)]
        raise InputError(f"--sort {name}: no run has it.{did_you_mean(name, known)} Sort by one of {', '.join(known)}.")

    def key(run: RunSummary) -> tuple[bool, Any]:
        own = {"started": run.started and run.started.timestamp(), "seconds": run.seconds, "size": run.size}
        value = {**own, "state": run.state, "verb": run.verb, **run.choices, **run.metrics}.get(name)
        return (value is None) != is_descending, 0 if value is None else value

    return key, is_descending


def _table(title: str, runs: list[RunSummary], metric: str | None) -> Any:
    cells = []
    for run in runs:
        shown = metric or next((name for name in run.config.get("summary_metrics") or [] if name in run.metrics), None)
        is_short = len(run.message) <= MAX_MESSAGE_CHARS
        cells.append(
            [
                str(run.folder),
                run.state,
                run.started.strftime("%Y-%m-%d %H:%M") if run.started else "",
                f"{shown} {run.metrics[shown]:.4f}" if shown in run.metrics else "",
                "" if run.seconds is None else f"{run.seconds:.1f}",
                f"{run.size:.1f}",
                run.message if is_short else run.message[: MAX_MESSAGE_CHARS - 1] + "…",
            ]
        )
    columns = ["run", "state", "started", "metric", "seconds", "MB", "last message"]
    if not any(row[-1] for row in cells):
        columns, cells = columns[:-1], [row[:-1] for row in cells]
    return console.table(title, columns, cells, right={"seconds", "MB"}, no_wrap={"run"})
