"""Safety checks on a run folder, which may be untrusted: what is rejected before anything in it is used.

Reading a run folder runs no code, writes nothing outside it, and takes no more memory than its files do. The readers
ensure some of that (safetensors, torch's `weights_only`); the rest is checked here. Imports no torch.
"""

import importlib.util
import inspect
import json
import os
import re
import stat
import sys
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, ListConfig, OmegaConf

from ssl_cli.config.instantiate import invalid_yaml, locate, read_yaml
from ssl_cli.config.verbs import VERBS, unused_options
from ssl_cli.errors import InputError

MAX_TEXT_BYTES = 1 << 20  # of a config, or of a JSON file of facts and figures
MAX_INTEGER = 1 << 63
MAX_LEVELS = 20  # levels of a config; a run's own has five
LONE_SURROGATE = re.compile("[\ud800-\udfff]")
# No longer number is ours. To read YAML's 1:59:59, which is to the base of 60, takes time squared in its length.
MAX_NUMBER_CHARS, NUMBER = 100, re.compile(r"[-+]?\.?[0-9][0-9a-fA-FxX_:.]*$")
# The modules of the classes that each section of a run's config may name as a `_target_`.
ALLOWED_MODULES = {
    "model": ("ssl_cli.methods.", "ssl_cli.models.", "ssl_cli.data.images.augment.", "torch.nn.modules."),
    "data": ("ssl_cli.data.",),
    "tokenizer": ("ssl_cli.data.",),
    "task": ("ssl_cli.tasks.", "ssl_cli.data.labelled.", "ssl_cli.data.images.augment."),
    "optim": ("torch.optim.", "ssl_cli.training.muon."),
    "logger": ("ssl_cli.runs.loggers.tensorboard.", "ssl_cli.runs.loggers.wandb.", "ssl_cli.runs.loggers.mlflow."),
}
CLASS_OF_SSL = re.compile(r"ssl_cli(\.[a-z_]\w*)+\.[A-Z]\w*")
SECTIONS = ("model", "data", "task", "tokenizer", "optim", "optim.optimizer", "trainer", "paths", "choices", "facts")
CHOICE = re.compile(r"\w[\w .+,-]*(/\w[\w .+,-]*)*")  # several loggers, with commas; task=glue/sst2
TENSORS, CHECKPOINT = ".safetensors", ".ckpt"  # suffixes
OF_FILES = (".json", ".jsonl", ".yaml", ".txt", ".csv", ".parquet", ".html", TENSORS)  # no folder of a run ends so


# --- the files ----------------------------------------------------------------------------------------------


def check_files(folder: Path) -> None:
    """Raise InputError for anything in a run folder that is no plain file or folder, and for a pickle or a zip bomb.

    A link could make a run write elsewhere (log.txt -> ~/.bashrc) or read a file outside it; a pipe never ends.
    """
    for parent, folders, files in os.walk(str(folder)):
        for path in (Path(parent, name) for name in [*folders, *files]):
            try:
                mode = path.lstat().st_mode
            except FileNotFoundError:
                continue  # a run in progress has moved it in the meantime
            if stat.S_ISLNK(mode):
                raise InputError(f"{path} is a link: a run folder holds its own files only. Put the file in its place.")
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                raise InputError(f"{path} is neither a file nor a folder: a run folder holds nothing else.")
            if stat.S_ISDIR(mode) and path.parent == folder and path.suffix in OF_FILES:
                raise InputError(f"{path} is a folder: a run has a file of that name. Move the folder away.")
            if stat.S_ISREG(mode) and path.suffix in (TENSORS, CHECKPOINT):
                _check_model_file(path)


