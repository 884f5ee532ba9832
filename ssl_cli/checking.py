"""check(cfg): every fault of a config, found before any data is read and said in words.

A config is a tree. Its shell is typed by the dataclasses in `config.py`; a node with a `_target_` is typed by
the signature of the class it names. Plain YAML would let `latent=abc` through until something breaks far away.
"""

import dataclasses
import importlib
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from omegaconf import DictConfig, ListConfig, Node, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ssl_cli.bounds import Pattern, Range
from ssl_cli.catalog import choices, nearest
from ssl_cli.config import SHELLS
from ssl_cli.errors import InputError

HYDRA_KEYS = {"_target_", "_partial_", "_convert_", "_recursive_", "_args_"}


def check(cfg: DictConfig) -> None:
    """Raise InputError that lists every fault of a composed config, each with what would be right."""
    shell = SHELLS[cfg.verb]
    data = _target(cfg, "data")
    offered: Mapping[str, type] = getattr(data, "offers", {})
    faults = [
        *_node_faults(cfg, "", shell, offered),
        *_fit_faults(cfg, data),
        *_length_faults(cfg),
        *_device_faults(cfg),
    ]
    if len(faults) == 1:
        raise InputError(faults[0])
    if faults:
        raise InputError(f"{len(faults)} faults in this config:\n" + "\n".join(f"  - {fault}" for fault in faults))


# --- a node against a signature -----------------------------------------------------------------------------


def _node_faults(node: DictConfig, path: str, schema: Callable, offered: Mapping[str, type]) -> Iterator[str]:
    parameters, open_ended = _parameters(schema)
    partial = bool(node.get("_partial_", False))
    for key in node:
        name = str(key)
        if name not in parameters and name not in HYDRA_KEYS and not open_ended:
            yield f"{path}{name} is not an option.{nearest(name, parameters) or _listing(parameters, path)}"
    for name, (annotation, required) in parameters.items():
        if name in node:
            yield from _value_faults(node, name, annotation, path, offered)
        elif required and not partial:
            yield f"{path}{name} is missing: it must be {expected(annotation)}."


def _value_faults(
    parent: DictConfig, key: str, annotation: Any, path: str, offered: Mapping[str, type]
) -> Iterator[str]:
    where = f"{path}{key}"
    if OmegaConf.is_missing(parent, key):
        yield f"{where} is missing: it must be {expected(annotation)}; say {where}=..."
        return
    fact = _fact_named(parent, key)
    if fact is not None:
        if fact not in offered:
            has = f"gives only {', '.join(offered)}" if offered else "gives none"
            yield f"{where} needs the fact {fact}, but data={_chosen(parent, 'data')} {has}."
        return
    try:
        value = parent[key]
    except OmegaConfBaseException as error:
        yield f"{where} refers to something that does not exist: {str(error).splitlines()[0]}."
        return
    if isinstance(value, DictConfig) and "_target_" in value:
        yield from _object_faults(value, where, annotation, offered)
    elif isinstance(value, DictConfig) and dataclasses.is_dataclass(_bare(annotation)):
        yield from _node_faults(value, f"{where}.", _bare(annotation), offered)
    else:
        plain = OmegaConf.to_container(value) if isinstance(value, DictConfig | ListConfig) else value
        if not fits(plain, annotation):
            yield f"{where} must be {expected(annotation)}, not {plain!r}."


def _object_faults(node: DictConfig, where: str, annotation: Any, offered: Mapping[str, type]) -> Iterator[str]:
    try:
        target = locate(node["_target_"])
    except InputError as error:
        yield f"{where}._target_ {error}."
        return
    wanted = _bare(annotation)
    is_partial = bool(node.get("_partial_", False))
    if inspect.isclass(wanted) and inspect.isclass(target) and not is_partial and not issubclass(target, wanted):
        yield f"{where} must be {_article(wanted.__name__)}, not {_article(target.__name__)}."
        return
    yield from _node_faults(node, f"{where}.", target, offered)


def _parameters(schema: Callable) -> tuple[dict[str, tuple[Any, bool]], bool]:
    """Name -> (annotation, required), and whether it takes any further keyword."""
    owner = schema if dataclasses.is_dataclass(schema) or not inspect.isclass(schema) else schema.__init__
    hints = typing.get_type_hints(owner, include_extras=True)
    found, open_ended = {}, False
    for name, parameter in inspect.signature(schema).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            open_ended = True
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            found[name] = (hints.get(name, Any), parameter.default is parameter.empty)
    return found, open_ended


def locate(dotted: str) -> Any:
    """The class or function that a `_target_` names; InputError where there is none."""
    module, _, name = str(dotted).rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"names {dotted}, which can't be imported ({error})") from error


# --- a value against an annotation --------------------------------------------------------------------------


def fits(value: Any, annotation: Any) -> bool:
    """Whether a plain value from YAML is what the annotation asks for."""
    origin, args = get_origin(annotation), get_args(annotation)
    if annotation is Any or annotation is inspect.Parameter.empty:
        return True
    if origin is Annotated:
        return fits(value, args[0]) and all(_admits(rule, value) for rule in args[1:])
    if origin in (Union, types.UnionType):
        return any(fits(value, option) for option in args)
    if origin is Literal:
        return any(value == option and type(value) is type(option) for option in args)
    if origin in (list, tuple):
        inner = [arg for arg in args if arg is not Ellipsis] or [Any]
        if not isinstance(value, list) or (origin is tuple and Ellipsis not in args and len(args) != len(value)):
            return False
        return all(fits(item, inner[min(index, len(inner) - 1)]) for index, item in enumerate(value))
    if origin is dict:
        return isinstance(value, dict) and all(fits(item, args[1]) for item in value.values())
    if annotation in (None, type(None)):
        return value is None
    if annotation is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, annotation) if inspect.isclass(annotation) else True


