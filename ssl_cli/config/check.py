"""check(cfg): every fault of a config, found before any data is read and said in words.

A config is a tree. Its shell is typed by the dataclasses in `config/`; a node with a `_target_` is typed by
the signature of the class it names. Plain YAML would let `latent=abc` through until something breaks far away.
"""

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from omegaconf import DictConfig, ListConfig, Node, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ssl_cli.config import SHELLS
from ssl_cli.config.choices import nearest
from ssl_cli.config.compatibility import need_faults, part_faults, use_faults
from ssl_cli.config.instantiate import as_text, chosen, class_of, locate
from ssl_cli.config.run import Node as TargetNode
from ssl_cli.config.run import Nodes as TargetNodes
from ssl_cli.config.typecheck import article, bare, expected, fits
from ssl_cli.errors import InputError

PLAIN = (bool, int, float, str, list, tuple, dict, type(None))
Offered = Mapping[str, type] | None  # the facts that the data gives; None where it isn't known which data that is


def check(cfg: DictConfig, verb: str) -> None:
    """Raise InputError that lists every fault of a verb's composed config, each with what would be right."""
    shell = SHELLS[verb]
    data = class_of(cfg, "data")
    offered = None if data is None else getattr(data, "offers", {})
    # A choice that is no use here has no options worth naming.
    faults = [*use_faults(cfg, shell)] or [*_node_faults(cfg, "", shell, offered), *part_faults(cfg)]
    if len(faults) == 1:
        raise InputError(faults[0])
    if faults:
        raise InputError(f"{len(faults)} faults in this config:\n" + "\n".join(f"  - {fault}" for fault in faults))


def check_node(node: DictConfig, where: str) -> None:
    """Raise InputError for the first fault of a node with a `_target_` that stands alone."""
    for fault in _object_faults(node, where, Any, None):
        raise InputError(fault)


def check_saved(cfg: DictConfig, folder: Path) -> None:
    """Raise InputError where what a finished run is used by (model, task, threshold) is not what it must be."""
    shell, parts = SHELLS[cfg.verb], ("model", "task", "threshold", "fdr")
    used = {name: wanted for name, (wanted, _) in _parameters(shell)[0].items() if name in parts}
    faults = [f"{name} is missing" for name in used if name not in cfg]
    faults = faults or [fault for name in used for fault in _value_faults(cfg, name, used[name], "", None)]
    faults = faults or [*need_faults(cfg, shell)]
    if faults:
        raise InputError(f"{folder}: {faults[0].rstrip('.')}.")


# --- a node against a signature -----------------------------------------------------------------------------


def _node_faults(node: DictConfig, path: str, schema: Callable, offered: Offered) -> Iterator[str]:
    parameters, open_ended = _parameters(schema)
    partial = bool(node.get("_partial_", False))
    for key in node:
        name = str(key)
        hydras = name == "_target_" or (name == "_partial_" and path.startswith("optim."))
        if name.startswith("_") and not hydras:
            yield f"{path}{name} is not an option."
        elif name not in parameters and not hydras and not open_ended:
            yield f"{path}{name} is not an option.{nearest(name, parameters) or _listing(parameters, path)}"
    for name, (annotation, required) in parameters.items():
        if name in node:
            yield from _value_faults(node, name, annotation, path, offered)
        elif required and not partial:
            yield f"{path}{name} is missing: it must be {expected(annotation)}; say {path}{name}=..."


def _value_faults(parent: DictConfig, key: str, annotation: Any, path: str, offered: Offered) -> Iterator[str]:
    where = f"{path}{key}"
    if OmegaConf.is_missing(parent, key):
        yield f"{where} is missing: it must be {expected(annotation)}; say {where}=..."
        return
    fact = _fact_named(parent, key)
    is_of_model = path.startswith("model.")  # facts are for models: data and tokenizers are what they come from
    if fact is None and is_of_model and key in (offered or {}) and not OmegaConf.select(parent._get_root(), "facts"):
        yield f"{where} follows from the data: leave it at ${{facts.{key}}}."
        return
    if fact is not None:
        if offered is not None and fact not in offered:
            has = f"gives only {', '.join(offered)}" if offered else "gives none"
            yield f"{where} needs the fact {fact}, but data={chosen(parent, 'data')} {has}."
        return
    try:
        value = parent[key]
    except OmegaConfBaseException as error:
        yield f"{where} refers to something that does not exist: {str(error).splitlines()[0]}."
        return
    if annotation is TargetNode and not (isinstance(value, DictConfig) and "_target_" in value):
        yield f"{where} must be a group of options with a _target_ that names a class, not {_brief(value)}."
    elif annotation is TargetNodes and isinstance(value, DictConfig):
        for name in map(str, value):
            if isinstance(value[name], DictConfig) and "_target_" not in value[name]:
                yield f"{where}.{name} has options, but isn't chosen: say {where}={name}, or {where}=[{name},...]."
            else:
                yield from _value_faults(value, name, TargetNode, f"{where}.", offered)
    elif isinstance(value, DictConfig) and "_target_" in value and _is_plain(annotation):
        yield f"{where} must be {expected(annotation)}, not a group of options with a _target_."
    elif isinstance(value, DictConfig) and "_target_" in value:
        yield from _object_faults(value, where, annotation, offered)
    elif isinstance(value, DictConfig) and dataclasses.is_dataclass(bare(annotation)):
        yield from _node_faults(value, f"{where}.", bare(annotation), offered)
    else:
        plain = OmegaConf.to_container(value) if isinstance(value, DictConfig | ListConfig) else value
        if not fits(plain, annotation):
            yield from _misfits(where, plain, annotation)


