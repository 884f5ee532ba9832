"""A sweep: every combination, and one table of what came out, by what varied.

Each combination leaves an `outcome.json` in a folder of its own below the sweep's, whichever process ran it, and the
table is made of those after each of them, and so is there after a kill, too. Where seeds varied, a second table is
over them; where a number did (`data.pollution=0,0.01,0.1`), or where training starts from (`init=none,RUN`), a figure
shows what came of it.
"""

import logging
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig

from ssl_cli import console
from ssl_cli.cli.overrides import named_choices, parse
from ssl_cli.cli.sweeps import figures, suites
from ssl_cli.cli.sweeps.table import Outcome, show, show_seeds, write_table
from ssl_cli.config import SHELLS
from ssl_cli.config.instantiate import as_text, in_quotes, read_yaml
from ssl_cli.errors import BAD_INPUT, BROKEN, OK, InputError
from ssl_cli.process import Interrupted, is_worker, n_started, signals_as_exceptions
from ssl_cli.runs import folder as run_folder
from ssl_cli.runs.table import less_is_better
from ssl_cli.tasks.suite import Suite

# Runs have folders and logs of their own: Hydra's would only stand beside them.
QUIET = ["hydra.output_subdir=null", "hydra/job_logging=none", "hydra/hydra_logging=none"]
# What launchers raise where a process of theirs was killed: joblib's two and submitit's two.
DEAD_PROCESS = ("TerminatedWorkerError", "BrokenProcessPool", "UncompletedJobError", "FailedJobError")
BUG = "a bug of ours: "
BEST = "optimization_results.yaml"  # as Optuna's sweeper calls it
PLACES = ("paths.outputs", "sweep.")  # where and how a sweep is run, which no outcome follows from
DIRECTION = "hydra.sweeper.direction"


def sweep(
    hydra: Any,
    verb: str,
    job: Callable[[DictConfig], str | None],
    lines: list[str],
    outputs: Path,
    sweeper: str,
    suite: tuple[str, Suite] | None = None,
) -> int:
    """Run `job` with every combination of the overrides; returns the exit code. A failure doesn't stop the others.

    `suite`: the suite that the tasks among them are of, and its name.
    """
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
    go_on = f"the same command {'' if suite else 'with sweep.skip_done=true '}goes on with it"
    try:
        hydra.multirun(verb, _Combination(job, folder, verb), overrides, with_log_configuration=False)
    except Interrupted:
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
    return _conclude(folder, verb, suite)


def _conclude(folder: Path, verb: str, suite: tuple[str, Suite] | None) -> int:
    """The tables and figures of a sweep that is whole; returns the exit code."""
    outcomes = show(folder, verb)
    averages = suites.conclude(folder, *suite, outcomes) if suite else []
    show_seeds(folder, verb, [*outcomes, *averages])
    figures.draw_numbers(folder, outcomes, verb)
    figures.draw_starts(folder, outcomes)
    if (folder / BEST).is_file():
        _tell_best(folder / BEST)
    console.say_bare(str(folder))
    failures = [outcome.error for outcome in outcomes if outcome.error]
    return BROKEN if any(text.startswith(BUG) for text in failures) else BAD_INPUT if failures else OK


def like_for_like(verb: str, overrides: list[Override]) -> list[Override]:
    """`init=none,RUN` compares: without a word on it, the random weights have the shape and the tokenizer of RUN."""
    keys = {override.key_or_group for override in overrides}
    shaped = {"like"} | getattr(SHELLS[verb], "of_init", set())
    words = keys & shaped or any(key.startswith("tokenizer.") for key in keys)
    if words or "like" not in SHELLS[verb].__dataclass_fields__:
        return overrides
    starts = {name for override in overrides if override.key_or_group == "init" for name in named_choices(override)}
    others = starts - set(figures.FROM_SCRATCH)
    if len(others) != 1 or len(starts) == 1:
        return overrides
    (other,) = others
    console.say(f"like={other}: with init=none, random weights in the shape of that, with its tokenizer")
    return [*overrides, parse(f"like={in_quotes(other)}")]


def _optunas(hydra: Any, lines: list[str], verb: str) -> list[str]:
    """What Optuna must be told: which way is better, and not to give up at the first failure."""
    given = {key.lstrip("+"): value for key, _, value in (line.partition("=") for line in lines)}
    if given.get(DIRECTION, "").startswith("["):
        raise InputError(f"{DIRECTION}={given[DIRECTION]}: a run gives Optuna one number, sweep.metric; name one way.")
    metric = given.get("sweep.metric") or _common(hydra, lines, verb).summary_metrics[0]
    way = "minimize" if less_is_better(metric, verb) else "maximize"
    return [f"{DIRECTION}={way}", "hydra.sweeper.max_failure_rate=1"]


def _common(hydra: Any, lines: list[str], verb: str) -> DictConfig:
    """The config of what doesn't vary: an experiment may have a summary_metrics of its own."""
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
        return run_folder.new_folder(parent)
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
            with signals_as_exceptions():
                run = self.job(cfg) or ""
            metrics = run_folder.read_metrics(Path(run)) if run else {}
            value = metrics.get(cfg.sweep.metric or cfg.summary_metrics[0])
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
        Outcome(settings, metrics, run, fault, list(cfg.summary_metrics)).write(own)
        write_table(self.folder)
        return value


def _settings(overrides: list[str]) -> dict[str, str]:
    """What a combination sets, but for where and how the sweep is run."""
    parsed = OverridesParser.create().parse_overrides(overrides)
    settings = {override.key_or_group: "" if override.is_delete() else as_text(override.value()) for override in parsed}
    return {name: value for name, value in settings.items() if not name.startswith(PLACES)}