def _admits(rule: Any, value: Any) -> bool:
    if isinstance(rule, Range):
        return isinstance(value, int | float) and rule.admits(value)
    if isinstance(rule, Pattern):
        return isinstance(value, str) and re.fullmatch(rule.regex, value) is not None
    return True


def expected(annotation: Any) -> str:
    """What the annotation asks for, in words: `a whole number of at least 1 or null`."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        for rule in args[1:]:
            if isinstance(rule, Pattern):
                return rule.words
        return " ".join([expected(args[0]), *(str(rule) for rule in args[1:] if isinstance(rule, Range))])
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(expected(option) for option in args))
    if origin is Literal:
        return "one of " + ", ".join(str(option) for option in args)
    if origin in (list, tuple):
        return f"a list, each {expected(args[0])}" if args else "a list"
    words = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", type(None): "null"}
    if annotation in words:
        return words[annotation]
    return "a group of options" if origin is dict or not inspect.isclass(annotation) else _article(annotation.__name__)


# --- the parts against each other ---------------------------------------------------------------------------


def _fit_faults(cfg: DictConfig, data: Any) -> Iterator[str]:
    """The model must read only what the data gives, and offer what the verb needs."""
    model = _target(cfg, "model")
    if model is None or data is None:
        return
    reads, gives = getattr(model, "reads", ()), getattr(data, "gives", ())
    if not set(reads) <= set(gives):
        fitting = _names_where("data", lambda target: set(reads) <= set(getattr(target, "gives", ())))
        yield (
            f"model={_chosen(cfg, 'model')} reads {', '.join(reads)}, but data={_chosen(cfg, 'data')} gives "
            f"{', '.join(gives) or 'nothing that a model reads'}. Try data={' or '.join(fitting) or '... (none fits)'}."
        )
    needs = getattr(SHELLS[cfg.verb], "needs", None)
    if needs and not hasattr(model, needs):
        fitting = _names_where("model", lambda target: hasattr(target, needs))
        asked = f"ssl {cfg.verb} needs a model that can {needs}; {_chosen(cfg, 'model')} can't"
        yield f"{asked}, but these can: {', '.join(fitting)}."


def _length_faults(cfg: DictConfig) -> Iterator[str]:
    trainer = cfg.get("trainer") or {}
    only_time = trainer.get("max_time") and not trainer.get("max_epochs") and not trainer.get("max_steps")
    if only_time and (cfg.get("optim") or {}).get("schedule") != "constant":
        yield (
            "optim.schedule must be constant when trainer.max_time is the only limit, "
            "since the number of steps is then unknown; or give trainer.max_steps too."
        )


def _device_faults(cfg: DictConfig) -> Iterator[str]:
    """What the trainer asks for must be on this machine."""
    import torch

    trainer = cfg.get("trainer") or {}
    accelerator, devices = trainer.get("accelerator"), trainer.get("devices")
    visible = {"gpu": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if accelerator not in visible:
        return
    if visible[accelerator] == 0:
        yield f"trainer.accelerator={accelerator}: this machine shows no such device to torch; use trainer=cpu."
    elif isinstance(devices, int) and devices > visible[accelerator]:
        yield f"trainer.devices={devices}: this machine has {visible[accelerator]}."


def _names_where(group: str, holds: Callable[[Any], bool]) -> list[str]:
    names = []
    for name, choice in choices(group).items():
        try:
            target = locate(OmegaConf.select(OmegaConf.load(choice.path), "_target_"))
        except (InputError, OmegaConfBaseException):
            continue
        if holds(target):
            names.append(name)
    return names


def _target(cfg: DictConfig, key: str) -> Any:
    try:
        return locate(cfg[key]["_target_"])
    except (InputError, OmegaConfBaseException, KeyError, TypeError):
        return None  # said by _node_faults


def _chosen(node: DictConfig, group: str) -> str:
    root = node._get_root()
    return str(OmegaConf.select(root, f"choices.{group}", default="?"))


def _fact_named(parent: DictConfig, key: str) -> str | None:
    raw = parent._get_node(key)
    text = raw._value() if isinstance(raw, Node) and OmegaConf.is_interpolation(parent, key) else None
    match = re.fullmatch(r"\$\{facts\.(\w+)\}", str(text))
    known = OmegaConf.select(parent._get_root(), "facts") or {}
    return match[1] if match and match[1] not in known else None


def _bare(annotation: Any) -> Any:
    """The class behind `Annotated[...]` and `... | None`; None for what is no class."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        options = [option for option in get_args(annotation) if option is not type(None)]
        return _bare(options[0]) if len(options) == 1 else None
    return annotation if inspect.isclass(annotation) and annotation is not Any else None


def _listing(parameters: Mapping[str, Any], path: str) -> str:
    return f" {path.rstrip('.') or 'The config'} takes {', '.join(parameters) or 'no options'}."


def _article(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"
