"""A sweep: every combination, and one table of what came out, by what varied.

Each combination leaves an `outcome.json` in a folder of its own below the sweep's, whichever process ran it, and the
table is made of those after each of them, and so is there after a kill, too. Where one of the things that varied is
a number (`data.pollution=0,0.01,0.1`), a figure shows what came of it.
"""

import json
import logging
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig

from ssl_cli import console, runs
from ssl_cli.catalog import built_in_conf
from ssl_cli.errors import BAD_INPUT, BROKEN, OK, InputError
from ssl_cli.nodes import as_text, in_quotes, read_yaml
from ssl_cli.ranks import is_worker, n_started
from ssl_cli.run_table import less_is_better
from ssl_cli.stopping import Stopped, raised

# Runs have folders and logs of their own: Hydra's would only stand beside them.
QUIET = ["hydra.output_subdir=null", "hydra/job_logging=none", "hydra/hydra_logging=none"]
# What launchers raise where a process of theirs was killed: joblib's two and submitit's two.
DEAD_PROCESS = ("TerminatedWorkerError", "BrokenProcessPool", "UncompletedJobError", "FailedJobError")
BUG = "a bug of ours: "
FIGURE, TABLE, OUTCOME = "sweep.png", "sweep.csv", "outcome.json"
BEST = "optimization_results.yaml"  # as Optuna's sweeper calls it
PLACES = ("paths.outputs", "sweep.")  # where and how a sweep is run, which no outcome follows from
DIRECTION = "hydra.sweeper.direction"
LAST = ("run", "error")  # the columns of sweep.csv that are neither a setting nor a metric
Row = dict[str, Any]  # of sweep.csv: settings (texts), metrics (numbers), run and error


def sweep(
    hydra: Any, verb: str, job: Callable[[DictConfig], str | None], lines: list[str], outputs: Path, sweeper: str
) -> int:
    """Run `job` with every combination of the overrides; returns the exit code. A failure doesn't stop the others."""
    if (n_started() or 1) > 1 or is_worker():
        raise InputError(
            "A sweep starts each run's processes by itself, on one node: leave out torchrun, srun or NODE_RANK, or "
            "have a launcher (hydra/launcher=submitit_slurm) start the runs."
        )
    folder = _new_folder(outputs / verb / "sweeps")
    for library in ("hydra_plugins.hydra_optuna_sweeper", "optuna"):
        logging.getLogger(library).setLevel(logging.ERROR)  # failures are told here
    overrides = [
        f"hydra.sweep.dir={in_quotes(folder)}",
        *QUIET,
        *(_optunas(hydra, lines, verb) if sweeper == "optuna" else []),
        *lines,
    ]
    go_on = "the same command with sweep.skip_done=true goes on with it"
    try:
        hydra.multirun(verb, _Combination(job, folder, verb), overrides, with_log_configuration=False)
    except Stopped:
        show(folder, verb)
        console.warn(f"the sweep is not whole; {go_on}")
        raise
    except OSError as error:  # of the outcomes and the table; a run says its own
        raise InputError(f"{folder} can't be written: {error.strerror}; with more room, {go_on}.") from error
    except Exception as error:
        if type(error).__name__ in DEAD_PROCESS:
            show(folder, verb)
            raise InputError(f"A process of this sweep died, so it is not whole; {go_on}.") from error
        if "No trials are completed" not in str(error):  # Optuna's, where none gave a number: the table says why
            raise
    rows = show(folder, verb)
    draw(folder / FIGURE, rows, headline(folder, verb)[0])
    if (folder / BEST).is_file():
        _tell_best(folder / BEST)
    console.say_bare(str(folder))
    failures = [row["error"] for row in rows if row["error"]]
    return BROKEN if any(text.startswith(BUG) for text in failures) else BAD_INPUT if failures else OK


def _optunas(hydra: Any, lines: list[str], verb: str) -> list[str]:
    """What Optuna must be told: which way is better, and not to give up at the first failure."""
    given = {key.lstrip("+"): value for key, _, value in (line.partition("=") for line in lines)}
    if given.get(DIRECTION, "").startswith("["):
        raise InputError(f"{DIRECTION}={given[DIRECTION]}: a run gives Optuna one number, sweep.metric; name one way.")
    metric = given.get("sweep.metric") or _common(hydra, lines, verb).headline[0]
    way = "minimize" if less_is_better(metric, verb) else "maximize"
    return [f"{DIRECTION}={way}", "hydra.sweeper.max_failure_rate=1"]


