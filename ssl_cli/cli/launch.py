"""Launching of a verb: compose its config by Hydra, then run it once, as a sweep, or from a run's checkpoint."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from hydra import initialize_config_dir
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ssl_cli import console
from ssl_cli.cli.overrides import (
    check_choices,
    check_data_folder,
    check_options_apply,
    choice_names,
    force_add,
    parse_override,
    split_arguments,
    value_of,
)
from ssl_cli.cli.sweeps.suites import GROUP, SUITE, compose_suite, expand_suite, find_suite
from ssl_cli.cli.sweeps.sweep import NO_HYDRA_OUTPUT, add_like, sweep
from ssl_cli.config.choices import built_in_conf, conf_folders, groups
from ssl_cli.config.instantiate import invalid_yaml
from ssl_cli.config.verbs import VERBS, unused_options
from ssl_cli.errors import InputError
from ssl_cli.process import is_worker
from ssl_cli.runs import folder as run_folder
from ssl_cli.runs.safety import check_targets, saved_cache

# pathlib's messages for the home of an unknown user, and for links in a circle
UNKNOWN_HOME, LINK_LOOP = "Could not determine home directory", "Symlink loop from "
DEVICES_CHANGED = (
    "This run was started on {before} device(s) and continues on {now}. Each step still uses the same rows, but they "
    "are split differently, so sums round differently and each device draws different noise: the result will be close "
    "to that of an uninterrupted run, but not bit-identical."
)
CACHE_CHANGED = (
    "This run cached its data in {place}. A run folder can't choose that place: the data is cached in the shared "
    "folder ~/.cache/ssl, unless you set data.cache={place} again."
)


class UserConfigs(SearchPathPlugin):
    """Hydra plugin that searches `conf/` of the working directory before the built-in one."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Prepend the user's folder, if there is one."""
        for folder in conf_folders()[:-1]:
            search_path.prepend("user", f"file://{folder}")


def launch(verb: str, arguments: list[str]) -> int:
    """Run a verb and return the exit code. Raises InputError if the command line or the config is wrong."""
    _make_user_classes_importable()
    flags, kind, options = split_arguments(arguments)
    overrides = [parse_override(option) for option in options]
    resumed = value_of(overrides, "resume", "null")
    sweeping = bool({"-m", "--multirun"} & flags)
    check_choices(verb, overrides, sweeping)
    suite = find_suite(overrides) if GROUP in VERBS[verb].options.__dataclass_fields__ else None
    if sweeping and not VERBS[verb].makes_runs:
        raise InputError(f"ssl {verb} trains no runs to compare: leave out -m.")
    if sweeping and any(override.key_or_group == "resume" for override in overrides):
        raise InputError("resume= continues a single run: leave out -m.")
    if resumed != "null" and VERBS[verb].makes_runs:
        return _resume(verb, resumed, overrides, only_show=kind is not None)
    check_options_apply(verb, overrides, sweeping)
    check_data_folder(overrides)
    with _hydra(verb) as hydra:
        lines = [force_add(override) for override in overrides]
        job = partial(_check_and_run, verb=verb)
        if kind:
            hydra.show_cfg(verb, lines, kind, package=None, resolve="--resolve" in flags)
        elif sweeping or suite:
            return _sweep(hydra, verb, job, overrides, suite)
        else:
            errors: list[InputError] = []
            words = ["hydra.run.dir=.", *NO_HYDRA_OUTPUT, *lines]
            hydra.run(verb, _collect_errors(job, errors), words, with_log_configuration=False)
            for error in errors:
                raise error
    return 0


# --- running ------------------------------------------------------------------------------------------------


@contextmanager
def _hydra(verb: str) -> Iterator[Any]:
    """Yield Hydra, which searches the user's `conf/` before the built-in one. Hydra's errors become an InputError."""
    Plugins.instance().register(UserConfigs)
    try:
        with initialize_config_dir(str(built_in_conf().resolve()), job_name=verb, version_base="1.3"):
            hydra = GlobalHydra.instance().hydra
            assert hydra is not None
            yield hydra
    except RecursionError as error:
        raise InputError(
            "A YAML file in your conf/ inherits from its own name in `defaults`: inherit from another one."
        ) from error
    except yaml.YAMLError as error:
        path = getattr(getattr(error, "problem_mark", error), "name", "A YAML file of yours")
        raise InputError(f"The config can't be composed: {invalid_yaml(path, error)}") from error
    except (HydraException, OmegaConfBaseException, UnicodeDecodeError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise InputError(f"The config can't be composed: {' '.join(lines[:4])}") from error


def _sweep(
    hydra: Any, verb: str, job: Callable[[DictConfig], str | None], overrides: list[Override], name: str | None
) -> int:
    """Run every combination of the overrides, and every task of the suite called `name`; returns the exit code."""
    suite = (name, compose_suite(hydra, verb, name)) if name else None
    overrides = add_like(verb, expand_suite(overrides, *suite) if suite else overrides)
    outputs = Path(value_of(overrides, "paths.outputs", "outputs")).expanduser()
    if "${" in str(outputs):
        raise InputError(f"paths.outputs={outputs}: the folder of a sweep can't contain ${{...}}.")
    lines, sweeper = [force_add(override) for override in overrides], value_of(overrides, "hydra/sweeper", "basic")
    return sweep(hydra, verb, job, lines, outputs, sweeper, suite)


def _check_and_run(cfg: DictConfig, verb: str) -> str | None:
    """Check a composed config and run the verb; returns the run folder, if it made one.

    Hydra calls it for each config, in another process if a sweep's launcher starts some.
    """
    from ssl_cli.config.check import check  # the classes whose signatures it reads import torch

    _make_user_classes_importable()
    OmegaConf.set_struct(cfg, False)
    if cfg.get("resume") is not None and VERBS[verb].makes_runs:
        raise InputError("resume can only be set on the command line: `ssl VERB resume=RUN`.")
    chosen = HydraConfig.get().runtime.choices
    cfg.choices = {group: name for group, name in chosen.items() if name and not group.startswith("hydra/")}
    words: Any = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)  # the config resolves ${...}
    for override in map(parse_override, words):
        if isinstance(override.value(), list) and override.key_or_group in groups():
            cfg.choices[override.key_or_group] = ",".join(choice_names(override))  # Hydra leaves out lists
    if OmegaConf.select(cfg, f"{GROUP}._target_") == SUITE:
        raise InputError(f"{GROUP}={cfg.choices[GROUP]} is a suite: set it, or one of its tasks, on the command line.")
    check(cfg, verb)
    return _run(cfg, verb)


