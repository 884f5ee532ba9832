"""Compatibility checks: whether model, data, task, verb and machine fit together, and which choices would."""

import inspect
import os
from collections.abc import Iterator, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ssl_cli.config.instantiate import choice_of, class_of, locate, modality_of, names_where
from ssl_cli.config.typecheck import is_a, provides
from ssl_cli.config.verbs import VERBS, VerbSpec

PROCESSES_PER_CORE = 4  # at most, of a run on CPUs: more are only slower, and a thousand take all memory


def requirement_faults(cfg: DictConfig, spec: VerbSpec) -> Iterator[str]:
    """Yield a sentence if the data or the model lacks what the verb or the task needs."""
    faults = [*_data_faults(cfg, spec), *_task_faults(cfg), *_network_faults(cfg), *model_faults(cfg, spec)]
    yield from faults or _batch_key_faults(cfg, spec)


def _data_faults(cfg: DictConfig, spec: VerbSpec) -> Iterator[str]:
    """Yield a sentence if the data is not what the verb learns from."""
    data, (sources, _) = class_of(cfg, "data"), protocols_of(spec)
    if data is not None and sources and not provides_one(data, sources):
        fitting = names_where("data", lambda target: provides_one(target, sources))
        yield f"ssl {cfg.verb} can't use {_chosen(cfg, 'data', fitting)}; it can use {', '.join(fitting)}."


def model_faults(cfg: DictConfig, spec: VerbSpec) -> Iterator[str]:
    """Yield a sentence if the model can't do what the verb needs."""
    model, (_, protocols) = class_of(cfg, "model"), protocols_of(spec)
    if protocols and callable(model) and not provides_one(model, protocols):
        fitting = names_where("model", lambda target: provides_one(target, protocols))
        yield (
            f"ssl {cfg.verb} needs a model that can {spec.model_ability}; {_chosen(cfg, 'model', fitting)} can't, but "
            f"these can: {', '.join(fitting)}."
        )


def provides_one(target: Any, protocols: Sequence[type]) -> bool:
    """Return whether a class provides one of several Protocols."""
    return any(provides(target, protocol) for protocol in protocols)


def _chosen(cfg: DictConfig, group: str, fitting: list[str]) -> str:
    """Return the choice of a group as a message names it: by its class, if that has been set to another one."""
    name = choice_of(cfg, group)
    return f"{group}._target_={cfg[group]._target_}" if name in fitting else f"{group}={name}"


def consistency_faults(cfg: DictConfig) -> Iterator[str]:
    """Yield a sentence for each conflict between nodes that are each valid."""
    for faults in (_label_faults, _phrase_faults, _document_faults, _tokenizer_faults, _logger_faults):
        yield from faults(cfg)


def _batch_key_faults(cfg: DictConfig, spec: VerbSpec) -> Iterator[str]:
    """Yield a sentence if the model reads a key of the batch that the data does not give, with what fits either."""
    data, model = class_of(cfg, "data"), class_of(cfg, "model")
    if data is None or model is None or fits_batch(model, data):
        return
    sources, protocols = protocols_of(spec)
    fitting = {
        "model": names_where("model", lambda target: provides_one(target, protocols) and fits_batch(target, data)),
        "data": names_where("data", lambda target: provides_one(target, sources) and fits_batch(model, target)),
    }
    advice = [f"{group}={' or '.join(names)}" for group, names in fitting.items() if names]
    gives = ", ".join(getattr(data, "gives", ())) or "nothing that a model reads"
    yield (
        f"model={choice_of(cfg, 'model')} reads {', '.join(model.reads)}, but data={choice_of(cfg, 'data')} gives "
        f"{gives}. Try {', or '.join(advice) or 'others (none fits)'}."
    )


def fits_batch(model: Any, data: Any) -> bool:
    """Return whether a class of data gives all that a class of models reads of a batch."""
    return set(getattr(model, "reads", ())) <= set(getattr(data, "gives", ()))


def protocols_of(spec: VerbSpec) -> tuple[list[type], list[type]]:
    """Return the Protocols of data and of models that a verb accepts."""
    sources = [locate(f"ssl_cli.data.protocols.{name}") for name in spec.data]
    return sources, [locate(f"ssl_cli.methods.{name}") for name in spec.model]


def _task_faults(cfg: DictConfig) -> Iterator[str]:
    """Yield a sentence if the task cannot read the data."""
    task, data = class_of(cfg, "task"), class_of(cfg, "data")
    source = getattr(task, "source", None)
    if data is None or source is None or is_a(data, source):
        return
    fitting = names_where("data", lambda target: is_a(target, source))
    yield f"task={choice_of(cfg, 'task')} can't read data={choice_of(cfg, 'data')}; it can read {', '.join(fitting)}."


def _network_faults(cfg: DictConfig) -> Iterator[str]:
    """Yield a sentence if the network that a task is to learn with, from random weights, is not of its kind."""
    model, dotted = class_of(cfg, "model"), getattr(class_of(cfg, "task"), "network", None)
    has_shape = _group(cfg, "").get("init") not in (None, "none") or _group(cfg, "").get("like") is not None
    if dotted is None or model is None or has_shape or not model.__module__.startswith("ssl_cli.models."):
        return
    needed = locate(dotted)
    if not is_a(model, needed):
        fitting = names_where("model", lambda target: is_a(target, needed))
        task, chosen = choice_of(cfg, "task"), choice_of(cfg, "model")
        yield f"task={task} can't be learned by model={chosen}, but by {' or '.join(fitting)}."


