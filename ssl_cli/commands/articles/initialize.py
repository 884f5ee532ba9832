"""Tokens and first weights of a model that reads and writes articles: its own, or those that `init=` names."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from omegaconf import DictConfig

from ssl_cli.commands.initialize import Init, resolve_init, tokenizer_trainer
from ssl_cli.commands.pretrain.finished import TOKENIZER
from ssl_cli.config.instantiate import class_of
from ssl_cli.config.typecheck import provides
from ssl_cli.data.articles.sources import ArticleData
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.errors import InputError
from ssl_cli.methods.text_latent.protocols import RebuildsTexts
from ssl_cli.methods.text_latent.token_rows import as_read


@dataclass(frozen=True)
class TextInit:
    """The tokenizer of a run, and what `init=` names."""

    tokenizer: Tokenizer
    init: Init

    @property
    def files(self) -> dict[str, str]:
        """Return the files of the run folder that it can't be resumed without."""
        return {TOKENIZER: self.tokenizer.to_json()}

    def load_into(self, model: Any) -> Iterator[str]:
        """Set the model's tokenizer, copy weights into each encoder-decoder, and yield what was loaded."""
        model.use_tokenizer(self.tokenizer)
        if not self.init.weights:
            return
        names = {f"{part}.{name}": weight for part in model.networks for name, weight in self.init.weights.items()}
        own = {name: weight for name, weight in model.named_parameters() if name in names}
        with torch.no_grad():
            for name, weight in own.items():
                weight.copy_(names[name])
        yield f"initialized from {self.init.place}: {len(own):,} tensors of {' and '.join(model.networks)}"


def reads_tokens(cfg: DictConfig) -> bool:
    """Return whether the model of a config reads tokens, and not words.

    Raises InputError if it reads words, and an option of tokens is set.
    """
    model = class_of(cfg, "model")
    if model is not None and provides(model, RebuildsTexts):
        return True
    for name in ("init", "tokenizer"):
        if cfg.get(name) is not None:
            raise InputError(f"{name}= has no effect on model={cfg.choices.model}, which reads words: leave it out.")
    return False


def initialize(cfg: DictConfig, data: ArticleData) -> TextInit:
    """Return the tokenizer, trained on the articles and titles unless `init=` has one, and the weights.

    Writes into the config what follows: facts, which are those of the tokenizer, and the network's shape. Raises
    InputError if `init=` names no encoder-decoder.
    """
    init = resolve_init(cfg)
    if init.options and "decoder_layers" not in init.options:
        raise InputError(
            f"init={cfg.init} has no decoder beside its encoder, and model={cfg.choices.model} writes a text from "
            "another: start from a run of model=bart, mass or t5, a checkpoint of BART or T5, or leave init= out."
        )
    cfg.init = init.place
    tokenizer = init.tokenizer or tokenizer_trainer(cfg).train(map(as_read, (*data.titles, *data.articles)))
    if init.weights and cfg.resume is None:
        for name, value in init.options.items():
            if name in cfg.model.network and name not in ("dropout", "attention_dropout"):
                cfg.model.network[name] = value
        cfg.model.network.size, cfg.model.style = None, init.style
    start = init.digest if cfg.resume is None else cfg.facts.get("start")
    cfg.facts = {"vocab_size": tokenizer.vocab_size, "specials": tokenizer.specials, "start": start}
    return TextInit(tokenizer, init)
