"""Hydra's own options, `hydra.*` and `hydra/*`: those of a sweep's launcher and sweeper are obeyed, others refused."""

import os
from typing import Any

from hydra.core.override_parser.types import Override
from hydra.types import RunMode

from ssl_cli.config.choices import did_you_mean
from ssl_cli.config.compatibility import PROCESSES_PER_CORE
from ssl_cli.errors import InputError

GROUPS = ("hydra/launcher", "hydra/sweeper")
INSTEAD = {  # option, or what it begins with -> what does its job here
    "hydra.run": "runs are written to paths.outputs=FOLDER",
    "hydra.sweep": "sweeps go to paths.outputs=FOLDER",
    "hydra.sweeper.params": "write the values as options, such as seed=0,1",
    "hydra.mode": "use -m for a sweep",
    "hydra.job.chdir": "paths are relative to the working directory",
    "hydra.job.env_set": "set the variable before the command, NAME=value ssl ...",
    "hydra.searchpath": "--config-dir FOLDER adds a folder of configs",
    "hydra.output_subdir": "a run's config.yaml is in its folder, below paths.outputs=FOLDER",
    "hydra.verbose": "a run's log is log.txt in its folder",
    "hydra.job_logging": "a run's log is log.txt in its folder",
    "hydra.hydra_logging": "a run's log is log.txt in its folder",
    "hydra.help": "`ssl VERB --help` is the help page",
    "hydra.hydra_help": "`ssl VERB --help` is the help page",
}
# Numbers that launchers and sweepers take without a check of their own.
AT_LEAST_ONE = ("hydra.sweeper.max_batch_size", "hydra.sweeper.n_trials", "hydra.sweeper.n_jobs")


def is_of_hydra(override: Override) -> bool:
    """Return whether an override names an option of Hydra."""
    return override.key_or_group.replace("/", ".").split(".")[0] == "hydra"


def check_hydra_options(overrides: list[Override], is_used: bool) -> None:
    """Raise InputError for the first option of Hydra that has no effect here, with what does its job.

    `is_used` is whether there is a sweep, whose launcher and sweeper have options.
    """
    for override in filter(is_of_hydra, overrides):
        name, dotted = override.key_or_group, override.key_or_group.replace("/", ".")
        if hint := next((INSTEAD[key] for key in INSTEAD if f"{dotted}.".startswith(f"{key}.")), None):
            raise InputError(f"{name} can't be set: {hint}.")
        if name not in GROUPS and not name.replace("/", ".").startswith(("hydra.launcher.", "hydra.sweeper.")):
            raise InputError(
                f"{name} can't be set: of Hydra's own options ssl takes hydra/launcher=, hydra/sweeper=, "
                "hydra.launcher.* and hydra.sweeper.*, with -m."
            )
        if override.is_delete() or override.package is not None:
            raise InputError(f"{override.input_line}: write {name}=VALUE, without ~ and @.")
        if override.is_sweep_override():
            raise InputError(f"{override.input_line}: how a sweep runs can't vary in it; give one value.")
        if not is_used:
            raise InputError(f"{name} is for sweeps: add -m.")
        _check_number(name, override.value())


def _check_number(name: str, value: Any) -> None:
    is_count = isinstance(value, int) and not isinstance(value, bool)
    if name in AT_LEAST_ONE and value is not None and not (is_count and value >= 1):
        raise InputError(f"{name} must be a whole number of at least 1, not {value!r}.")
    most = PROCESSES_PER_CORE * (os.cpu_count() or 1)
    if name == "hydra.launcher.n_jobs" and not (is_count and (value == -1 or 1 <= value <= most)):
        raise InputError(f"{name} must be a whole number from 1 to {most} here, or -1 for all cores, not {value!r}.")


def check_launcher_and_sweeper(hydra: Any, verb: str, overrides: list[Override]) -> None:
    """Raise InputError for a launcher or sweeper that is not installed, and for an option that it does not have."""
    chosen = {override.key_or_group: override for override in overrides if override.key_or_group.startswith("hydra/")}
    for group, override in chosen.items():
        known, name = sorted(hydra.config_loader.get_group_options(group)), str(override.value())
        if group not in GROUPS and not known:
            raise InputError(f"{group} is not a group of Hydra's; ssl takes {' and '.join(GROUPS)}.")
        if name not in known:
            raise InputError(
                f"{group}={name} is not a choice.{did_you_mean(name, known)} Choices: {', '.join(known)}; "
                "pip install 'ssl-cli[sweep]' adds joblib, submitit and optuna."
            )
    parts = [override.key_or_group.rpartition(".") for override in overrides]
    options_set = [(head, option) for head, _, option in parts if head in ("hydra.launcher", "hydra.sweeper")]
    if not options_set:
        return  # to compose a config takes a good part of a small command's time
    lines = [f"{group}={override.value()}" for group, override in chosen.items()]
    own = hydra.compose_config(verb, lines, RunMode.RUN).hydra
    for head, option in options_set:
        node, group = own[head.removeprefix("hydra.")], head.replace(".", "/")
        if option not in node:
            options = [str(key) for key in node if not str(key).startswith("_")]
            name = str(chosen[group].value()) if group in chosen else "basic"
            raise InputError(
                f"{head}.{option} is not an option of {group}={name}.{did_you_mean(option, options)} "
                f"It has {', '.join(options) or 'none'}."
            )
