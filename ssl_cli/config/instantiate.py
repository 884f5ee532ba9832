"""Reading and instantiating configs: YAML files, `_target_` nodes, and resolvers such as `${by_modality:...}`."""

import importlib
import inspect
import pathlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import hydra.utils
import yaml
from hydra.errors import InstantiationException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ssl_cli.config.choices import choices
from ssl_cli.errors import InputError

# --- resolvers: values that depend on another choice --------------------------------------------------------


def _by(key: Any, values: Mapping[str, Any]) -> Any:
    """Return the value for another option's value: `${by:${..sentence_task},{none: 0, nsp: 2}}`.

    An unknown key gives the first value, so that the config resolves and `check` can report the other option.
    """
    return values.get(key, next(iter(values.values())))


def _by_modality(values: Mapping[str, Any], *, _root_: DictConfig) -> Any:
    """Return the value for the modality of the data: `${by_modality:{table: [64], image: [512, 256]}}`."""
    return _by(modality_of(str(OmegaConf.select(_root_, "data._target_"))), values)


def _by_init(values: Mapping[str, Any], *, _root_: DictConfig) -> Any:
    """Return the value for random (none) or pretrained weights: `${by_init:{none: 5e-4, pretrained: 5e-5}}`."""
    return values["none" if OmegaConf.select(_root_, "init") in (None, "none") else "pretrained"]


def _made_for(name: str, default: Any, *, _root_: DictConfig) -> Any:
    """Return what the class of the model says its data should be: `${made_for:normalization,global}`."""
    try:
        return getattr(locate(str(OmegaConf.select(_root_, "model._target_"))), name, default)
    except InputError:
        return default  # there is no model, or `check` reports that it can't be imported


OmegaConf.register_new_resolver("by", _by, replace=True)
OmegaConf.register_new_resolver("by_modality", _by_modality, replace=True)
OmegaConf.register_new_resolver("made_for", _made_for, replace=True)
OmegaConf.register_new_resolver("by_init", _by_init, replace=True)


def modality_of(target: str) -> str:
    """Return the modality of a data class by its dotted name: ssl_cli.data.images.datasets.Mnist -> image.

    A user's class has the modality of the class of ssl_cli that it inherits from. Returns "" if there is none, or if
    the class can't be imported.
    """
    if match := re.match(r"ssl_cli\.data\.(\w+)\.", target):
        return match[1].removesuffix("s")
    try:
        bases = inspect.getmro(locate(target))[1:]
    except (InputError, AttributeError):
        return ""
    return next(filter(None, (modality_of(f"{base.__module__}.{base.__qualname__}") for base in bases)), "")


# --- values and files ---------------------------------------------------------------------------------------


def as_text(value: Any) -> str:
    """Return a plain value as it is written on the command line: null, true, [a, b]."""
    if isinstance(value, list | ListConfig):
        return f"[{', '.join(as_text(item) for item in value)}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def quote_if_needed(text: Any) -> str:
    """Return a text as Hydra's grammar reads it back: in quotes, unless it has only plain characters."""
    if re.fullmatch(r"[\w./+-]+", str(text), re.ASCII):
        return str(text)
    return quote(str(text))


def quote(text: str) -> str:
    """Return a text in quotes, as Hydra's grammar reads it back."""
    escaped = re.sub(r"(\\+)(?='|$)", r"\1\1", text).replace("'", "\\'")  # a backslash escapes only before a quote
    return f"'{escaped}'"


