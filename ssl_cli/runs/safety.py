"""A run folder may be a stranger's: what is refused of it, in words, before anything in it is used.

Reading a run folder runs no code, writes nothing outside it, and takes no more memory than its files do. Some of that
the readers see to (safetensors, skops, torch's `weights_only`); what they leave open is refused here. Imports no torch.
"""

import inspect
import json
import os
import re
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, ListConfig, OmegaConf

from ssl_cli.config import SHELLS, used_options
from ssl_cli.config.instantiate import locate, read_yaml
from ssl_cli.config.run import RunConfig
from ssl_cli.errors import InputError

LARGEST_TEXT = 1 << 20  # bytes of a config, or of a JSON of facts and figures
DEEPEST = 20  # levels of a config; ours have five
# Where the classes live that a part of a run's config may name as a `_target_`.
HOMES = {
    "model": ("ssl_cli.methods.", "ssl_cli.models.", "torch.nn.modules."),
    "data": ("ssl_cli.data.",),
    "tokenizer": ("ssl_cli.data.",),
    "task": ("ssl_cli.tasks.",),
    "optim": ("torch.optim.",),
    "logger": ("ssl_cli.runs.loggers.backends.",),
}
SECTIONS = ("model", "data", "task", "tokenizer", "optim", "optim.optimizer", "trainer", "paths", "choices", "facts")
CHOICE = re.compile(r"\w[\w .+,-]*(/\w[\w .+,-]*)*")  # several loggers, with commas; task=glue/sst2
TENSORS, ZIPS = (".safetensors",), (".ckpt", ".skops")


# --- the files ----------------------------------------------------------------------------------------------


def refuse_odd_files(folder: Path) -> None:
    """Raise InputError for anything in a run folder that is no plain file or folder, and for a pickle or a zip bomb.

    A link could have a run write elsewhere (log.txt -> ~/.bashrc) or read what isn't its own; a pipe never ends.
    """
    for place, folders, files in os.walk(str(folder)):
        for path in (Path(place, name) for name in [*folders, *files]):
            try:
                mode = path.lstat().st_mode
            except FileNotFoundError:
                continue  # a run at work has moved it meanwhile
            if stat.S_ISLNK(mode):
                raise InputError(f"{path} is a link: a run folder holds its own files only. Put the file in its place.")
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                raise InputError(f"{path} is neither a file nor a folder: a run folder holds nothing else.")
            if stat.S_ISREG(mode) and path.suffix in (*TENSORS, *ZIPS):
                _refuse_disguise(path)


