"""What the `_target_`s of a config name, and which choices of a group name what."""

import importlib
from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ssl_cli.catalog import choices
from ssl_cli.errors import InputError
from ssl_cli.nodes import target_of


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
