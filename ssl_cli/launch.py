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
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ssl_cli import console, runs
from ssl_cli.catalog import built_in_conf, choices, conf_folders, groups, nearest
from ssl_cli.config import SHELLS, RunConfig, in_quotes
from ssl_cli.errors import InputError
from ssl_cli.ranks import is_worker
from ssl_cli.sweeps import QUIET, sweep
from ssl_cli.vetting import refuse_foreign_targets

INTERNAL = {"verb", "choices", "facts", "headline"}
HYDRAS_OWN = {
    "hydra.mode": "a sweep is -m",
    "hydra.sweep.dir": "sweeps go to paths.outputs",
    "hydra.job.chdir": "paths are relative to where you are",
}
OTHER_DEVICES = (
    "This run was begun on {before} device(s) and goes on with {now}: each step still takes the same rows, but they "
    "are parted otherwise, so that sums round otherwise and each device draws other noise. It ends near to where it "
    "would have ended, not at the same bits."
)
TAKE_LISTS = {"logger"}  # groups of which a run may have several choices
FLAGS = ("-m", "--multirun", "--resolve")


class UserConfigs(SearchPathPlugin):
    """Puts `conf/` of the working directory before our own."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for folder in conf_folders()[:-1]:
            search_path.prepend("user", f"file://{folder}")


def launch(verb: str, arguments: list[str]) -> int:
    """Run a verb. Returns the exit code; raises InputError for what is wrong with the command line or the config."""
    _see_users_classes()
    flags, kind, words = _sort(arguments)
    overrides = [_parse(word) for word in words]
    resumed = _given(overrides, "resume", "null")
    sweeping = bool({"-m", "--multirun"} & flags)
    _check_choices(overrides, sweeping)
    if sweeping and not issubclass(SHELLS[verb], RunConfig):
        raise InputError(f"ssl {verb} makes no runs to compare: leave out -m.")
    if sweeping and any(override.key_or_group == "resume" for override in overrides):
        raise InputError("resume= goes on with one run: leave out -m.")
    if resumed != "null" and issubclass(SHELLS[verb], RunConfig):
        return _resume(verb, resumed, overrides, only_show=kind is not None)
    with _hydra(verb) as hydra:
        lines = [_forced(override) for override in overrides]
        job = partial(_job, verb=verb)
        if kind:
            hydra.show_cfg(verb, lines, kind, package=None, resolve="--resolve" in flags)
        elif sweeping:
            outputs = Path(_given(overrides, "paths.outputs", "outputs")).expanduser()
            if "${" in str(outputs):
                raise InputError(f"paths.outputs={outputs}: name the folder of a sweep without ${{...}}.")
            return sweep(hydra, verb, job, lines, outputs, _given(overrides, "hydra/sweeper", "basic"))
        else:
            faults: list[InputError] = []
            hydra.run(verb, _telling(job, faults), ["hydra.run.dir=.", *QUIET, *lines], with_log_configuration=False)
            for fault in faults:
                raise fault
    return 0


# --- the words of the command line --------------------------------------------------------------------------


def _sort(arguments: list[str]) -> tuple[set[str], str | None, list[str]]:
    """Flags, what `--cfg` asks for, and the overrides."""
    flags, kind, words = set(), None, []
    rest = iter(arguments)
    for word in rest:
        if word in ("--cfg", "-c"):
            kind = next(rest, "")
            if kind not in ("job", "hydra", "all"):
                raise InputError(f"--cfg takes job, hydra or all, not {kind or 'nothing'}.")
        elif word in FLAGS:
            flags.add(word)
        elif word.startswith("~") or ("=" in word and not word.startswith("-")):
            words.append(word)
        else:
            raise InputError(
                f"{word} is neither an option=value nor a flag; flags are -m, --cfg job, --resolve, --help."
            )
    return flags, kind, words


def _parse(word: str) -> Override:
    """One override. A value that Hydra's grammar can't read (a path with blanks or in Chinese) is quoted for it."""
    parser = OverridesParser.create()
    try:
        return parser.parse_override(word)
    except HydraException as error:
        key, _, value = word.partition("=")
        try:
            return parser.parse_override(f"{key}={in_quotes(value)}")
        except HydraException:
            raise InputError(f"{word} can't be read as option=value: {str(error).splitlines()[0]}.") from error


def _given(overrides: list[Override], key: str, default: str) -> str:
    """The last value that the command line gives an option, where it gives one alone."""
    given = [override for override in overrides if override.key_or_group == key and not override.is_sweep_override()]
    value = given[-1].value() if given else None
    return default if value is None else str(value)


def _forced(override: Override) -> str:
    """The override, allowed to name anything: `check` then says all that is wrong in one message."""
    if override.key_or_group.split(".")[0] in INTERNAL:
        raise InputError(f"{override.key_or_group} is not an option: ssl sets it by itself.")
    if override.key_or_group in HYDRAS_OWN:
        raise InputError(
            f"{override.key_or_group} is not for the command line of ssl: {HYDRAS_OWN[override.key_or_group]}."
        )
    text = str(override.input_line)
    is_group = override.key_or_group.split("@")[0] in groups() or "/" in override.key_or_group
    is_hydra = override.key_or_group.split(".")[0] == "hydra"
    return text if is_group or is_hydra or text[0] in "+~" else f"++{text}"


def _check_choices(overrides: list[Override], sweeping: bool) -> None:
    faults = []
    for override in overrides:
        several = override.is_sweep_override()
        if several and not sweeping:
            faults.append(
                f"{override.input_line} lists several values: "
                "add -m to sweep over them, or [..] around them for a list."
            )
        group = override.key_or_group
        if group in groups() and not override.is_delete():
            known = choices(group)
            if group not in TAKE_LISTS and any("[" in text for text in _texts(override)):
                faults.append(f"{group} takes one choice; `-m {group}=NAME,NAME` compares several.")
                continue
            for name in _names(override):
                if name not in known:
                    faults.append(f"{group}={name} is no choice.{nearest(name, known)} It has {', '.join(known)}.")
    if faults:
        raise InputError("\n".join(faults))


def _names(override: Override) -> list[str]:
    """The choices that it names, alone, in a list or in a sweep; none for a glob, which finds only what there is."""
    return [name.strip("'\" ") for text in _texts(override) for name in text.strip("[]").split(",") if name]


def _texts(override: Override) -> list[str]:
    """What it gives a group, a text each time: `csv`, or `[tensorboard,mlflow]`."""
    if override.value_type == ValueType.GLOB_CHOICE_SWEEP:
        return []
    if override.value_type in (ValueType.INTERVAL_SWEEP, ValueType.RANGE_SWEEP):
        return [str(override.input_line).partition("=")[2]]  # no choice has such a name
    if override.is_sweep_override():
        return list(override.sweep_string_iterator())
    value = override.value()
    return [f"[{','.join(map(str, value))}]" if isinstance(value, list) else str(value)]


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


def _job(cfg: DictConfig, verb: str) -> str:
    """What Hydra calls with each composed config: check it, run the verb; returns the run folder.

    May be called in another process, where a sweep's launcher starts some.
    """
    from ssl_cli.checking import check  # the signatures that it reads import torch

    _see_users_classes()
    OmegaConf.set_struct(cfg, False)
    if cfg.get("resume") is not None and issubclass(SHELLS[verb], RunConfig):
        raise InputError("resume is for the command line: `ssl VERB resume=RUN`.")
    chosen = HydraConfig.get().runtime.choices
    cfg.choices = {group: name for group, name in chosen.items() if not group.startswith("hydra/")}
    words: Any = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)  # ${...} is for the config
    for override in map(_parse, words):
        if isinstance(override.value(), list) and override.key_or_group in groups():
            cfg.choices[override.key_or_group] = ",".join(_names(override))  # Hydra names no list of choices
    check(cfg, verb)
    return _run(cfg, verb)


def _telling(job: Callable[[DictConfig], str], faults: list[InputError]) -> Callable[[DictConfig], None]:
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


def _run(cfg: DictConfig, verb: str) -> str:
    """Run the verb. The last line printed is the run folder's path, bare, for scripts to read."""
    folder = str(import_module(f"ssl_cli.commands.{verb}").run(cfg))
    console.say_bare(folder)
    return folder


