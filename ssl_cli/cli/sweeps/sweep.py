"""Sweep: a run for every combination of options, and one table of their results.

Each combination writes an `outcome.json` into its own folder below the sweep's, in whichever process it runs. After
each combination the table is rebuilt from these files, so it is complete even after a kill. If seeds varied, a second
table summarizes the results over seeds. If a number varied (`data.contamination=0,0.01,0.1`), or `init`, a figure
shows its effect.
"""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig

from ssl_cli import console
from ssl_cli.cli.grammar import parse_override
from ssl_cli.cli.overrides import choice_names
from ssl_cli.cli.sweeps import figures, suites
from ssl_cli.cli.sweeps.table import Outcome, show_seed_summary, show_table, write_table
from ssl_cli.config.instantiate import as_text, quote_if_needed, read_yaml
from ssl_cli.config.verbs import VERBS
from ssl_cli.errors import BAD_INPUT, BROKEN, OK, InputError
from ssl_cli.process import Interrupted, end_with, is_worker, n_launched, signals_as_exceptions
from ssl_cli.runs import folder as run_folder
from ssl_cli.runs.table import is_lower_better
from ssl_cli.tasks.suite import Suite

# Runs have their own folders and logs, so Hydra writes none.
NO_HYDRA_OUTPUT = ["hydra.output_subdir=null", "hydra/job_logging=none", "hydra/hydra_logging=none"]
# What launchers raise if one of their processes was killed: two by joblib, two by submitit.
DEAD_PROCESS_ERRORS = ("TerminatedWorkerError", "BrokenProcessPool", "UncompletedJobError", "FailedJobError")
BUG = "a bug in ssl: "
BEST = "optimization_results.yaml"  # the name that Optuna's sweeper gives it
SWEEP_OPTIONS = ("paths.outputs", "sweep.")  # where and how a sweep runs: they do not affect results
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
    """Run `job` with every combination of the overrides and return the exit code. A failed run doesn't stop the others.

    `lines` are the overrides; `suite` is the name of the suite whose tasks are among them, and the suite. Raises
    InputError if several processes were launched, or the sweep's folder can't be written.
    """
    if (n_launched() or 1) > 1 or is_worker():
        raise InputError(
            "A sweep starts the processes of its runs itself, on one node: leave out torchrun, srun or NODE_RANK, or "
            "let a launcher (hydra/launcher=submitit_slurm) start the runs."
        )
    folder = _create_folder(outputs / verb / "sweeps")
    for library in ("hydra_plugins.hydra_optuna_sweeper", "optuna"):
        logging.getLogger(library).setLevel(logging.ERROR)  # this module reports failures
    overrides = [
        f"hydra.sweep.dir={quote_if_needed(folder)}",
        *NO_HYDRA_OUTPUT,
        *(_optuna_options(hydra, lines, verb) if sweeper == "optuna" else []),
        *lines,
    ]
    how_to_continue = f"the same command {'' if suite else 'with sweep.skip_done=true '}continues it"
    try:
        hydra.multirun(verb, _CombinationRunner(job, folder, verb), overrides, with_log_configuration=False)
    except Interrupted:
        show_table(folder, verb)
        console.warn(f"the sweep is incomplete; {how_to_continue}")
        raise
    except OSError as error:  # from an outcome or the table; a run reports its own
        raise InputError(
            f"{folder} can't be written: {error.strerror}; once there is space, {how_to_continue}."
        ) from error
    except Exception as error:
        if type(error).__name__ in DEAD_PROCESS_ERRORS:
            show_table(folder, verb)
            raise InputError(f"A process of this sweep died, so it is incomplete; {how_to_continue}.") from error
        if "No trials are completed" not in str(error):  # Optuna's error if no run gave a number: the table shows why
            raise
    return _summarize(folder, verb, suite)


def _summarize(folder: Path, verb: str, suite: tuple[str, Suite] | None) -> int:
    """Write the tables and figures of a complete sweep; returns the exit code."""
    outcomes = show_table(folder, verb)
    averages = suites.summarize(folder, *suite, outcomes) if suite else []
    show_seed_summary(folder, verb, [*outcomes, *averages])
    figures.draw_metric_by_number(folder, outcomes, verb)
    figures.draw_curves_by_init(folder, outcomes)
    if (folder / BEST).is_file():
        _print_best(folder / BEST)
    console.say_bare(str(folder))
    failures = [outcome.error for outcome in outcomes if outcome.error]
    return BROKEN if any(text.startswith(BUG) for text in failures) else BAD_INPUT if failures else OK