def _check_model_file(path: Path) -> None:
    """Raise InputError for a pickle or a zip bomb, by its content, whatever its name."""
    try:
        with path.open("rb") as file:
            start = file.read(9)
        is_zip = zipfile.is_zipfile(path) and path.suffix == CHECKPOINT
        entries = zipfile.ZipFile(path).infolist() if is_zip else []
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return  # damaged: its reader reports that
    # The first bytes of a pickle give its protocol. The header of a safetensors file may be 0x0280 bytes long, but
    # begins with a brace.
    if start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05" and start[8:] != b"{":
        raise InputError(f"{path} is a pickle: it holds more than numbers, and would run code. It is not read.")
    if path.suffix == TENSORS and start[:4] == b"PK\x03\x04":
        raise InputError(f"{path} is a zip, as torch.save makes it: it may hold more than numbers. It is not read.")
    if sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise InputError(f"{path} would unpack to more than its size: ssl compresses nothing in it. It is not read.")


def read_text(path: Path, max_bytes: int = MAX_TEXT_BYTES) -> str:
    """Return a text file of a run folder. Raises InputError if it is larger than `max_bytes`, or not UTF-8."""
    try:
        if path.stat().st_size > max_bytes:
            raise InputError(f"{path} is damaged: it has {path.stat().st_size:,} bytes, and may have {max_bytes:,}.")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is damaged: {error}.") from error


def read_json_object(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file of a run folder. Raises InputError if the file holds something else."""
    try:
        content = json.loads(read_text(path))
    except InputError:
        raise
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is damaged: line {error.lineno:,} is not JSON ({error.msg}).") from error
    except RecursionError as error:
        raise InputError(f"{path} is damaged: it is nested too deeply.") from error
    except ValueError as error:  # a number of thousands of digits
        raise InputError(f"{path} is damaged: it has a number that is too long ({error}).") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is damaged: it must be an object.")
    return content


def check_are_numbers(path: Path, content: dict[str, Any], names: list[str]) -> None:
    """Raise InputError if one of these entries of a JSON file is not a number."""
    for name in names:
        value = content[name]
        is_too_large = isinstance(value, int) and abs(value) > MAX_INTEGER
        if isinstance(value, bool) or not isinstance(value, int | float) or is_too_large:
            raise InputError(f"{path} is damaged: {name[:100]} must be a number, not {repr(value)[:100]}.")


# --- the config ---------------------------------------------------------------------------------------------


def read_saved_config(path: Path) -> DictConfig:
    """Return the config that a run has saved, plain and resolved.

    Raises InputError for one that ssl cannot have written. `data.cache` is set to null (see `saved_cache`) and
    `data.download` to false.
    """
    _check_yaml(path, read_text(path))
    cfg = read_yaml(path)
    for section in SECTIONS:
        if not isinstance(OmegaConf.select(cfg, section, default=DictConfig({})), DictConfig):
            raise InputError(f"{path} is damaged: {section} must be a group of options.")
    verb, chosen = cfg.get("verb"), cfg.get("choices") or DictConfig({})
    # Verb and choices become parts of paths and of printed commands.
    verbs = [name for name, spec in VERBS.items() if spec.makes_runs]
    if verb not in verbs:
        raise InputError(f"{path} is damaged: verb must be {' or '.join(verbs)}, not {str(verb)[:100]!r}.")
    for group, name in chosen.items():
        if name is not None and not (isinstance(name, str) and CHOICE.fullmatch(name)):
            raise InputError(f"{path} is damaged: choices.{group!s} must be a plain name, not {str(name)[:100]!r}.")
    if not all(isinstance(name, str) for name in cfg.get("summary_metrics") or []):
        raise InputError(f"{path} is damaged: summary_metrics must be a list of names of metrics.")
    for name in sorted(unused_options(verb)):
        if not (cfg.get(name) is None or cfg.get(name) is False):
            raise InputError(f"{path} is damaged: {name} is set, which is for the command line: no run saves it.")
    _clear_writes(cfg)
    return cfg


def _clear_writes(cfg: DictConfig) -> None:
    """Clear the data's options by which files are written: the user decides where to, and not the run folder."""
    data = cfg.get("data")
    modules = ALLOWED_MODULES["data"]
    if isinstance(data, DictConfig) and str(data.get("_target_")).startswith(modules):
        data.update({name: off for name, off in (("cache", None), ("download", False)) if name in data})


def saved_cache(path: Path) -> str | None:
    """Return the `data.cache` that a checked config file names, which `read_saved_config` clears."""
    return OmegaConf.select(read_yaml(path), "data.cache")


def _check_yaml(path: Path, text: str) -> None:
    """Raise InputError for YAML and OmegaConf features that a resolved config does not need, such as tags.

    libyaml reads ahead, and may give up on deep nesting before it is seen here; the parser in Python then reads again.
    """
    fast = getattr(yaml, "CSafeLoader", None)
    try:
        if fast:
            with suppress(yaml.YAMLError):
                return _check_yaml_events(path, yaml.parse(text, Loader=fast))
        _check_yaml_events(path, yaml.parse(text, Loader=yaml.SafeLoader))
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(invalid_yaml(path, error)) from error


def _check_yaml_events(path: Path, events: Iterator[Any]) -> None:
    depth = 0
    for event in events:
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_LEVELS:
            raise InputError(f"{path} is not a run's config: it has more than {MAX_LEVELS} levels; ours have five.")
        if getattr(event, "anchor", None):
            raise InputError(f"{path} is not a run's config: it has an anchor or an alias (&, *), {event.anchor}.")
        if getattr(event, "tag", None) not in (None, "!"):
            raise InputError(f"{path} is not a run's config: it has the tag {event.tag}, which may stand for code.")
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > MAX_NUMBER_CHARS and NUMBER.match(event.value):
            raise InputError(f"{path} is not a run's config: it has a number of {len(event.value):,} characters.")
        if isinstance(event, yaml.ScalarEvent) and LONE_SURROGATE.search(event.value):
            raise InputError(f"{path} is not a run's config: it has text that is no Unicode, {event.value[:100]!r}.")
        if isinstance(event, yaml.ScalarEvent) and ("${" in event.value or event.value == "???"):
            raise InputError(f"{path} is not a run's config: {event.value[:100]} is unresolved.")


def check_targets(cfg: DictConfig, folder: Path, trust: tuple[str, ...] = ()) -> None:
    """Raise InputError for a `_target_` that must not be built, and for other keys that change how objects are built.

    Allowed are ssl's own classes and torch's, each in its section, and those of the packages named in `trust`, but
    nothing of Python's or of ssl itself.
    """
    if unsafe := [name for name in trust if name in sys.stdlib_module_names or name == "ssl_cli"]:
        raise InputError(f"trust={unsafe[0]}: name your own package; {unsafe[0]} holds more than classes of a run.")
    for section, node in _groups(cfg, ""):
        for key in map(str, node):
            is_known = key == "_target_" or (key == "_partial_" and section == "optim.optimizer")
            if key.startswith("_") and not is_known:
                raise InputError(f"{folder}: its config has {section}.{key}, which ssl never saves: it isn't built.")
        if "_target_" in node and (target := str(node["_target_"])).split(".")[0] not in trust:
            _check_target(target, section, folder)


def _check_target(target: str, section: str, folder: Path) -> None:
    if _was_renamed(target):
        raise InputError(
            f"{folder} was made by an earlier version of ssl: its config names {target}, which this version doesn't "
            "have. Train it again."
        )
    if not _is_own_class(target):
        raise InputError(
            f"{folder} names {target}, which isn't one of ssl's own classes: building it would run its code. "
            f"{_how_to_trust(target.split('.')[0])}"
        )
    if not target.startswith(ALLOWED_MODULES.get(section.split(".")[0], ())):
        raise InputError(f"{folder}: {section} names {target}, which is no class for it.")


def _how_to_trust(package: str) -> str:
    """Return how the user can have classes of a package built; only a package of the user's own is to be trusted."""
    if _is_of_others(package) or not package.isidentifier():
        return "It is not built."
    try:
        found = importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        found = False
    advice = f"If the run is yours, trust it: `trust={package}`, or load(..., trust=({package!r},)) in Python."
    return advice if found else f"{advice} Run that in the folder that has {package}: there is none here."


def _is_of_others(package: str) -> bool:
    """Return whether a package is Python's, ssl's, or an installed one: none is the user's own."""
    return package in sys.stdlib_module_names or package == "ssl_cli" or package in packages_distributions()


def _was_renamed(target: str) -> bool:
    """Return whether the target names a class in ssl_cli that does not exist, as configs of earlier versions do."""
    if not CLASS_OF_SSL.fullmatch(target):
        return False
    try:
        locate(target)
    except InputError as error:
        cause = error.__cause__
        if isinstance(cause, ModuleNotFoundError):  # of ssl_cli itself, not of a package that it needs
            return str(cause.name).startswith("ssl_cli.")
        return isinstance(cause, AttributeError) and cause.name == target.rpartition(".")[2]
    return False


def _is_own_class(target: str) -> bool:
    """Return whether a target is a class, named by the module that defines it.

    A check of the prefix alone would let through everything that the modules import.
    """
    modules = tuple(module for section in ALLOWED_MODULES.values() for module in section)
    if not target.startswith(modules):
        return False
    try:
        cls = locate(target)
    except InputError:
        return False
    return inspect.isclass(cls) and f"{cls.__module__}.".startswith(modules) and not getattr(cls, "_is_protocol", False)


def _groups(node: Any, name: str) -> Iterator[tuple[str, DictConfig]]:
    """Yield (dotted name, node) for every group of options."""
    if isinstance(node, DictConfig):
        yield name, node
    items = node.items() if isinstance(node, DictConfig) else enumerate(node) if isinstance(node, ListConfig) else ()
    for key, child in items:
        yield from _groups(child, f"{name}.{key!s}" if name else str(key))