def _misfits(where: str, value: Any, annotation: Any) -> Iterator[str]:
    """What a plain value should have been; of a mapping, each of its values that is at fault."""
    inner = typing.get_args(annotation)[0] if typing.get_origin(annotation) is Annotated else annotation
    if isinstance(value, dict) and typing.get_origin(inner) is dict:
        wanted = typing.get_args(inner)[1]
        for name, item in value.items():
            if not fits(item, wanted):
                yield f"{where}.{name} must be {expected(wanted)}, not {as_text(item)!r}."
        return
    yield f"{where} must be {expected(annotation)}, not {value!r}."


def _object_faults(node: DictConfig, where: str, annotation: Any, offered: Offered) -> Iterator[str]:
    try:
        target = locate(node["_target_"])
    except InputError as error:
        yield f"{where}._target_ {error}."
        return
    if not callable(target):
        yield f"{where}._target_ must name a class, not {node['_target_']}."
        return
    wanted = bare(annotation)
    is_partial = bool(node.get("_partial_", False))
    if inspect.isclass(wanted) and inspect.isclass(target) and not is_partial and not _is_a(target, wanted):
        yield f"{where} must be {article(wanted.__name__)}, not {article(target.__name__)}."
        return
    faults = list(_node_faults(node, f"{where}.", target, offered))
    yield from faults
    if not faults and hasattr(target, "option_faults"):
        yield from (f"{where}.{fault}" for fault in target.option_faults(node))


def _is_plain(annotation: Any) -> bool:
    """Whether only numbers, texts and the like are wanted, and lists of them: nothing that is built."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _is_plain(args[0])
    if origin in (typing.Union, types.UnionType):
        return all(map(_is_plain, args))
    return origin is Literal or (origin or annotation) in PLAIN


def _is_a(target: type, wanted: type) -> bool:
    """Whether it is a subclass, or has what a protocol asks for."""
    if not getattr(wanted, "_is_protocol", False):
        return issubclass(target, wanted)
    return all(
        hasattr(target, name) for name, value in vars(wanted).items() if inspect.isfunction(value) and name[0] != "_"
    )


def _parameters(schema: Callable) -> tuple[dict[str, tuple[Any, bool]], bool]:
    """Name -> (annotation, required), and whether it takes any further keyword."""
    owner = schema if dataclasses.is_dataclass(schema) or not inspect.isclass(schema) else schema.__init__
    try:
        hints = typing.get_type_hints(owner, include_extras=True)
        signature = inspect.signature(schema)
    except (TypeError, ValueError, NameError):  # builtins have none
        return {}, True
    found, open_ended = {}, False
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            open_ended = True
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            found[name] = (hints.get(name, Any), parameter.default is parameter.empty)
    return found, open_ended


def _fact_named(parent: DictConfig, key: str) -> str | None:
    raw = parent._get_node(key)
    text = raw._value() if isinstance(raw, Node) and OmegaConf.is_interpolation(parent, key) else None
    match = re.fullmatch(r"\$\{facts\.(\w+)\}", str(text))
    known = OmegaConf.select(parent._get_root(), "facts") or {}
    return match[1] if match and match[1] not in known else None


def _brief(value: Any) -> str:
    return "one without" if isinstance(value, DictConfig) else repr(value)


def _listing(parameters: Mapping[str, Any], path: str) -> str:
    return f" {path.rstrip('.') or 'The config'} takes {', '.join(parameters) or 'no options'}."
