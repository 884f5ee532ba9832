"""Where pretraining starts: at random weights, or at a checkpoint of transformers, with its shape and tokenizer."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ssl_cli.checking import locate
from ssl_cli.errors import InputError
from ssl_cli.language.pretrained import Pretrained, read_pretrained
from ssl_cli.objectives.causal_lm import CausalLM

TAKEN = "taken"  # what the tokenizer is called then
NOT_TAKEN = {"causal", "context"}  # of a checkpoint's options


@dataclass
class Start:
    """Nothing, or a checkpoint; `told` are sentences on what of it was used."""

    checkpoint: Pretrained | None = None
    told: list[str] = field(default_factory=list)

    def given_to(self, model: Any) -> Any:
        """The model, with the checkpoint's weights where there is one."""
        if self.checkpoint is not None:
            self.told += self.checkpoint.load_into(model)
        return model


def starting_point(cfg: DictConfig) -> Start:
    """What `cfg.init` names. Its shape and its tokenizer become those of the config, so that the run can be reopened.

    Raises InputError where it can't be read, or is a model of another kind.
    """
    if cfg.init is None:
        return Start()
    found = read_pretrained(cfg.init)
    _refuse_other_kind(cfg, found)
    options = {name: value for name, value in found.options.items() if name not in NOT_TAKEN and name in cfg.model}
    for name, value in options.items():
        cfg.model[name] = value
    if options.get("segments") == 1:
        cfg.model.segments = None  # the only kind is the same for every token: it goes into the positions
    cfg.model.size = None
    cfg.model.context = min(cfg.model.context, found.options["context"])
    cfg.tokenizer = OmegaConf.create({"_target_": "ssl_cli.data.taken_tokenizer.Taken", "folder": str(found.folder)})
    cfg.choices.tokenizer = TAKEN
    shape = f"{options['layers']} layers of {options['width']}"
    return Start(found, [f"going on from {found.folder}: {found.family}, {shape}, its own tokenizer"])


def _refuse_other_kind(cfg: DictConfig, found: Pretrained) -> None:
    is_causal = issubclass(locate(cfg.model._target_), CausalLM)
    if found.is_causal != is_causal:
        guesses, model = ("the next token", "gpt") if found.is_causal else ("hidden tokens", "bert")
        raise InputError(f"init={cfg.init} holds a model that guesses {guesses}: say model={model}.")
