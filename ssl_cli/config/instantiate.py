"""The pieces of a config: YAML files, values as the command line writes them, `_target_` nodes and what they build."""

import importlib
import pathlib
import re
from collections.abc import Callable
from typing import Any

import hydra.utils
import yaml
from hydra.errors import InstantiationException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ssl_cli.config.choices import choices
from ssl_cli.errors import InputError


def _by_kind(of_table: Any, of_image: Any, *, _root_: DictConfig) -> Any:
    """`${by_kind:A,B}` in a model's YAML: A where the data are tables, B where they are images."""
    target = OmegaConf.select(_root_, "data._target_")
    try:
        kind = getattr(hydra.utils.get_object(str(target)), "kind", "table")
    except Exception:  # a class that can't be imported: `check` says so
        kind = "table"
    return of_image if kind == "image" else of_table


def _by_start(at_random: Any, pretrained: Any, *, _root_: DictConfig) -> Any:
    """`${by_start:A,B}` in the YAML of ssl finetune: A where the weights start at random, B where they are given."""
    return at_random if OmegaConf.select(_root_, "init") in (None, "none") else pretrained


OmegaConf.register_new_resolver("by_start", _by_start, replace=True)
OmegaConf.register_new_resolver("by_kind", _by_kind, replace=True)


def as_text(value: Any) -> str:
    """A plain value as the command line writes it: null, true, [a, b]."""
    if isinstance(value, list | ListConfig):
        return f"[{', '.join(as_text(item) for item in value)}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def in_quotes(text: Any) -> str:
    """A text as Hydra's grammar reads it back, whatever is in it: in quotes, where it isn't plain."""
    if re.fullmatch(r"[\w./+-]+", str(text)):
        return str(text)
    return quoted(str(text))


def quoted(text: str) -> str:
    """A text in quotes, as Hydra's grammar reads it back."""
    escaped = re.sub(r"(\\+)(?='|$)", r"\1\1", text).replace("'", "\\'")  # before a quote alone does one escape
    return f"'{escaped}'"


def read_yaml(path: pathlib.Path) -> DictConfig:
    """A YAML file's mapping. Raises InputError where it can't be read, or holds none."""
    try:
        content = OmegaConf.load(path)
    except (yaml.YAMLError, ValueError, OSError, OmegaConfBaseException) as error:
        raise InputError(f"{path} is no sound YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(content, DictConfig):
        raise InputError(f"{path} holds no mapping of options to values.")
    return content


def target_of(group: str, name: str, heirs: tuple[str, ...] = ()) -> str | None:
    """The class that a choice names: itself, or through the choices of its group that it inherits from by `defaults`.

    None where nothing names one. Raises InputError where a YAML can't be read.
    """
    known = choices(group)
    if name in heirs or name not in known:
        return None
    content = read_yaml(known[name].path)
    entries = content.get("defaults") or []
    found = None
    for entry in [*entries, *([] if "_self_" in entries else ["_self_"])]:  # as Hydra does: the last one counts
        if entry == "_self_":
            own = OmegaConf.to_container(content, resolve=False)
            found = own.get("_target_") or found  # type: ignore[union-attr]
        elif isinstance(entry, str):
            parent = entry.removesuffix("@_here_").removeprefix(f"/{group}/")
            found = target_of(group, parent, (*heirs, name)) or found
    return found


def build(node: DictConfig, **extra: Any) -> Any:
    """The object that a `_target_` node describes, built from the inside out.

    Raises InputError where the constructor finds its input at fault.
    """
    try:
        return hydra.utils.instantiate(node, _convert_="all", **extra)
    except InstantiationException as error:
        # The constructor's own exception: an InputError is the user's to mend, any other a bug of ours.
        raise (error.__cause__ or error) from None


def locate(dotted: str) -> Any:
    """The class or function that a `_target_` names; InputError where there is none."""
    module, _, name = str(dotted).rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except Exception as error:  # importing runs the user's own module, and anything may be wrong in it
        raise InputError(f"names {dotted}, which can't be imported ({type(error).__name__}: {error})") from error


def names_where(group: str, holds: Callable[[Any], bool]) -> list[str]:
    """The choices of a config group whose class has a property."""
    names = []
    for name in choices(group):
        try:
            target = locate(str(target_of(group, name)))
        except (InputError, OmegaConfBaseException):
            continue
        if holds(target):
            names.append(name)
    return names


def class_of(cfg: DictConfig, key: Any) -> Any:
    """Of the node called `key`; None where there is none, or none that can be imported."""
    try:
        return locate(cfg[key]["_target_"])
    except (InputError, OmegaConfBaseException, KeyError, TypeError):
        return None


def chosen(node: DictConfig, group: str) -> str:
    """What the command line chose of a group, in the config that holds the node."""
    root = node._get_root()
    return str(OmegaConf.select(root, f"choices.{group}", default="?"))