def _label_faults(cfg: DictConfig) -> Iterator[str]:
    """Yield a sentence for each option that needs labels, if data.label is null."""
    data = _group(cfg, "data")
    if "label" not in data or data["label"] is not None:
        return
    if _group(cfg, "").get("threshold") == "f1":
        yield "threshold=f1 needs labels: set data.label=... to the column that has them, or use threshold=auto."
    if isinstance(share := data.get("contamination"), float | int) and share > 0:
        yield (
            f"data.contamination={share:g} needs labels, to know which rows are anomalies: set data.label=..., or "
            "data.contamination=0."
        )


def _phrase_faults(cfg: DictConfig) -> Iterator[str]:
    """Yield a sentence if there is a list of phrases, but the model does not mask whole words."""
    phrases, model = _group(cfg, "data").get("phrases"), _group(cfg, "model")
    if phrases is None:
        return
    if "mask_unit" not in model:
        yield f"data.phrases={phrases} has no effect: model={choice_of(cfg, 'model')} masks no words. Leave it out."
    elif model.get("mask_unit") == "token":
        yield f"data.phrases={phrases} has no effect with model.mask_unit=token: set model.mask_unit=whole_word."


def _document_faults(cfg: DictConfig) -> Iterator[str]:
    """Yield a sentence if documents are to be isolated, and the model writes one text for all of a row."""
    model, writes = class_of(cfg, "model"), locate("ssl_cli.methods.protocols.WritesText")
    if _group(cfg, "data").get("isolate_documents") is True and model is not None and provides(model, writes):
        yield (
            f"data.isolate_documents=true keeps documents apart, which model={choice_of(cfg, 'model')} can't: it reads "
            "and writes a row as one text. Set data.isolate_documents=false."
        )


def _tokenizer_faults(cfg: DictConfig) -> Iterator[str]:
    """Yield a sentence if there is no tokenizer, and the data is text."""
    takes_text = "tokenizer" in VERBS[cfg.verb].options_of.get("text", ()) if cfg.verb in VERBS else False
    modality = modality_of(str(_group(cfg, "data").get("_target_", "")))
    if takes_text and cfg.get("tokenizer") is None and modality not in ("audio", "image"):
        yield "tokenizer is missing: set tokenizer=wordpiece, bpe, unigram, char or word."


def _group(cfg: DictConfig, name: str) -> dict[str, Any]:
    """Return the options of a group that have a value; none if it is no group, which `check` reports."""
    try:
        node = OmegaConf.select(cfg, name) if name else cfg
        if not isinstance(node, DictConfig):
            return {}
        return {str(key): node[key] for key in node if not OmegaConf.is_missing(node, key) and _has_value(node, key)}
    except OmegaConfBaseException:
        return {}


def _has_value(node: DictConfig, key: Any) -> bool:
    """Return whether an option can be read: it may refer to something that does not exist."""
    try:
        node[key]
    except OmegaConfBaseException:
        return False
    return True


def device_faults(cfg: DictConfig) -> Iterator[str]:
    """Yield a sentence if this machine lacks the devices that the trainer needs."""
    import torch

    trainer = _group(cfg, "trainer")
    accelerator, devices = trainer.get("accelerator"), trainer.get("devices")
    visible = {"gpu": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if trainer.get("strategy") == "fsdp" and visible["gpu"] == 0:
        yield "trainer.strategy=fsdp: torch finds no GPU on this machine; use trainer=cpu, or trainer=ddp."
        return
    if accelerator == "auto":
        accelerator = next((name for name, number in visible.items() if number), "cpu")
    visible["cpu"] = PROCESSES_PER_CORE * (os.cpu_count() or 1)
    if not isinstance(accelerator, str) or accelerator not in visible:
        return
    if visible[accelerator] == 0:
        yield f"trainer.accelerator={accelerator}: torch finds no such device on this machine; use trainer=cpu."
    elif isinstance(devices, int) and devices > visible[accelerator]:
        limit = f"has room for {visible['cpu']} processes" if accelerator == "cpu" else f"has {visible[accelerator]}"
        yield f"trainer.devices={devices}: this machine {limit}."


def _logger_faults(cfg: DictConfig) -> Iterator[str]:
    """Yield a sentence for each logger that is not a Tracker, or whose package is not installed."""
    nodes = _group(cfg, "logger")
    for name in nodes:
        target: Any = class_of(nodes, name)
        if target is None:
            continue
        if not (inspect.isclass(target) and hasattr(target, "missing_packages") and hasattr(target, "install")):
            yield f"logger.{name}._target_ must name a subclass of ssl_cli.runs.loggers.base.Tracker."
        elif missing := target.missing_packages():
            several = "packages" if len(missing) > 1 else "package"
            yield f"logger={name} needs the {several} {' and '.join(missing)}: pip install {target.install}"