def _refuse_disguise(path: Path) -> None:
    """What a model's file is, by its first bytes, whatever its name."""
    try:
        with path.open("rb") as file:
            start = file.read(9)
        is_zip = zipfile.is_zipfile(path) and path.suffix in ZIPS
        entries = zipfile.ZipFile(path).infolist() if is_zip else []
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return  # damaged: whoever reads it says so
    # A pickle's protocol; the header of a safetensors file may be 0x0280 bytes long, but begins with a brace.
    if start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05" and start[8:] != b"{":
        raise InputError(f"{path} is a pickle: it holds more than numbers, and would run code. It is not read.")
    if path.suffix in TENSORS and start[:4] == b"PK\x03\x04":
        raise InputError(f"{path} is a zip, as torch.save makes it: it may hold more than numbers. It is not read.")
    if sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise InputError(f"{path} would unpack to more than its size: we pack nothing, so it is none of ours.")


def read_text(path: Path, largest: int = LARGEST_TEXT) -> str:
    """A text of a run folder. Raises InputError where it is larger than one of ours can be, or no UTF-8."""
    try:
        if path.stat().st_size > largest:
            raise InputError(f"{path} is damaged: it has {path.stat().st_size:,} bytes, and may have {largest:,}.")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is damaged: {error}.") from error


def read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file of a run folder."""
    try:
        content = json.loads(read_text(path))
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged: {error}.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is damaged: it must be an object.")
    return content


def refuse_no_number(path: Path, content: dict[str, Any], names: list[str]) -> None:
    """Raise InputError where one of these entries of a JSON file is no number."""
    for name in names:
        value = content[name]
        too_large = isinstance(value, int) and abs(value) > 1 << 63
        if isinstance(value, bool) or not isinstance(value, int | float) or too_large:
            raise InputError(f"{path} is damaged: {name[:100]} must be a number, not {repr(value)[:100]}.")


# --- the config ---------------------------------------------------------------------------------------------


def read_saved_config(path: Path) -> DictConfig:
    """The config that a run has saved: plain and resolved. Raises InputError for one that we didn't write."""
    _refuse_odd_yaml(path, read_text(path))
    cfg = read_yaml(path)
    for section in SECTIONS:
        if not isinstance(OmegaConf.select(cfg, section, default=DictConfig({})), DictConfig):
            raise InputError(f"{path} is damaged: {section} must be a group of options.")
    verb, chosen = cfg.get("verb"), cfg.get("choices") or DictConfig({})
    # These become parts of paths and of commands that are told.
    verbs = [name for name, shell in SHELLS.items() if issubclass(shell, RunConfig)]
    if verb not in verbs:
        raise InputError(f"{path} is damaged: verb must be {' or '.join(verbs)}, not {str(verb)[:100]!r}.")
    for group, name in chosen.items():
        if name is not None and not (isinstance(name, str) and CHOICE.fullmatch(name)):
            raise InputError(f"{path} is damaged: choices.{group!s} must be a plain name, not {str(name)[:100]!r}.")
    if not all(isinstance(name, str) for name in cfg.get("summary_metrics") or []):
        raise InputError(f"{path} is damaged: summary_metrics must be a list of names of metrics.")
    for name in sorted(used_options(verb)):
        if not (cfg.get(name) is None or cfg.get(name) is False):
            raise InputError(f"{path} is damaged: {name} is set, which is for the command line: no run saves it.")
    _forget_cache(cfg)
    return cfg


def _forget_cache(cfg: DictConfig) -> None:
    """Decoded images and tokens are written there, so whoever opens the run says where; the config has no say."""
    data = cfg.get("data")
    if isinstance(data, DictConfig) and str(data.get("_target_")).startswith(HOMES["data"]) and "cache" in data:
        data.cache = None


def forgotten_cache(path: Path) -> str | None:
    """What a config, read before, says of it"""
    return OmegaConf.select(read_yaml(path), "data.cache")


def _refuse_odd_yaml(path: Path, text: str) -> None:
    """What YAML and OmegaConf would let a file do while it is read, none of which a resolved config needs."""
    depth = 0
    try:
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST:
                raise InputError(f"{path} is no config of a run: it is more than {DEEPEST} levels deep.")
            if getattr(event, "anchor", None):
                raise InputError(f"{path} is no config of a run: it has an anchor or an alias (&, *), {event.anchor}.")
            if getattr(event, "tag", None) not in (None, "!"):
                raise InputError(f"{path} is no config of a run: it has the tag {event.tag}, which may stand for code.")
            if isinstance(event, yaml.ScalarEvent) and ("${" in event.value or event.value == "???"):
                raise InputError(f"{path} is no config of a run: {event.value[:100]} is unresolved, so it isn't read.")
    except yaml.YAMLError as error:
        raise InputError(f"{path} is no sound YAML: {' '.join(str(error).split())}.") from error


def refuse_foreign_targets(cfg: DictConfig, folder: Path, trust: tuple[str, ...] = ()) -> None:
    """Raise InputError for a `_target_` that is no class of our own or torch's where it stands, nor of a trusted
    package; and for what else would change how an object is built."""
    for where, node in _groups(cfg, ""):
        for key in map(str, node):
            ours = key == "_target_" or (key == "_partial_" and where == "optim.optimizer")
            if key.startswith("_") and not ours:
                raise InputError(f"{folder}: its config has {where}.{key}, which no run of ours has: it isn't built.")
        if "_target_" not in node:
            continue
        target = str(node["_target_"])
        package = target.split(".")[0]
        if package not in trust and not _is_own_class(target):
            raise InputError(
                f"{folder} names {target}, which isn't one of ssl's own classes: building it would run its code. "
                f"If the run is yours, trust it: `trust={package}`, or load(..., trust=({package!r},)) in Python."
            )
        section = where.split(".")[0]
        if package not in trust and not target.startswith(HOMES.get(section, ())):
            raise InputError(f"{folder}: {where} names {target}, which is no class for it.")


def _is_own_class(target: str) -> bool:
    """A class where it is defined: a prefix alone would let through whatever our modules import."""
    own = tuple(home for homes in HOMES.values() for home in homes)
    if not target.startswith(own):
        return False
    try:
        found = locate(target)
    except InputError:
        return False
    return (
        inspect.isclass(found) and f"{found.__module__}.".startswith(own) and not getattr(found, "_is_protocol", False)
    )


def _groups(node: Any, where: str) -> Iterator[tuple[str, DictConfig]]:
    """Every group of options, with its dotted name."""
    if isinstance(node, DictConfig):
        yield where, node
    items = node.items() if isinstance(node, DictConfig) else enumerate(node) if isinstance(node, ListConfig) else ()
    for key, child in items:
        yield from _groups(child, f"{where}.{key!s}" if where else str(key))