def _common(hydra: Any, lines: list[str], verb: str) -> DictConfig:
    """The config of what doesn't vary: an experiment may have a headline of its own."""
    parsed = OverridesParser.create().parse_overrides(lines)
    fixed = [line for line, override in zip(lines, parsed, strict=True) if not override.is_sweep_override()]
    return hydra.compose_config(verb, fixed, RunMode.RUN)


def _tell_best(path: Path) -> None:
    """What Optuna found."""
    found = read_yaml(path)
    if "best_params" in found:
        best = " ".join(f"{name.lstrip('+')}={value}" for name, value in found.best_params.items())
        console.say(f"best value {found.best_value:.4f}, with {best}; chosen by it: expect less of new rows")


def _new_folder(parent: Path) -> Path:
    try:
        return runs.new_folder(parent)
    except OSError as error:
        raise InputError(
            f"No sweep folder can be made in {parent}: {error.strerror}. Say paths.outputs=FOLDER."
        ) from error


class _Combination:
    """What a launcher calls with each composed config, in whatever process it likes."""

    def __init__(self, job: Callable[[DictConfig], str | None], folder: Path, verb: str):
        self.job, self.folder, self.verb = job, folder.resolve(), verb

    def __call__(self, cfg: DictConfig) -> float | None:
        """The metric that a sweeper may look for the best of; None where the run failed or has no such metric."""
        if is_worker():  # of a run whose processes the launcher has started: the first one tells what came out
            self.job(cfg)
            return None
        hydra = HydraConfig.get()
        run, fault, value = "", "", None
        metrics: dict[str, float] = {}
        try:
            with raised():
                run = self.job(cfg) or ""
            metrics = runs.read_metrics(Path(run)) if run else {}
            value = metrics.get(cfg.sweep.metric or cfg.headline[0])
            if cfg.sweep.metric and value is None:
                fault = f"sweep.metric={cfg.sweep.metric} is none of the run's metrics: {', '.join(metrics)}."
        except InputError as error:
            fault = str(error)
        except Exception as error:
            traceback.print_exc()
            fault = f"{BUG}{type(error).__name__}: {error}"
        if fault:
            console.warn(f"this combination failed: {fault}")
        own = self.folder / str(hydra.job.num)
        own.mkdir(exist_ok=True)
        settings = _settings(list(hydra.overrides.task))
        outcome = {"settings": settings, "metrics": metrics, "run": run, "error": fault}
        runs.write_json(own / OUTCOME, outcome | {"headline": list(cfg.headline)})
        write_table(self.folder)
        return value


def _settings(overrides: list[str]) -> dict[str, str]:
    """What a combination sets, but for where and how the sweep is run."""
    parsed = OverridesParser.create().parse_overrides(overrides)
    settings = {override.key_or_group: "" if override.is_delete() else as_text(override.value()) for override in parsed}
    return {name: value for name, value in settings.items() if not name.startswith(PLACES)}


# --- the table ----------------------------------------------------------------------------------------------


def collect(folder: Path) -> list[Row]:
    """The rows of sweep.csv: what has been done of a sweep so far, in the order of its combinations."""
    return [one["settings"] | one["metrics"] | {name: one[name] for name in LAST} for one in _outcomes(folder)]


def _outcomes(folder: Path) -> list[dict[str, Any]]:
    paths = sorted(folder.glob(f"*/{OUTCOME}"), key=lambda path: int(path.parent.name))
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def write_table(folder: Path) -> list[Row]:
    """`sweep.csv`, with every metric. Returns its rows."""
    rows = collect(folder)
    columns = [*dict.fromkeys(name for row in rows for name in row if name not in LAST), *LAST]
    runs.write_csv(folder / TABLE, columns, rows)
    return rows


def show(folder: Path, verb: str) -> list[Row]:
    """The headline metrics on the terminal, by what varied. Returns all of the table's rows."""
    rows = write_table(folder)
    varied, shown = what_varied(rows), headline(folder, verb)
    failed = ["failed because"] if any(row["error"] for row in rows) else []
    cells = []
    for row in rows:
        figures = [f"{row[name]:.4f}" if name in row else "" for name in shown]
        cells.append([*(str(row[name]) for name in varied), *figures, *([_brief(row["error"])] if failed else [])])
    title = f"{len(rows)} run{'s' if len(rows) != 1 else ''} ({folder / TABLE})"
    console.say(console.table(title, [*varied, *shown, *failed], cells, right=set(shown)))
    return rows


def headline(folder: Path, verb: str) -> list[str]:
    """The metrics that the table shows: those that the combinations' configs name, else the verb's own."""
    named = dict.fromkeys(name for one in _outcomes(folder) for name in one["headline"])
    return list(named) or list(read_yaml(built_in_conf() / f"{verb}.yaml").headline)


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
