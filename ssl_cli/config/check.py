"""Validation of a config: `check(cfg)` reports every fault in one message, before any data is read.

A config is a tree. Its outer levels are typed by the dataclasses in `config/`; a node with a `_target_` is typed by the
signature of the class it names. Without this check, `latent=abc` would fail late and far from its cause.
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

from ssl_cli.config.choices import did_you_mean
from ssl_cli.config.compatibility import consistency_faults, device_faults, model_faults, requirement_faults
from ssl_cli.config.instantiate import as_text, choice_of, class_of, locate
from ssl_cli.config.run import INTERNAL
from ssl_cli.config.run import Node as TargetNode
from ssl_cli.config.run import Nodes as TargetNodes
from ssl_cli.config.typecheck import class_in, expected, fits, hint_of_quotes, is_a, with_article
from ssl_cli.config.verbs import VERBS
from ssl_cli.errors import InputError

# Options that had another name before 0.1.0: old -> new, whole paths where the last word alone is ambiguous.
MAX_QUOTED_CHARS = 200  # of a value in a message
RENAMED = {
    "watched_tokens": "val_tokens",
    "measured_tokens": "eval_tokens",
    "headline": "summary_metrics",
    "resamples": "bootstrap_samples",
    "optim.algorithm": "optim.optimizer",
    "task.best_by": "task.monitor",
    "data.train": "data.contamination",
    "data.pollution": "data.contamination",
    "data.units": "data.phrases",
    "model.share": "model.mask_ratio",
    "model.mask": "model.mask_unit",
    "model.pair": "model.sentence_task",
    "model.network.heads": "model.network.outputs_per_latent",
    "model.quantizer.codes": "model.quantizer.num_codes",
    "model.quantizer.revive_below": "model.quantizer.dead_code_threshold",
    "model.agreement": "model.mutual_info_weight",
    "model.balance": "model.entropy_weight",
}
PLAIN = (bool, int, float, str, list, tuple, dict, type(None))
FactTypes = Mapping[str, type] | None  # the facts that the data offers; None if the class of the data is unknown


def check(cfg: DictConfig, verb: str, on_this_machine: bool = True) -> None:
    """Raise InputError that lists every fault of a verb's composed config, each with the correct form.

    With `on_this_machine` a lack of the devices that it needs is a fault.
    """
    spec = VERBS[verb]
    data = class_of(cfg, "data")
    offered = None if data is None else getattr(data, "offers", {})
    # The options of a model or data set that the verb can't use are not worth reporting.
    faults = [*requirement_faults(cfg, spec)] or [
        *_node_faults(cfg, "", spec.options, offered),
        *consistency_faults(cfg),
        *(device_faults(cfg) if on_this_machine else ()),
    ]
    if len(faults) == 1:
        raise InputError(faults[0])
    if faults:
        raise InputError(f"{len(faults)} faults in this config:\n" + "\n".join(f"  - {fault}" for fault in faults))


def check_node(node: DictConfig, where: str) -> None:
    """Raise InputError for the first fault of a node with a `_target_`, outside of a verb's config."""
    for fault in _object_faults(node, where, Any, None):
        raise InputError(fault)


def check_saved(cfg: DictConfig, folder: Path) -> None:
    """Raise InputError if a finished run's config has a fault in what is used again: model, task, threshold, fdr."""
    spec, parts = VERBS[cfg.verb], ("model", "task", "threshold", "fdr")
    used = {name: annotation for name, (annotation, _) in _parameters(spec.options)[0].items() if name in parts}
    faults = [f"{name} is missing" for name in used if name not in cfg]
    faults = faults or [fault for name in used for fault in _value_faults(cfg, name, used[name], "", None)]
    faults = faults or [*model_faults(cfg, spec)]
    if faults:
        raise InputError(f"{folder}: {faults[0].rstrip('.')}.")


# --- a node against a signature -----------------------------------------------------------------------------


def _node_faults(
    node: DictConfig, path: str, schema: Callable, offered: FactTypes, is_object: bool = False
) -> Iterator[str]:
    """Yield the faults of a node's options against the parameters of a class; `path` ends with a dot, or is empty.

    Only a node that an object is built from, `is_object`, has a `_target_`.
    """
    parameters, open_ended = _parameters(schema)
    partial = _is_partial(node)
    for key in node:
        name = str(key)
        is_of_hydra = is_object and (name == "_target_" or (name == "_partial_" and path.startswith("optim.")))
        if name.startswith("_") and not is_of_hydra:
            yield f"{path}{name} is not an option."
        elif name not in parameters and not is_of_hydra and not open_ended:
            yield f"{path}{name} is not an option.{_suggestion(node, name, path, parameters)}"
    for name, (annotation, required) in parameters.items():
        if name in node or OmegaConf.is_missing(node, name):
            yield from _value_faults(node, name, annotation, path, offered)
        elif required and not partial:
            yield f"{path}{name} is missing: it must be {expected(annotation)}; set {path}{name}=..."


