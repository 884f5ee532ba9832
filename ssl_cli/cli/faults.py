"""Faults of composition in our words: Hydra names its own syntax, and not the override or the file that is wrong."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ssl_cli.cli.grammar import parse_override
from ssl_cli.config.choices import choices, did_you_mean, groups
from ssl_cli.config.instantiate import as_text, invalid_yaml
from ssl_cli.errors import InputError

# What Hydra and OmegaConf raise for a config that can't be composed; not all of it has a type of their own.
ERRORS = (HydraException, OmegaConfBaseException, UnicodeDecodeError, RecursionError, yaml.YAMLError, ValueError)
ERRORS += (TypeError, AssertionError)  # type: ignore[assignment]


@contextmanager
def explained_faults(hydra: Any, verb: str, combinations: Iterable[Sequence[str]]) -> Iterator[None]:
    """Turn what Hydra raises for a config that can't be composed into an InputError that names the wrong override.

    `combinations` are the lines of each config that is composed while this is open. Other errors are raised as they
    are.
    """
    try:
        yield
    except InputError:
        raise
    except ERRORS as error:
        for lines in combinations:
            cfg = None
            for n in range(len(lines) + 1):
                try:
                    cfg = hydra.compose_config(verb, list(lines[:n]), RunMode.RUN)
                except ERRORS as fault:
                    raise _fault(cfg, parse_override(lines[n - 1]) if n else None, fault) from error
        if isinstance(error, HydraException):
            raise InputError("This sweep can't run: its sweeper or launcher refuses one of its options.") from error
        raise


def _fault(cfg: DictConfig | None, override: Override | None, error: Exception) -> InputError:
    """Return what is wrong with an override, beside the config that was composed without it."""
    if override is not None and override.key_or_group not in groups() and cfg is not None:
        return InputError(_override_fault(cfg, override))
    where = str(override.input_line) if override else "The config"
    return InputError(f"{where} can't be composed: {_file_fault(override, error)}")


def _override_fault(cfg: DictConfig, override: Override) -> str:
    """Return why an option can't be set, or taken away, in a config that has been composed without that."""
    key, line = override.key_or_group, str(override.input_line).lstrip("+")
    parts = key.split(".")
    for depth, part in enumerate(parts):
        name, node = ".".join(parts[:depth]), _select(cfg, ".".join(parts[:depth]))
        if depth and not isinstance(node, DictConfig | ListConfig):
            return f"{line}: {name} is {_described(node)}, which has no options of its own."
        if isinstance(node, ListConfig) and not (part.isdecimal() and int(part) < len(node)):
            return f"{line}: {name} is a list of {len(node)}, {as_text(list(node))}; set the whole list, {name}=[...]."
        if override.is_delete() and isinstance(node, DictConfig) and part not in node:
            if OmegaConf.is_missing(node, part):
                return f"{line}: {key} has no value that could be left out."
            known = [str(name) for name in node if name != "hydra" and not OmegaConf.is_missing(node, name)]
            return f"{line}: there is no {key} to leave out.{did_you_mean(part, known)}"
    node, value = _select(cfg, key), override.value()
    if override.is_delete():
        return f"{line}: {key} is {_described(node)}; ~{key} leaves it out whatever it is."
    if isinstance(node, DictConfig):
        return f"{line}: {key} is a group of options, which can't become {as_text(value)}; set {key}.OPTION=VALUE."
    return f"{line}: {key} is {_described(node)}, which can't become {as_text(value)}."


def _select(cfg: DictConfig, name: str) -> object:
    try:
        return OmegaConf.select(cfg, name) if name else cfg
    except OmegaConfBaseException:  # it refers to a fact, or to something that does not exist
        return "a reference to another option"


def _described(node: object) -> str:
    return "a group of options" if isinstance(node, DictConfig) else as_text(node)


def _file_fault(override: Override | None, error: Exception) -> str:
    """Return what is wrong in a YAML file: that of the choice that the override names, or one that every run reads."""
    group = override.key_or_group if override else ""
    name = str(override.value()) if override else ""
    known = choices(group) if override else {}
    path = str(known[name].path) if name in known else "a YAML file of yours"
    if isinstance(error, yaml.YAMLError):
        return invalid_yaml(getattr(getattr(error, "problem_mark", error), "name", path), error)
    if isinstance(error, UnicodeDecodeError):
        return invalid_yaml(path, error)
    if isinstance(error, RecursionError):
        return f"{path} inherits from its own name in `defaults`: inherit from another one."
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        missing = str(error.missing_cfg_file).lstrip("/")
        known_names = choices(str(Path(missing).parent)) if "/" in missing else []
        hint = did_you_mean(Path(missing).name, known_names)
        return f"{path} names {missing} in its `defaults`, and there is no {missing}.yaml.{hint}"
    inner = error.__cause__ or error
    words = re.sub(r"\s+", " ", str(inner).strip().split("\n")[0]).rstrip(".")
    bracket = f" ({words})" if isinstance(inner, OmegaConfBaseException) else ""
    return (
        f"{path} does not fit what it is put into: its `defaults` may name each group once, and its values may not "
        f"turn a group of options into something else{bracket}."
    )
