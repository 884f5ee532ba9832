"""argv -> composed config -> the verb's code, by Hydra: once, as a sweep, or on from a run's checkpoint."""

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
    forced,
    given,
    named_choices,
    parse,
    refuse_absent_folder,
    refuse_unused,
    sort_words,
)
from ssl_cli.cli.sweeps.suites import GROUP, SUITE, compose_suite, named_suite, spelled_out
from ssl_cli.cli.sweeps.sweep import QUIET, like_for_like, sweep
from ssl_cli.config import COMMANDS, SHELLS, used_options
from ssl_cli.config.choices import built_in_conf, conf_folders, groups
from ssl_cli.config.run import RunConfig
from ssl_cli.errors import InputError
from ssl_cli.process import is_worker
from ssl_cli.runs import folder as run_folder
from ssl_cli.runs.safety import forgotten_cache, refuse_foreign_targets

HOMELESS = "Could not determine home directory"  # as pathlib says it of ~nobody
OTHER_DEVICES = (
    "This run was begun on {before} device(s) and goes on with {now}: each step still takes the same rows, but they "
    "are parted otherwise, so that sums round otherwise and each device draws other noise. It ends near to where it "
    "would have ended, not at the same bits."
)
OTHER_CACHE = (
    "This run kept its data in {place}. A run folder doesn't decide that: they go to the folder that is kept for all, "
    "~/.cache/ssl, unless you say data.cache={place} again."
)


class UserConfigs(SearchPathPlugin):
    """Puts `conf/` of the working directory before our own."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for folder in conf_folders()[:-1]:
            search_path.prepend("user", f"file://{folder}")


def launch(verb: str, arguments: list[str]) -> int:
    """Run a verb. Returns the exit code; raises InputError for what is wrong with the command line or the config."""
    _see_users_classes()
    flags, kind, words = sort_words(arguments)
    overrides = [parse(word) for word in words]
    resumed = given(overrides, "resume", "null")
    sweeping = bool({"-m", "--multirun"} & flags)
    check_choices(verb, overrides, sweeping)
    suite = named_suite(overrides) if GROUP in SHELLS[verb].__dataclass_fields__ else None
    if sweeping and not issubclass(SHELLS[verb], RunConfig):
        raise InputError(f"ssl {verb} makes no runs to compare: leave out -m.")
    if sweeping and any(override.key_or_group == "resume" for override in overrides):
        raise InputError("resume= goes on with one run: leave out -m.")
    if resumed != "null" and issubclass(SHELLS[verb], RunConfig):
        return _resume(verb, resumed, overrides, only_show=kind is not None)
    refuse_unused(verb, overrides, sweeping)
    refuse_absent_folder(overrides)
    with _hydra(verb) as hydra:
        lines = [forced(override) for override in overrides]
        job = partial(_job, verb=verb)
        if kind:
            hydra.show_cfg(verb, lines, kind, package=None, resolve="--resolve" in flags)
        elif sweeping or suite:
            return _sweep(hydra, verb, job, overrides, suite)
        else:
            faults: list[InputError] = []
            hydra.run(verb, _telling(job, faults), ["hydra.run.dir=.", *QUIET, *lines], with_log_configuration=False)
            for fault in faults:
                raise fault
    return 0


# --- running ------------------------------------------------------------------------------------------------


@contextmanager
def _hydra(verb: str) -> Iterator[Any]:
    """Hydra, with the user's `conf/` before ours; its own errors become one sentence."""
    Plugins.instance().register(UserConfigs)
    try:
        with initialize_config_dir(str(built_in_conf().resolve()), job_name=verb, version_base="1.3"):
            hydra = GlobalHydra.instance().hydra
            assert hydra is not None
            yield hydra
    except RecursionError as error:
        raise InputError("A YAML of yours inherits from its own name in `defaults`; inherit from another.") from error
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, UnicodeDecodeError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise InputError(f"The config can't be composed: {' '.join(lines[:4])}") from error


def _sweep(
    hydra: Any, verb: str, job: Callable[[DictConfig], str | None], overrides: list[Override], name: str | None
) -> int:
    """A run of every combination, and of every task of the suite that is named."""
    suite = (name, compose_suite(hydra, verb, name)) if name else None
    overrides = like_for_like(verb, spelled_out(overrides, *suite) if suite else overrides)
    outputs = Path(given(overrides, "paths.outputs", "outputs")).expanduser()
    if "${" in str(outputs):
        raise InputError(f"paths.outputs={outputs}: name the folder of a sweep without ${{...}}.")
    lines, sweeper = [forced(override) for override in overrides], given(overrides, "hydra/sweeper", "basic")
    return sweep(hydra, verb, job, lines, outputs, sweeper, suite)