def _collect_errors(job: Callable[[DictConfig], str | None], errors: list[InputError]) -> Callable[[DictConfig], None]:
    """Return the job with InputError appended to `errors` instead of raised: Hydra would print it in its own format."""

    def wrapped(cfg: DictConfig) -> None:
        try:
            job(cfg)
        except InputError as error:
            errors.append(error)

    return wrapped


def _make_user_classes_importable() -> None:
    """Add the working directory to the import path, so that a user's YAML can name a user's class."""
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))


def _run(cfg: DictConfig, verb: str) -> str | None:
    """Run the verb and return the path of its output, None if it has none.

    The path is printed as the last line, without markup, so that scripts can read it.
    """
    for name in unused_options(verb) if cfg.get("run") is None else ():
        cfg.pop(name, None)  # options of a finished run do not belong to a run that trains, nor to its saved config
    try:
        output = import_module(f"ssl_cli.commands.{VERBS[verb].command}").run(cfg)
    except RuntimeError as error:
        if str(error).startswith(LINK_LOOP):
            link = str(error).removeprefix(LINK_LOOP).strip("'\"")
            raise InputError(f"{link} is a symbolic link that leads back to itself: name another path.") from error
        if UNKNOWN_HOME not in str(error):
            raise
        raise InputError(
            "A path starts with ~NAME, but this machine has no home folder of that user: write the path in full."
        ) from error
    if output is None:
        return None
    console.say_bare(str(output))
    return str(output)


def _resume(verb: str, name: str, overrides: list[Override], only_show: bool) -> int:
    """Resume a run from its checkpoint, in its folder, with its config and the changes of the command line.

    Only classes of ssl_cli are built from a run folder, and those of the package that `trust=` names.
    """
    from ssl_cli.config.check import check  # the classes whose signatures it reads import torch
    from ssl_cli.runs.loggers.base import check_destinations

    trusted = value_of(overrides, "trust", "")
    changes = {override.key_or_group: override.value() for override in overrides if override.key_or_group != "trust"}
    changeable = VERBS[verb].changeable
    if fixed := [key for key in changes if key not in changeable and not key.startswith("logger.")]:
        raise InputError(
            f"{', '.join(fixed)} can't change in a resumed run, which continues with its own data and model. "
            f"These can change: {', '.join([*sorted(changeable), 'logger.*'])}."
        )
    folder = run_folder.find_run(name, value_of(overrides, "paths.outputs", "outputs"), verb)
    cfg = run_folder.read_config(folder)
    if cfg.verb != verb:
        raise InputError(f"{folder} is a run of ssl {cfg.verb}: use `{run_folder.resume_command(cfg.verb, folder)}`.")
    check_targets(cfg, folder, tuple(trusted.split()))
    check(cfg, verb)
    if not is_worker():  # workers use no loggers
        check_destinations(cfg, folder, set(changes))
        if "data.cache" not in changes and (place := saved_cache(folder / run_folder.CONFIG)):
            console.say(CACHE_CHANGED.format(place=place))
    before = cfg.trainer.devices * cfg.trainer.num_nodes
    for key, value in changes.items():
        OmegaConf.update(cfg, key, value, force_add=True)
    if "optim.lr" in changes:
        cfg.optim.optimizer.lr = cfg.optim.lr  # a saved config is resolved, without references
    check(cfg, verb)
    if before != (now := cfg.trainer.devices * cfg.trainer.num_nodes):
        console.say(DEVICES_CHANGED.format(before=before, now=now))
    cfg.resume = str(folder)
    if only_show:
        print(OmegaConf.to_yaml(cfg), end="")
    else:
        _run(cfg, verb)
    return 0
