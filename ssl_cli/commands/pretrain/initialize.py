"""Where pretraining starts: at random weights, or at a checkpoint of transformers, with its shape and tokenizer."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ssl_cli.config.instantiate import build, locate
from ssl_cli.data.tokenizers.pretrained import PretrainedTokenizer
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.data.tokenizers.trainers import TokenizerTrainer
from ssl_cli.errors import InputError
from ssl_cli.methods.language.causal_lm import CausalLM
from ssl_cli.models.huggingface.read import Pretrained, read_pretrained
from ssl_cli.process import is_worker
from ssl_cli.training import checkpoints

TAKEN = "taken"  # what the tokenizer is called then
NOT_TAKEN = {"causal", "context"}  # of a checkpoint's options


@dataclass
class PretrainInit:
    """Nothing, or a checkpoint; `told` are sentences on what of it was used."""

    checkpoint: Pretrained | None = None
    told: list[str] = field(default_factory=list)

    def load_into(self, model: Any) -> Any:
        """The model, with the checkpoint's weights where there is one."""
        if self.checkpoint is not None:
            self.told += self.checkpoint.load_into(model)
        return model


def resolve_init(cfg: DictConfig) -> PretrainInit:
    """What `cfg.init` names. Its shape and its tokenizer become those of the config, so that the run can be reopened.

    A run that goes on has all of it in its own folder: what its config names elsewhere is not looked at. Raises
    InputError where it can't be read, or is a model of another kind.
    """
    if cfg.init is None:
        return PretrainInit()
    if _goes_on(cfg):
        if not checkpoints.exist(Path(cfg.resume)):
            raise InputError(f"{cfg.resume} ended before its first checkpoint: begin anew with init={cfg.init}.")
        return PretrainInit()
    found = read_pretrained(cfg.init)
    _refuse_other_kind(cfg, found)
    own_tokenizer(found)  # which is taken from its folder later on
    options = {name: value for name, value in found.options.items() if name not in NOT_TAKEN and name in cfg.model}
    for name, value in options.items():
        cfg.model[name] = value
    if options.get("segments") == 1:
        cfg.model.segments = None  # the only kind is the same for every token: it goes into the positions
    cfg.model.size = None
    cfg.model.context = min(cfg.model.context, found.options["context"])
    place = str(found.folder.resolve())
    cfg.init = place if Path(cfg.init).expanduser().is_dir() else cfg.init  # the hub has ids
    cfg.tokenizer = OmegaConf.create(
        {"_target_": "ssl_cli.data.tokenizers.pretrained.PretrainedTokenizer", "folder": place}
    )
    cfg.choices.tokenizer = TAKEN
    shape = f"{options['layers']} layers of {options['width']}"
    return PretrainInit(found, [f"going on from {found.folder}: {found.family}, {shape}, its own tokenizer"])


def tokenizer_maker(cfg: DictConfig) -> TokenizerTrainer:
    """What `cfg.tokenizer` names; of a run that goes on, a tokenizer from elsewhere is the one that it has kept."""
    maker: TokenizerTrainer = build(cfg.tokenizer)
    return PretrainedTokenizer(cfg.resume) if isinstance(maker, PretrainedTokenizer) and _goes_on(cfg) else maker


def _goes_on(cfg: DictConfig) -> bool:
    """Whether the run has been at work before. A worker is told to resume a run that has hardly begun, too."""
    return cfg.resume is not None and (checkpoints.exist(Path(cfg.resume)) or not is_worker())


def own_tokenizer(found: Pretrained) -> Tokenizer:
    """A checkpoint's. Raises InputError where it has more tokens than the weights know."""
    tokenizer, known = PretrainedTokenizer(str(found.folder)).train(), found.options["vocab_size"]
    if (tokens := tokenizer.vocab_size) > known:
        raise InputError(
            f"{found.folder}: its tokenizer has {tokens:,} tokens, more than the {known:,} of its weights."
        )
    return tokenizer


def _refuse_other_kind(cfg: DictConfig, found: Pretrained) -> None:
    is_causal = issubclass(locate(cfg.model._target_), CausalLM)
    if found.is_causal != is_causal:
        guesses, model = ("the next token", "gpt") if found.is_causal else ("hidden tokens", "bert")
        raise InputError(f"init={cfg.init} holds a model that guesses {guesses}: say model={model}.")
