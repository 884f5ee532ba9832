"""The runs made so far, as a table: what ran, on what, how it ended, how well; filtered and sorted.

ssl list runs model=best,knn state=finished      only these; any option of a run's config can be asked for
ssl list runs --sort seconds                     or -seconds, size, state, a metric; without it, by when they started
ssl list runs --best test/auroc                  the best first, and only runs that have it
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ssl_cli import console
from ssl_cli.config.choices import nearest
from ssl_cli.config.instantiate import as_text
from ssl_cli.errors import InputError
from ssl_cli.runs import folder as run_folder

# Of these metrics less is better; of all others more. A codebook's perplexity says how much of it is used.
LESS_IS_BETTER = re.compile(r".*(loss|error|mse|mae|perplexity|nll|brier|fpr|fdr|bits_per_\w+)")
OF_A_CODEBOOK = re.compile(r".*/perplexity")
SORTS = ("started", "seconds", "size", "state", "verb", "model", "data")
DAMAGED = "damaged"
ABSENT = "(no such option)"
LONGEST = 200  # characters of last words; log.txt has them all


@dataclass
class Listed:
    """One run, as far as its folder can be read; `size` in MB."""

    folder: Path
    state: str = DAMAGED
    words: str = ""
    started: datetime | None = None
    seconds: float | None = None
    size: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)
    config: DictConfig = field(default_factory=lambda: DictConfig({}))

    @classmethod
    def read(cls, folder: Path) -> "Listed":
        listed = cls(folder)
        try:
            listed.state, listed.words = run_folder.standing(folder)
            listed.config, environment = run_folder.read_config(folder), run_folder.read_environment(folder)
            listed.metrics = run_folder.read_metrics(folder) if listed.state == run_folder.FINISHED else {}
            listed.seconds = environment.get("wall_time_s")
            listed.started = datetime.fromisoformat(environment["started"]) if "started" in environment else None
        except (InputError, TypeError, ValueError, AttributeError) as error:
            listed.state, listed.words = DAMAGED, str(error)
        listed.size = sum(_size(path) for path in folder.rglob("*")) / 1e6
        return listed

    @property
    def verb(self) -> str:
        return self.folder.parts[-3]

    @property
    def choices(self) -> Mapping[str, str]:
        return self.config.get("choices") or {}

    def option(self, name: str) -> list[str]:
        """What the run had for an option: its choices of a group, its state, or a value of its config; none without."""
        if name == "state":
            return [self.state]
        if name in self.choices:
            return str(self.choices[name]).split(",")
        try:
            value = OmegaConf.select(self.config, name, default=ABSENT)
        except OmegaConfBaseException:
            return []
        return [] if value is ABSENT else [as_text(value)]


def _size(path: Path) -> int:
    """In bytes; of what a running run has moved meanwhile, none."""
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0


def show(outputs: str, filters: dict[str, str], sort: str | None, best: str | None) -> None:
    """Print it. Raises InputError where nothing has the option or the metric asked for."""
    listed = [Listed.read(folder) for folder in run_folder.all_runs(outputs)]
    if not listed:
        console.say(f"runs: none in {outputs} yet.")
        return
    tests = [_filter(listed, name, wanted) for name, wanted in filters.items()]
    listed = [run for run in listed if all(fits(run) for fits in tests)]
    if not listed:
        console.say(f"runs: none of those in {outputs} is like that.")
        return
    order = "oldest first"
    if best is not None:
        listed = [run for run in listed if best in run.metrics] or _unknown_metric(listed, best)
        least = all(less_is_better(best, run.verb) for run in listed)
        listed.sort(key=lambda run: run.metrics[best], reverse=not least)
        order = f"best {best} first: the {'least' if least else 'largest'}"
    elif sort is not None:
        key, descending = _sorting(sort, listed)
        listed.sort(key=key, reverse=descending)
        order = f"by {sort.removeprefix('-')}, {'falling' if descending else 'rising'}"
    console.say(_table(f"runs in {outputs}, {order}", listed, best))


def less_is_better(metric: str, verb: str) -> bool:
    """Which way is better, of a metric of a verb's runs."""
    if verb == "reconstruct" and OF_A_CODEBOOK.fullmatch(metric):
        return False
    return LESS_IS_BETTER.fullmatch(metric) is not None


def _filter(listed: list[Listed], name: str, wanted: str) -> Callable[[Listed], bool]:
    """Whether a run has one of the values wanted, parted by commas; numbers compare as numbers."""
    if not any(run.option(name) for run in listed):
        raise InputError(f"No run here has the option {name}: filter by state=, or an option such as model= or seed=.")
    values = [wanted] if wanted.startswith("[") else wanted.split(",")
    if name == "state" and (unknown := [value for value in values if value not in (*run_folder.STATES, DAMAGED)]):
        raise InputError(f"state={unknown[0]}: a run is one of {', '.join((*run_folder.STATES, DAMAGED))}.")
    return lambda run: any(_same(had, value) for had in run.option(name) for value in values)


def _same(one: str, two: str) -> bool:
    try:
        return float(one) == float(two)
    except ValueError:
        return one == two


def _unknown_metric(listed: list[Listed], name: str) -> list[Listed]:
    known = _metrics(listed)
    raise InputError(f"No run here has the metric {name}.{nearest(name, known)} Known: {', '.join(known) or 'none'}.")


def _metrics(listed: list[Listed]) -> list[str]:
    """The metrics that runs have, without the ends of their intervals."""
    names = dict.fromkeys(name for run in listed for name in run.metrics)
    return [name for name in names if not name.endswith(("_low", "_high"))]


def _sorting(sort: str, listed: list[Listed]) -> tuple[Callable[[Listed], Any], bool]:
    """What to sort by, and whether it falls. Runs without it come last either way."""
    name, descending = sort.removeprefix("-"), sort.startswith("-")
    if name not in SORTS and not any(name in run.metrics for run in listed):
        known = [*SORTS, *_metrics(listed)]
        raise InputError(f"--sort {name}: no run has it.{nearest(name, known)} Sort by one of {', '.join(known)}.")

    def key(run: Listed) -> tuple[bool, Any]:
        own = {"started": run.started and run.started.timestamp(), "seconds": run.seconds, "size": run.size}
        value = {**own, "state": run.state, "verb": run.verb, **run.choices, **run.metrics}.get(name)
        return (value is None) != descending, 0 if value is None else value

    return key, descending


def _table(title: str, listed: list[Listed], metric: str | None) -> Any:
    cells = []
    for run in listed:
        shown = metric or next((name for name in run.config.get("summary_metrics") or [] if name in run.metrics), None)
        cells.append(
            [
                str(run.folder),
                run.state,
                run.started.strftime("%Y-%m-%d %H:%M") if run.started else "",
                f"{shown} {run.metrics[shown]:.4f}" if shown in run.metrics else "",
                "" if run.seconds is None else f"{run.seconds:.1f}",
                f"{run.size:.1f}",
                run.words if len(run.words) <= LONGEST else run.words[: LONGEST - 1] + "…",
            ]
        )
    columns = ["run", "state", "started", "metric", "seconds", "MB", "last words"]
    if not any(row[-1] for row in cells):
        columns, cells = columns[:-1], [row[:-1] for row in cells]
    return console.table(title, columns, cells, right={"seconds", "MB"}, whole={"run"})