def unquote(text: str) -> str:
    """Return the text that Hydra's grammar reads in quotes of either sort; a text without quotes as it is."""
    mark = text[:1]
    if len(text) < 2 or mark not in ("'", '"') or text[-1] != mark:
        return text
    return re.sub(rf"(\\+)(?={mark}|$)", lambda match: "\\" * (len(match[0]) // 2), text[1:-1])


def read_yaml(path: pathlib.Path) -> DictConfig:
    """Return the mapping in a YAML file. Raises InputError if it can't be read or is no mapping."""
    try:
        content = OmegaConf.load(path)
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror or error}.") from error
    except (yaml.YAMLError, ValueError, RecursionError, OmegaConfBaseException) as error:
        raise InputError(invalid_yaml(path, error)) from error
    if not isinstance(content, DictConfig):
        raise InputError(f"{path} is not a mapping of options to values.")
    return content


def invalid_yaml(path: str | pathlib.Path, error: Exception) -> str:
    """Return a sentence on a YAML file that can't be read: what, where, and what would be right.

    The words of the parser come last, in brackets: they change with its version.
    """
    mark, character = getattr(error, "problem_mark", None), getattr(error, "character", None)
    if isinstance(error, UnicodeDecodeError):
        return f"{path} is not valid YAML: it must be UTF-8 text."
    if isinstance(error, RecursionError):
        return f"{path} is not valid YAML: it is nested too deeply; a config has a few levels."
    if isinstance(character, int):
        place = getattr(error, "position", 0) + 1
        return f"{path} is not valid YAML: its character {place:,} is U+{character:04X}, which YAML forbids; remove it."
    words = " ".join(str(getattr(error, "problem", None) or error).split()).rstrip(".")[:200]
    if mark is None:
        return f"{path} is not valid YAML: one of its values can't be read; put it in quotes ({words})."
    place = f"line {mark.line + 1:,}, column {mark.column + 1:,}"
    return f"{path} is not valid YAML: {place} can't be read; write one `name: value` a line, each name once ({words})."


def target_of(group: str, name: str, children: tuple[str, ...] = ()) -> str | None:
    """Return the dotted name of a choice's class, from its YAML or one that it inherits from by `defaults`.

    Returns None if none names a class. `children` are the choices that inherit from this one, to stop at a cycle.
    Raises InputError if a YAML can't be read.
    """
    known = choices(group)
    if name in children or name not in known:
        return None
    content = read_yaml(known[name].path)
    entries = content.get("defaults") or []
    target = None
    for entry in [*entries, *([] if "_self_" in entries else ["_self_"])]:  # as in Hydra, the last one wins
        if entry == "_self_":
            own = OmegaConf.to_container(content, resolve=False)
            target = own.get("_target_") or target  # type: ignore[union-attr]
        elif isinstance(entry, str):
            parent = entry.removesuffix("@_here_").removeprefix(f"/{group}/")
            target = target_of(group, parent, (*children, name)) or target
    return target


# --- objects ------------------------------------------------------------------------------------------------


def build(node: DictConfig, **extra: Any) -> Any:
    """Build the object that a `_target_` node describes, inner nodes first.

    Raises InputError if a constructor rejects its arguments.
    """
    try:
        return hydra.utils.instantiate(node, _convert_="all", **extra)
    except InstantiationException as error:
        # Raise the constructor's own exception: InputError for the user to fix, any other is a bug.
        raise (error.__cause__ or error) from None


def locate(dotted: str) -> Any:
    """Import the class or function that a `_target_` names. Raises InputError if it can't be imported."""
    module, _, name = str(dotted).rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except Exception as error:  # a user's module runs on import and may raise anything
        raise InputError(f"names {dotted}, which can't be imported ({type(error).__name__}: {error})") from error


def names_where(group: str, holds: Callable[[Any], bool]) -> list[str]:
    """Return the choices of a config group whose class has a property; those that can't be imported are left out."""
    names = []
    for name in choices(group):
        try:
            target = locate(str(target_of(group, name)))
        except (InputError, OmegaConfBaseException):
            continue
        if holds(target):
            names.append(name)
    return names


def class_of(cfg: Mapping[Any, Any], key: Any) -> Any:
    """Return the class of the node called `key`, or None if it has none that can be imported."""
    try:
        return locate(cfg[key]["_target_"])
    except (InputError, OmegaConfBaseException, KeyError, TypeError):
        return None


def choice_of(node: DictConfig, group: str) -> str:
    """Return the choice of a group in the config that contains the node, "?" if unknown."""
    root = node._get_root()
    return str(OmegaConf.select(root, f"choices.{group}", default="?"))
