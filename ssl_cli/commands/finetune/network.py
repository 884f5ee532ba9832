"""The network of a labelled task: what `init=` names or the config describes, in the kind and the length it needs."""

import copy
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from ssl_cli.commands.finetune.adaptation import DECODER, ENCODER
from ssl_cli.commands.initialize import SCRATCH, Init
from ssl_cli.config.instantiate import locate
from ssl_cli.data.labelled.packed_pairs import MAX_ROW_TOKENS
from ssl_cli.data.tokenizers.seq2seq_template import Style
from ssl_cli.errors import InputError
from ssl_cli.models.encoder_decoder import EncoderDecoder
from ssl_cli.tasks.task import GeneratesText, Task

MAX_LENGTH = 384  # tokens of an example, unless max_length is given
EXTENSIBLE = ("rotary", "sinusoidal", "relative")  # positions that continue beyond those in training
STYLE_OF_SCRATCH: Style = "t5"  # of an encoder-decoder from random weights: no special token opens a text


@dataclass(frozen=True)
class FittedNetwork:
    """A network for a task: its constructor's arguments, the most tokens of a text, and the style of special tokens.

    The style is bart or t5, that of an encoder-decoder or of its encoder; None for another network.
    """

    options: dict[str, Any]
    length: int
    style: Style | None


def in_kind_of(task: Task, init: Init) -> Init:
    """Return what `init=` names as a network of the task's kind: of an encoder-decoder, the encoder alone may do.

    Raises InputError if a task that writes is to begin with a network that has no decoder beside its encoder.
    """
    writes = isinstance(task, GeneratesText)
    if not init.options and not init.weights:
        return init
    is_encoder_decoder = "decoder_layers" in init.options
    if writes and not is_encoder_decoder:
        raise InputError(
            f"{init.like or init.place} {_nature(init.options)}, and this task writes a text from another: start from "
            "a run of model=bart, mass or t5, a checkpoint of BART or T5, or init=none."
        )
    if writes:
        return init
    weights = {_name_in_encoder(name): weight for name, weight in init.weights.items()}
    options = _encoder_options(init.options) if is_encoder_decoder else init.options
    return replace(init, options=options, weights=weights)


def _nature(options: Mapping[str, Any]) -> str:
    return "reads from left to right, like GPT" if options.get("causal") else "only reads, like BERT"


def _encoder_options(options: Mapping[str, Any]) -> dict[str, Any]:
    with torch.device("meta"):
        return EncoderDecoder(**options).encoder_options


def _name_in_encoder(name: str) -> str:
    """Return the name of an encoder-decoder's weight in its encoder; a Transformer's weights keep theirs."""
    if name.startswith(ENCODER):
        return f"network.{name.removeprefix(ENCODER)}"
    return name.removeprefix("network.") if name.startswith((DECODER, "network.output.")) else name


def fit_network(cfg: DictConfig, init: Init, task: Task, vocab_size: int) -> FittedNetwork:
    """Return the network of a task.

    The context is extended if max_length exceeds it, or the longest target of a task that writes; there also so that
    short texts share long rows. Raises InputError if the network's positions can't be extended.
    """
    options, wanted = _options(cfg, init, vocab_size), {"max_length": cfg.max_length or 0}
    if isinstance(task, GeneratesText):
        wanted["task.max_target"] = task.max_target
    context = options["context"]
    for option, n_tokens in wanted.items():
        if n_tokens > context and options["positions"] not in EXTENSIBLE:
            place = "the network" if init.place in (None, SCRATCH) else init.place
            raise InputError(f"{option}={n_tokens}: {place} reads at most {context} tokens, the positions it learned.")
    length = min(context, MAX_LENGTH) if cfg.max_length is None else cfg.max_length
    if isinstance(task, GeneratesText) and options["positions"] in EXTENSIBLE:
        context = max(context, MAX_ROW_TOKENS)
    return FittedNetwork(options | {"context": max(context, *wanted.values())}, length, _style(cfg, init, task))


def _options(cfg: DictConfig, init: Init, vocab_size: int) -> dict[str, Any]:
    if not init.options:
        resolved = copy.deepcopy(cfg)
        resolved.facts = {"vocab_size": vocab_size}
        options: dict[str, Any] = OmegaConf.to_container(resolved.model, resolve=True)  # type: ignore[assignment]
        del options["_target_"]
        return options
    overrides = {} if cfg.resume is not None else cfg.model
    return {**init.options} | {name: overrides[name] for name in ("dropout", "attention_dropout") if name in overrides}


def _style(cfg: DictConfig, init: Init, task: Task) -> Style | None:
    if cfg.resume is not None:
        return cfg.facts.get("style")
    return init.style or (STYLE_OF_SCRATCH if isinstance(task, GeneratesText) else None)


def method_node(task: Task, network: Mapping[str, Any], labels: list[str], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of the method that learns a task, so that it alone rebuilds the model.

    Of `facts`, such as the special tokens, it has those that the method's constructor takes.
    """
    node = {"_target_": task.network, **network}
    taken = inspect.signature(locate(task.method)).parameters
    known = {"dropout": network["dropout"], **facts}
    given = {name: value for name, value in known.items() if name in taken}
    return {"_target_": task.method, "network": node, **task.options(labels), **given}