def _resume(verb: str, name: str, overrides: list[Override], only_show: bool) -> int:
    """Go on with a run from its checkpoint, in its folder, with its config and what the command line changes.

    Only our own classes are built from a run folder, and those of the package that `trust=` names.
    """
    from ssl_cli.checking import check  # the signatures that it reads import torch
    from ssl_cli.tracking import refuse_unasked_places

    trusted = _given(overrides, "trust", "")
    plain = {override.key_or_group: override.value() for override in overrides if override.key_or_group != "trust"}
    shell = SHELLS[verb]
    assert issubclass(shell, RunConfig)
    changeable = shell.changeable
    if fixed := [key for key in plain if key not in changeable and not key.startswith("logger.")]:
        raise InputError(
            f"{', '.join(fixed)} can't change in a resumed run: it goes on with its own data and model. "
            f"What can: {', '.join([*sorted(changeable), 'logger.*'])}."
        )
    folder = runs.find_run(name, _given(overrides, "paths.outputs", "outputs"), verb)
    cfg = runs.read_config(folder)
    if cfg.verb != verb:
        raise InputError(f"{folder} is a run of ssl {cfg.verb}: say `{runs.go_on(cfg.verb, folder)}`.")
    refuse_foreign_targets(cfg, folder, tuple(trusted.split()))
    check(cfg, verb)
    if not is_worker():  # which tells no logger anything
        refuse_unasked_places(cfg, folder, set(plain))
    before = cfg.trainer.devices * cfg.trainer.num_nodes
    for key, value in plain.items():
        OmegaConf.update(cfg, key, value, force_add=True)
    if "optim.lr" in plain:
        cfg.optim.algorithm.lr = cfg.optim.lr  # a saved config is resolved: nothing refers to anything any more
    check(cfg, verb)
    if before != (now := cfg.trainer.devices * cfg.trainer.num_nodes):
        console.say(OTHER_DEVICES.format(before=before, now=now))
    cfg.resume = str(folder)
    if only_show:
        print(OmegaConf.to_yaml(cfg), end="")
    else:
        _run(cfg, verb)
    return 0
