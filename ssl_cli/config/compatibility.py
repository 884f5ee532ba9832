"""The parts of a config against each other, the verb and the machine: what each needs, and which would have it."""

import inspect
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ssl_cli.config.instantiate import chosen, class_of, names_where
from ssl_cli.config.run import VerbConfig


def use_faults(cfg: DictConfig, shell: type[VerbConfig]) -> Iterator[str]:
    """The data and the model must have what the verb needs."""
    data, wanted = class_of(cfg, "data"), getattr(shell, "data_needs", "")
    if data is not None and not hasattr(data, wanted):
        fitting = names_where("data", lambda target: hasattr(target, wanted))
        yield f"ssl {cfg.verb} can't use data={chosen(cfg, 'data')}; it can use {', '.join(fitting)}."
    yield from need_faults(cfg, shell)


def need_faults(cfg: DictConfig, shell: type[VerbConfig]) -> Iterator[str]:
    """The model must be able to do what the verb does."""
    model, needs = class_of(cfg, "model"), getattr(shell, "needs", ())
    any_of = (needs,) if isinstance(needs, str) else needs

    def has_it(target: Any) -> bool:
        return any(hasattr(target, name) for name in any_of)

    if any_of and callable(model) and not has_it(model):
        fitting = names_where("model", has_it)
        ability = getattr(shell, "needs_in_words", needs)
        asked = f"ssl {cfg.verb} needs a model that can {ability}; {chosen(cfg, 'model')} can't"
        yield f"{asked}, but these can: {', '.join(fitting)}."


def part_faults(cfg: DictConfig) -> Iterator[str]:
    """What is wrong between parts that are each as they should be."""
    for faults in (_fit_faults, _label_faults, _unit_faults, _device_faults, _logger_faults):
        yield from faults(cfg)


def _fit_faults(cfg: DictConfig) -> Iterator[str]:
    """The model must read only what the data gives."""
    data, model = class_of(cfg, "data"), class_of(cfg, "model")
    if data is None or model is None:
        return
    reads, gives = getattr(model, "reads", ()), getattr(data, "gives", ())
    if not set(reads) <= set(gives):
        fitting = names_where("data", lambda target: set(reads) <= set(getattr(target, "gives", ())))
        yield (
            f"model={chosen(cfg, 'model')} reads {', '.join(reads)}, but data={chosen(cfg, 'data')} gives "
            f"{', '.join(gives) or 'nothing that a model reads'}. Try data={' or '.join(fitting) or '... (none fits)'}."
        )


def _label_faults(cfg: DictConfig) -> Iterator[str]:
    """What needs labels must not be asked of data that says it has none."""
    if "label" not in (cfg.get("data") or {}) or OmegaConf.is_missing(cfg.data, "label") or cfg.data.label is not None:
        return
    if cfg.get("threshold") == "f1":
        yield "threshold=f1 needs labels: say which column has them with data.label=..., or use threshold=auto."
    if cfg.data.get("train") == "polluted":
        yield "data.train=polluted needs labels, to know what to hide: say data.label=..., or use data.train=clean."


def _unit_faults(cfg: DictConfig) -> Iterator[str]:
    """A list of words is for a model that hides words."""
    units, model = (cfg.get("data") or {}).get("phrases"), cfg.get("model") or {}
    told = f"data.phrases={units} says what is hidden as a whole, and"
    if units is not None and "mask_unit" not in model:
        yield f"{told} model={chosen(cfg, 'model')} hides nothing: leave it out."
    elif units is not None and model.get("mask_unit") == "token":
        yield f"{told} model.mask_unit=token hides tokens: say model.mask_unit=whole_word."


def _device_faults(cfg: DictConfig) -> Iterator[str]:
    """What the trainer asks for must be on this machine."""
    import torch

    trainer = cfg.get("trainer") or {}
    accelerator, devices = trainer.get("accelerator"), trainer.get("devices")
    visible = {"gpu": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if trainer.get("strategy") == "fsdp" and visible["gpu"] == 0:
        yield "trainer.strategy=fsdp: this machine shows no GPU to torch; use trainer=cpu, or trainer=ddp."
        return
    if accelerator not in visible:
        return
    if visible[accelerator] == 0:
        yield f"trainer.accelerator={accelerator}: this machine shows no such device to torch; use trainer=cpu."
    elif isinstance(devices, int) and devices > visible[accelerator]:
        yield f"trainer.devices={devices}: this machine has {visible[accelerator]}."


def _logger_faults(cfg: DictConfig) -> Iterator[str]:
    """Each logger must be one, and its package must be here."""
    if not isinstance(nodes := cfg.get("logger") or {}, DictConfig):
        return
    for name in map(str, nodes):
        target = class_of(nodes, name)
        if target is not None and not (inspect.isclass(target) and hasattr(target, "missing_packages")):
            yield f"logger.{name}._target_ must name a class made from ssl_cli.runs.loggers.base.Tracker."
        elif target is not None and (missing := target.missing_packages()):
            several = "packages" if len(missing) > 1 else "package"
            yield f"logger={name} needs the {several} {' and '.join(missing)}: pip install 'ssl-cli[tracking]'"