def _value_faults(parent: DictConfig, key: str, annotation: Any, path: str, offered: FactTypes) -> Iterator[str]:
    """Yield the faults of one option against its annotation."""
    where = f"{path}{key}"
    if OmegaConf.is_missing(parent, key):
        yield f"{where} is missing: it must be {expected(annotation)}; set {where}=..."
        return
    fact = _fact_named(parent, key)
    is_of_model = path.startswith("model.")
    may_use_facts = is_of_model or path.startswith("task.")  # data and tokenizers provide them
    if fact is None and is_of_model and key in (offered or {}) and not _known_facts(parent):
        yield f"{where} follows from the data: leave it at ${{facts.{key}}}."
        return
    if fact is not None and (not may_use_facts or _is_built(annotation)):
        yield (
            f"{where} must be {expected(annotation)}: only numbers and shapes of a model or a task can follow from the "
            "data."
        )
        return
    if fact is not None:
        if offered is not None and fact not in offered:
            facts = f"gives only {', '.join(offered)}" if offered else "gives none"
            yield f"{where} needs the fact {fact}, but data={choice_of(parent, 'data')} {facts}."
        return
    try:
        value = parent[key]
    except OmegaConfBaseException:
        yield f"{where} refers to something that does not exist: {_written(parent, key)}."
        return
    if annotation is TargetNode and not (isinstance(value, DictConfig) and "_target_" in value):
        yield f"{where} must be a group of options with a _target_ that names a class, not {_describe(value)}."
    elif annotation is TargetNodes and isinstance(value, DictConfig):
        for name in map(str, value):
            if isinstance(value[name], DictConfig) and "_target_" not in value[name]:
                yield f"{where}.{name} has options, but isn't chosen: set {where}={name}, or {where}=[{name},...]."
            else:
                yield from _value_faults(value, name, TargetNode, f"{where}.", offered)
    elif isinstance(value, DictConfig) and "_target_" in value and _is_plain(annotation):
        yield f"{where} must be {expected(annotation)}, not a group of options with a _target_."
    elif isinstance(value, DictConfig) and "_target_" in value and not _is_of_verb(annotation):
        yield from _object_faults(value, where, annotation, offered)
    elif isinstance(value, DictConfig) and dataclasses.is_dataclass(class_in(annotation)):
        yield from _node_faults(value, f"{where}.", class_in(annotation), offered)
    else:
        plain = OmegaConf.to_container(value) if isinstance(value, DictConfig | ListConfig) else value
        if not fits(plain, annotation):
            yield from _plain_faults(where, plain, annotation)


def _is_of_verb(annotation: Any) -> bool:
    """Return whether a node is a group of a verb's own options, such as trainer, of which no object is built."""
    return getattr(class_in(annotation), "__module__", "").startswith("ssl_cli.config.")


def _plain_faults(where: str, value: Any, annotation: Any) -> Iterator[str]:
    """Yield what a plain value that does not fit must be; for a mapping, what each such value in it must be."""
    inner = typing.get_args(annotation)[0] if typing.get_origin(annotation) is Annotated else annotation
    if isinstance(value, dict) and typing.get_origin(inner) is dict:
        item_type = typing.get_args(inner)[1]
        for name, item in value.items():
            if not fits(item, item_type):
                yield f"{where}.{name} must be {expected(item_type)}, not {_describe(as_text(item))}."
        return
    how = ", a group of options with a _target_ that names its class" if _is_built(annotation) else ""
    hint = hint_of_quotes(where, value, annotation)
    yield f"{where} must be {expected(annotation)}{how}, not {'null' if value is None else _describe(value)}.{hint}"


