"""Launching of a verb: compose its config by Hydra, then run it once, as a sweep, or from a run's checkpoint."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from ssl_cli import console
from ssl_cli.cli import fast_dev_run
from ssl_cli.cli.faults import explained_faults
from ssl_cli.cli.flags import CommandLine
from ssl_cli.cli.grammar import parse_override
from ssl_cli.cli.hydra_options import check_hydra_options, check_launcher_and_sweeper
from ssl_cli.cli.overrides import (
    as_lines,
    check_data_folder,
    check_options_apply,
    check_options_of_modality,
    check_overrides,
    choice_names,
    modality_of_data,
    options_of_text_alone,
    value_of,
    with_defaults_of_modality,
    without_repeats,
)
from ssl_cli.cli.show import show_config, show_sources
from ssl_cli.cli.sweeps.combinations import check_sweep, combinations
from ssl_cli.cli.sweeps.suites import GROUP, SUITE, compose_suite, expand_suite, find_suite
from ssl_cli.cli.sweeps.sweep import NO_HYDRA_OUTPUT, add_like, sweep
from ssl_cli.config.choices import built_in_conf, conf_folders, default_choices, groups, search_first
from ssl_cli.config.verbs import VERBS, unused_options
from ssl_cli.errors import InputError
from ssl_cli.process import is_worker
from ssl_cli.runs import folder as run_folder
from ssl_cli.runs.digests import check_digests_to_resume
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
    """Hydra plugin that searches the user's folders before the built-in one."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Prepend the user's folders, the first to be searched last."""
        for folder in reversed(conf_folders()[:-1]):
            search_path.prepend("user", f"file://{folder}")


def launch(line: CommandLine, verb: str) -> int:
    """Run a verb and return the exit code. Raises InputError if the command line or the config is wrong."""
    _make_user_classes_importable()
    overrides = without_repeats([parse_override(word) for word in line.words])
    sweeping, only_show = "--multirun" in line.flags, bool({"--cfg", "--info"} & set(line.flags))
    resumed = value_of(overrides, "resume", "null")
    suite = find_suite(overrides) if GROUP in VERBS[verb].options.__dataclass_fields__ else None
    check_hydra_options(overrides, is_used=sweeping or only_show or suite is not None)
    check_overrides(verb, overrides, sweeping)
    if line.config_dir and not default_choices(verb):
        raise InputError(f"--config-dir adds choices of model, data, ...; ssl {verb} has none of them: leave it out.")
    if sweeping and not VERBS[verb].makes_runs:
        raise InputError(f"ssl {verb} trains no runs to compare: leave out -m.")
    if sweeping and any(override.key_or_group == "resume" for override in overrides):
        raise InputError("resume= continues a single run: leave out -m.")
    if resumed != "null" and VERBS[verb].makes_runs:
        return _resume(line, verb, resumed, overrides)
    overrides = with_defaults_of_modality(verb, overrides)
    check_options_apply(verb, overrides, sweeping)
    check_data_folder(overrides)
    with _hydra(verb) as hydra:
        lines = as_lines(verb, overrides)
        job = partial(_check_and_run, verb=verb, config_dir=line.config_dir)
        check_launcher_and_sweeper(hydra, verb, overrides)
        if not only_show and (sweeping or suite):
            with fast_dev_run.outputs_of_sweep(overrides) as outputs:
                return _sweep(hydra, verb, job, overrides, suite, outputs)
        if not only_show:
            _run_once(hydra, verb, job, lines)
            return 0
        with explained_faults(hydra, verb, [lines]):
            cfg = hydra.compose_config(verb, lines, RunMode.RUN)
        if "--info" in line.flags:
            show_sources(hydra, verb, lines, line.flags["--info"] or "all")
        else:
            show_config(cfg, line.flags["--cfg"], line.flags.get("--package"), "--resolve" in line.flags)
    return 0


# --- running ------------------------------------------------------------------------------------------------


@contextmanager
def _hydra(verb: str) -> Iterator[Any]:
    """Yield Hydra, which searches the user's folders before the built-in one."""
    Plugins.instance().register(UserConfigs)
    with initialize_config_dir(str(built_in_conf().resolve()), job_name=verb, version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        yield hydra


def _run_once(hydra: Any, verb: str, job: Callable[[DictConfig], str | None], lines: list[str]) -> None:
    """Run the verb on one config. What the job raises is raised here: Hydra would print it in its own format."""
    raised: list[Exception] = []

    def collect(cfg: DictConfig) -> None:
        try:
            job(cfg)
        except Exception as error:
            raised.append(error)

    with explained_faults(hydra, verb, [lines]):
        hydra.run(verb, collect, ["hydra.run.dir=.", *NO_HYDRA_OUTPUT, *lines], with_log_configuration=False)
    for error in raised:
        raise error


def _sweep(
    hydra: Any,
    verb: str,
    job: Callable[..., str | None],
    overrides: list[Override],
    name: str | None,
    temporary: Path | None,
) -> int:
    """Run every combination of the overrides, and every task of the suite called `name`; returns the exit code.

    `temporary` is the folder of a fast_dev_run, which replaces the outputs.
    """
    with explained_faults(hydra, verb, [[f"{GROUP}={name}"] if name else []]):
        suite = (name, compose_suite(hydra, verb, name)) if name else None
    overrides = add_like(verb, expand_suite(overrides, *suite) if suite else overrides)
    job = partial(job, temporary=temporary)
    outputs = temporary or Path(value_of(overrides, "paths.outputs", "outputs")).expanduser()
    if "${" in str(outputs):
        raise InputError(f"paths.outputs={outputs}: the folder of a sweep can't contain ${{...}}.")
    lines, sweeper = as_lines(verb, overrides), value_of(overrides, "hydra/sweeper", "basic")
    check_sweep(overrides, sweeper)
    with explained_faults(hydra, verb, combinations(lines)):
        return sweep(hydra, verb, job, lines, outputs, sweeper, suite)


def _check_and_run(cfg: DictConfig, verb: str, config_dir: str | None, temporary: Path | None = None) -> str | None:
    """Check a composed config and run the verb; returns the run folder, if it made one.

    Hydra calls it for each config, in another process if a sweep's launcher starts some. `temporary` is the folder of
    a sweep that is a fast_dev_run.
    """
    from ssl_cli.config.check import check  # the classes whose signatures it reads import torch

    _make_user_classes_importable()
    search_first(config_dir)
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
    check_options_of_modality(verb, cfg, list(map(parse_override, words)))
    check(cfg, verb)
    in_sweep = not OmegaConf.is_missing(HydraConfig.get().job, "num")
    with fast_dev_run.shortened(cfg, temporary, in_sweep=in_sweep):
        return _run(cfg, verb)


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
    for name in options_of_text_alone(verb, modality_of_data(cfg)):
        cfg.pop(name, None)
        cfg.choices.pop(name, None)
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
    if fast_dev_run.n_steps(cfg):
        fast_dev_run.report_end()
    console.say_bare(str(output))
    return str(output)


def _resume(line: CommandLine, verb: str, name: str, overrides: list[Override]) -> int:
    """Resume a run from its checkpoint, in its folder, with its config and the changes of the command line.

    Only classes of ssl_cli are built from a run folder, and those of the package that `trust=` names.
    """
    from ssl_cli.config.check import check  # the classes whose signatures it reads import torch
    from ssl_cli.runs.loggers.base import check_destinations

    if ignored := [name for name in ("--config-dir", "--info") if name in line.flags]:
        raise InputError(f"{ignored[0]} has no effect with resume=: the run has its own config, whole. Leave it out.")
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
    if fast_dev_run.n_steps(cfg) and not is_worker():
        raise InputError(f"{folder} is a fast_dev_run, which learned nothing: start one without {fast_dev_run.OPTION}.")
    check_digests_to_resume(folder)
    check_targets(cfg, folder, tuple(trusted.split()))
    check(cfg, verb, on_this_machine=False)  # its devices may be those of another machine, and change below
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
    if "--cfg" in line.flags:
        show_config(cfg, line.flags["--cfg"], line.flags.get("--package"), "--resolve" in line.flags)
    else:
        _run(cfg, verb)
    return 0