def add_like(verb: str, overrides: list[Override]) -> list[Override]:
    """Add `like=RUN` to `init=none,RUN`, so that both runs have the same shape and tokenizer.

    Nothing is added if the command line sets a shape or a tokenizer, or names several runs.
    """
    keys = {override.key_or_group for override in overrides}
    is_shape_set = keys & ({"like"} | VERBS[verb].set_by_init) or any(key.startswith("tokenizer.") for key in keys)
    if is_shape_set or "like" not in VERBS[verb].options.__dataclass_fields__:
        return overrides
    inits = {name for override in overrides if override.key_or_group == "init" for name in choice_names(override)}
    pretrained = inits - set(figures.FROM_SCRATCH)
    if len(pretrained) != 1 or len(inits) == 1:
        return overrides
    (like,) = pretrained
    console.say(f"like={like}: with init=none, random weights in the same shape, with the same tokenizer")
    return [*overrides, parse_override(f"like={quote_if_needed(like)}")]


def _optuna_options(hydra: Any, lines: list[str], verb: str) -> list[str]:
    """Return the overrides that Optuna needs: which direction is better, and not to stop at the first failure.

    Raises InputError for several directions.
    """
    values = {key.lstrip("+"): value for key, _, value in (line.partition("=") for line in lines)}
    if values.get(DIRECTION, "").startswith("["):
        raise InputError(
            f"{DIRECTION}={values[DIRECTION]}: a run gives Optuna one number, sweep.metric, so set one direction."
        )
    metric = values.get("sweep.metric") or _shared_config(hydra, lines, verb).summary_metrics[0]
    direction = "minimize" if is_lower_better(metric, verb) else "maximize"
    return [f"{DIRECTION}={direction}", "hydra.sweeper.max_failure_rate=1"]


def _shared_config(hydra: Any, lines: list[str], verb: str) -> DictConfig:
    """Return the config composed from the overrides that do not vary: an experiment may set summary_metrics."""
    parsed = OverridesParser.create().parse_overrides(lines)
    fixed = [line for line, override in zip(lines, parsed, strict=True) if not override.is_sweep_override()]
    return hydra.compose_config(verb, fixed, RunMode.RUN)


def _print_best(path: Path) -> None:
    """Print the best value that Optuna found, and the options that gave it."""
    results = read_yaml(path)
    if "best_params" in results:
        best = " ".join(f"{name.lstrip('+')}={value}" for name, value in results.best_params.items())
        console.say(
            f"best value {results.best_value:.4f}, with {best}; it was selected by this value: expect less on new rows"
        )


def _create_folder(parent: Path) -> Path:
    try:
        return run_folder.create_folder(parent)
    except OSError as error:
        raise InputError(
            f"No sweep folder can be made in {parent}: {error.strerror}. Set paths.outputs=FOLDER."
        ) from error


class _CombinationRunner:
    """Job of a launcher, called with each composed config, possibly in another process."""

    def __init__(self, job: Callable[[DictConfig], str | None], folder: Path, verb: str):
        self.job, self.folder, self.verb = job, folder.resolve(), verb
        self.sweep_process = os.getpid()

    def __call__(self, cfg: DictConfig) -> float | None:
        """Run one combination and return the metric that a sweeper optimizes; None if the run failed or lacks it."""
        if is_worker():  # one of several processes that the launcher started for a run: the first writes the outcome
            self.job(cfg)
            return None
        hydra = HydraConfig.get()
        if os.getpid() != self.sweep_process and "joblib" in hydra.launcher._target_:
            end_with(self.sweep_process)  # joblib's processes are its children; those of other launchers need not be
        run, failure, value = "", "", None
        metrics: dict[str, float] = {}
        try:
            with signals_as_exceptions():
                run = self.job(cfg) or ""
            metrics = run_folder.read_metrics(Path(run)) if run else {}
            value = metrics.get(cfg.sweep.metric or cfg.summary_metrics[0])
            if cfg.sweep.metric and value is None:
                failure = f"sweep.metric={cfg.sweep.metric} is not one of the run's metrics: {', '.join(metrics)}."
        except InputError as error:
            failure = str(error)
        except Exception as error:
            console.say_traceback(error)
            failure = f"{BUG}{type(error).__name__}: {error}"
        if failure:
            console.warn(f"this combination failed: {failure}")
        folder = self.folder / str(hydra.job.num)
        folder.mkdir(exist_ok=True)
        settings = _settings(list(hydra.overrides.task))
        Outcome(settings, metrics, run, failure, list(cfg.summary_metrics)).write(folder)
        write_table(self.folder)
        return value


def _settings(overrides: list[str]) -> dict[str, str]:
    """Return the options that a combination sets and that can affect its results."""
    parsed = OverridesParser.create().parse_overrides(overrides)
    settings = {override.key_or_group: "" if override.is_delete() else as_text(override.value()) for override in parsed}
    return {name: value for name, value in settings.items() if not name.startswith(SWEEP_OPTIONS)}