def _object_faults(node: DictConfig, where: str, annotation: Any, offered: FactTypes) -> Iterator[str]:
    """Yield the faults of a node with a `_target_`: its class, its options, and what the class itself reports."""
    try:
        target = locate(node["_target_"])
    except InputError as error:
        yield f"{where}._target_ {error}."
        return
    except OmegaConfBaseException:
        yield f"{where}._target_ must name a class, not {OmegaConf.to_container(node)['_target_']}."  # type: ignore[index,call-overload]
        return
    if not callable(target):
        yield f"{where}._target_ must name a class, not {node['_target_']}."
        return
    wanted = class_in(annotation)
    is_partial = _is_partial(node)
    if inspect.isclass(wanted) and inspect.isclass(target) and not is_partial and not is_a(target, wanted):
        yield f"{where} must be {with_article(wanted.__name__)}, not {with_article(target.__name__)}."
        return
    faults = list(_node_faults(node, f"{where}.", target, offered, is_object=True))
    yield from faults
    if faults or not hasattr(target, "option_faults"):
        return
    try:
        yield from [f"{where}.{fault}" for fault in target.option_faults(node)]
    except OmegaConfBaseException:
        yield f"{where} has an option that follows from the data, where it must be known before: give it a value."


def _is_built(annotation: Any) -> bool:
    """Return whether an annotation names a class of which an object must be built."""
    wanted = class_in(annotation)
    return inspect.isclass(wanted) and wanted not in PLAIN and not dataclasses.is_dataclass(wanted)


def _is_partial(node: DictConfig) -> bool:
    """Return whether a node stands for a class that is called later, as an optimizer is."""
    is_set = "_partial_" in list(node) and not OmegaConf.is_interpolation(node, "_partial_")
    return is_set and bool(node["_partial_"])


def _is_plain(annotation: Any) -> bool:
    """Return whether an annotation admits only plain values, and lists of them: no object that must be built."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _is_plain(args[0])
    if origin in (typing.Union, types.UnionType):
        return all(map(_is_plain, args))
    return origin is Literal or (origin or annotation) in PLAIN


def _parameters(schema: Callable) -> tuple[dict[str, tuple[Any, bool]], bool]:
    """Return name -> (annotation, required), and whether further keywords are accepted."""
    owner = schema if dataclasses.is_dataclass(schema) or not inspect.isclass(schema) else schema.__init__
    try:
        hints = typing.get_type_hints(owner, include_extras=True)
        signature = inspect.signature(schema)
    except (TypeError, ValueError, NameError):  # some builtins have no signature
        return {}, True
    parameters, open_ended = {}, False
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            open_ended = True
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            parameters[name] = (hints.get(name, Any), parameter.default is parameter.empty)
    return parameters, open_ended


def _fact_named(parent: DictConfig, key: str) -> str | None:
    """Return the fact that an option refers to, `${facts.NAME}`, if it is not known yet; otherwise None."""
    raw = parent._get_node(key)
    text = raw._value() if isinstance(raw, Node) and OmegaConf.is_interpolation(parent, key) else None
    match = re.fullmatch(r"\$\{facts\.(\w+)\}", str(text))
    return match[1] if match and match[1] not in _known_facts(parent) else None


def _known_facts(node: DictConfig) -> dict[str, Any]:
    """Return the facts that are known already; none before the data is read."""
    facts = node._get_root()._get_node("facts")
    known = OmegaConf.to_container(facts) if isinstance(facts, DictConfig) else None
    return known if isinstance(known, dict) else {}  # type: ignore[return-value]


def _written(parent: DictConfig, key: str) -> str:
    """Return an option as it is written in the config, with its reference."""
    node = parent._get_node(key)
    return str(node._value()) if isinstance(node, Node) else ""


def _suggestion(node: DictConfig, name: str, path: str, parameters: Mapping[str, Any]) -> str:
    """Return a hint for an unknown option: its new name, the same option of an inner node, or a similar name.

    If there is none of these, return a list of the options.
    """
    new = RENAMED.get(f"{path}{name}", RENAMED.get(name))
    if new is not None and new.rpartition(".")[2] in parameters:
        return f" Did you mean {new}?"
    for inner in map(str, node):
        if inner in parameters and isinstance(node._get_node(inner), DictConfig) and name in node[inner]:
            return f" Did you mean {path}{inner}.{name}?"
    settable = [option for option in parameters if path or option not in INTERNAL]
    return did_you_mean(name, settable) or _list_options(settable, path)


def _describe(value: Any) -> str:
    """Return a value as a message quotes it, cut if it is long."""
    text = repr(value)
    short = text if len(text) <= MAX_QUOTED_CHARS else f"{text[:MAX_QUOTED_CHARS]}..."
    return "one without" if isinstance(value, DictConfig) else short


def _list_options(parameters: list[str], path: str) -> str:
    return f" {path.rstrip('.') or 'The config'} takes {', '.join(parameters) or 'no options'}."