def _job(cfg: DictConfig, verb: str) -> str | None:
    """What Hydra calls with each composed config: check it, run the verb; returns the run folder, where it made one.

    May be called in another process, where a sweep's launcher starts some.
    """
    from ssl_cli.config.check import check  # the signatures that it reads import torch

    _see_users_classes()
    OmegaConf.set_struct(cfg, False)
    if cfg.get("resume") is not None and issubclass(SHELLS[verb], RunConfig):
        raise InputError("resume is for the command line: `ssl VERB resume=RUN`.")
    chosen = HydraConfig.get().runtime.choices
    cfg.choices = {group: name for group, name in chosen.items() if name and not group.startswith("hydra/")}
    words: Any = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)  # ${...} is for the config
    for override in map(parse, words):
        if isinstance(override.value(), list) and override.key_or_group in groups():
            cfg.choices[override.key_or_group] = ",".join(named_choices(override))  # Hydra names no list of choices
    if OmegaConf.select(cfg, f"{GROUP}._target_") == SUITE:
        raise InputError(f"{GROUP}={cfg.choices[GROUP]} is a suite: name it, or a task of it, on the command line.")
    check(cfg, verb)
    return _run(cfg, verb)


def _telling(job: Callable[[DictConfig], str | None], faults: list[InputError]) -> Callable[[DictConfig], None]:
    """Hydra would print an exception of the job in its own way: bad input is told, not raised."""

    def told(cfg: DictConfig) -> None:
        try:
            job(cfg)
        except InputError as error:
            faults.append(error)

    return told


def _see_users_classes() -> None:
    """So that a user's own YAML can name a user's own class."""
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))


def _run(cfg: DictConfig, verb: str) -> str | None:
    """Run the verb. The last line printed is the path of what it made, bare, for scripts to read; if it made any."""
    for name in used_options(verb) if cfg.get("run") is None else ():
        cfg.pop(name, None)  # what is asked of a finished run is no part of a run that trains, nor of its saved config
    try:
        made = import_module(f"ssl_cli.commands.{COMMANDS[verb]}").run(cfg)
    except RuntimeError as error:
        if HOMELESS not in str(error):
            raise
        raise InputError("A path begins with ~ and the name of nobody who has a home here: write it out.") from error
    if made is None:
        return None
    console.say_bare(str(made))
    return str(made)


def _resume(verb: str, name: str, overrides: list[Override], only_show: bool) -> int:
    """Go on with a run from its checkpoint, in its folder, with its config and what the command line changes.

    Only our own classes are built from a run folder, and those of the package that `trust=` names.
    """
    from ssl_cli.config.check import check  # the signatures that it reads import torch
    from ssl_cli.runs.loggers.base import refuse_unasked_places

    trusted = given(overrides, "trust", "")
    plain = {override.key_or_group: override.value() for override in overrides if override.key_or_group != "trust"}
    shell = SHELLS[verb]
    assert issubclass(shell, RunConfig)
    changeable = shell.changeable
    if fixed := [key for key in plain if key not in changeable and not key.startswith("logger.")]:
        raise InputError(
            f"{', '.join(fixed)} can't change in a resumed run: it goes on with its own data and model. "
            f"What can: {', '.join([*sorted(changeable), 'logger.*'])}."
        )
    folder = run_folder.find_run(name, given(overrides, "paths.outputs", "outputs"), verb)
    cfg = run_folder.read_config(folder)
    if cfg.verb != verb:
        raise InputError(f"{folder} is a run of ssl {cfg.verb}: say `{run_folder.go_on(cfg.verb, folder)}`.")
    refuse_foreign_targets(cfg, folder, tuple(trusted.split()))
    check(cfg, verb)
    if not is_worker():  # which tells no logger anything
        refuse_unasked_places(cfg, folder, set(plain))
        if "data.cache" not in plain and (place := forgotten_cache(folder / run_folder.CONFIG)):
            console.say(OTHER_CACHE.format(place=place))
    before = cfg.trainer.devices * cfg.trainer.num_nodes
    for key, value in plain.items():
        OmegaConf.update(cfg, key, value, force_add=True)
    if "optim.lr" in plain:
        cfg.optim.optimizer.lr = cfg.optim.lr  # a saved config is resolved: nothing refers to anything any more
    check(cfg, verb)
    if before != (now := cfg.trainer.devices * cfg.trainer.num_nodes):
        console.say(OTHER_DEVICES.format(before=before, now=now))
    cfg.resume = str(folder)
    if only_show:
        print(OmegaConf.to_yaml(cfg), end="")
    else:
        _run(cfg, verb)
    return 0
