"""Our models as checkpoints of transformers, which its AutoModel and AutoTokenizer open."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from ssl_cli.data.tokenizers.tokenizer import Tokenizer, framing
from ssl_cli.errors import InputError
from ssl_cli.models.huggingface.config import config_of, skipped_positions
from ssl_cli.models.huggingface.files import CONFIG, SAFE, write_json
from ssl_cli.models.huggingface.parameter_map import FAMILIES, ModulePart, head_parts, network_parts, pair_parts
from ssl_cli.models.positions import angles
from ssl_cli.models.transformer import Transformer

FRAMINGS = ("TemplateProcessing", "BertProcessing", "RobertaProcessing")
SPECIAL_TOKENS = {"pad": "pad_token", "unk": "unk_token", "cls": "cls_token", "sep": "sep_token", "mask": "mask_token"}


def write_checkpoint(objective: nn.Module, tokenizer: Tokenizer, folder: Path) -> list[str]:
    """A folder of config.json, model.safetensors and a tokenizer, of an objective with a `network` and perhaps heads.

    Gives sentences on what couldn't be taken along. Raises InputError where transformers has no such model.
    """
    network = objective.network
    assert isinstance(network, Transformer)
    kind = family_of(network, tokenizer)
    weights, warnings = _fitted(kind, objective.state_dict())
    config = config_of(kind, network, tokenizer.specials) | {"architectures": [_class_of(kind, weights)]}
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / CONFIG, config)
    try:
        save_file(_named(kind, network, tokenizer, weights), folder / SAFE, metadata={"format": "pt"})
    except SafetensorError as error:  # the disk is full, say: an error like any other file's
        reason = str(error).removeprefix("Error while serializing: ").removeprefix("I/O error: ")
        raise OSError(None, reason, str(folder / SAFE)) from error
    _write_tokenizer(network, tokenizer, folder)
    return warnings


# --- which of their models ours is ---


def family_of(network: Transformer, tokenizer: Tokenizer) -> str:
    """The family whose model computes the same. Raises InputError where there is none."""
    positions, norm = network.positions, network.norm
    if network.causal and norm == "pre" and positions in ("learned", "rotary"):
        return "gpt2" if positions == "learned" else "gpt_neox"
    if not network.causal and norm == "post" and positions == "learned":
        # RoBERTa's own vocabularies begin <s>, <pad>; it counts positions from the padding's number.
        return "roberta" if tokenizer.specials.get("pad") == 1 and network.segments < 2 else "bert"
    is_esm = not network.causal and norm == "pre" and network.activation == "gelu"
    if is_esm and (positions == "learned" or (positions == "rotary" and not network.segments)):
        return "esm"
    what = "a decoder" if network.causal else "an encoder"
    raise InputError(
        f"transformers has no model like this one, {what} with norm={norm}, positions={positions} and "
        f"activation={network.activation}, that could be written: train one with positions=learned"
        f"{' and norm=pre' if network.causal else ' and activation=gelu'}."
    )


def _fitted(kind: str, weights: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """The weights, with segments as the family has them."""
    weights, warnings = dict(weights), []
    table = weights["network.token_table.weight"]
    segments = weights.get("network.segment_table.weight")
    if kind in ("bert", "roberta") and segments is None:
        weights["network.segment_table.weight"] = table.new_zeros(1, table.shape[1])
    if kind == "esm" and segments is not None:
        del weights["network.segment_table.weight"]
        weights["network.position_table.weight"] = weights["network.position_table.weight"] + segments[0]
        warnings.append("transformers has no encoder with norm=pre and segments: every text is of the first segment.")
    has_pair = any(name.startswith("pair_head.") for name in weights)
    if has_pair and not FAMILIES[kind].pair:
        warnings.append(f"The head for pairs of texts is left out: transformers' {kind} has none.")
    return weights, warnings


# --- its files ---


def _class_of(kind: str, weights: dict[str, Tensor]) -> str:
    """The class of transformers that has the same heads"""
    classes = FAMILIES[kind].classes
    return classes[-1 if any(name.startswith("pair_head.") for name in weights) else 0]


def _named(kind: str, network: Transformer, tokenizer: Tokenizer, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors by their names"""
    family = FAMILIES[kind]
    absent = {name for name in ("position_table", "segment_table") if f"network.{name}.weight" not in weights}
    parts = {
        "network": network_parts(family, network.layers, skipped_positions(kind, tokenizer.specials), absent),
        "head": head_parts(family),
        "pair_head": pair_parts(family),
    }
    named: dict[str, Tensor] = {}
    for where, listed in parts.items():
        for part in listed:
            if (tensor := weights.get(f"{where}.{part.ours}")) is not None:
                named |= _taken_apart(part, tensor.float(), network.heads)
    is_trunk = {name: not name.startswith(("cls.", "lm_head.")) for name in named}
    named = {(family.trunk if is_trunk[name] else "") + name: tensor for name, tensor in named.items()}
    bias = named.get(family.head_bias[0]) if family.head_bias else None
    named |= {name: bias.clone() for name in family.head_bias[1:] if bias is not None}
    named |= _others(kind, network)
    return {name: tensor.contiguous() for name, tensor in named.items()}


def _taken_apart(part: ModulePart, tensor: Tensor, heads: int) -> dict[str, Tensor]:
    if part.layout == "by_head":  # (3, heads, D, ...) -> (heads, 3, D, ...)
        tensor = tensor.unflatten(0, (3, heads, -1)).transpose(0, 1).flatten(0, 2)
    if part.layout == "turned":
        tensor = tensor.T
    if part.skipped:
        tensor = torch.cat([tensor.new_zeros(part.skipped, *tensor.shape[1:]), tensor])
    return {name: piece.clone() for name, piece in zip(part.theirs, tensor.chunk(len(part.theirs)), strict=True)}


def _others(kind: str, network: Transformer) -> dict[str, Tensor]:
    """What theirs has besides, and would say that it lacks."""
    if kind != "esm":
        return {}
    contacts, head_width = "esm.contact_head.regression", network.width // network.heads
    others = {f"{contacts}.weight": torch.zeros(1, network.layers * network.heads), f"{contacts}.bias": torch.zeros(1)}
    if network.positions == "rotary":
        others["esm.rotary_embeddings.inv_freq"] = angles(2, head_width)[1]
    return others


def _write_tokenizer(network: Transformer, tokenizer: Tokenizer, folder: Path) -> None:
    content = json.dumps(_framed(network, tokenizer), ensure_ascii=False)
    (folder / "tokenizer.json").write_text(content, encoding="utf-8")
    roles = {
        name: tokenizer.token(tokenizer.specials[role])
        for role, name in SPECIAL_TOKENS.items()
        if role in tokenizer.specials
    }
    if network.causal:
        roles |= {"eos_token": tokenizer.token(tokenizer.specials["end"])} if "end" in tokenizer.specials else {}
    about = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": network.context}
    inputs = {"model_input_names": ["input_ids", "attention_mask"]}
    kinds = inputs if network.segments < 2 else {"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}
    write_json(folder / "tokenizer_config.json", about | kinds | {"clean_up_tokenization_spaces": False} | roles)
    write_json(folder / "special_tokens_map.json", roles)


def _framed(network: Transformer, tokenizer: Tokenizer) -> dict[str, Any]:
    """Its tokenizer.json: an encoder's text stands between [CLS] and [SEP], a decoder's begins with itself."""
    content: dict[str, Any] = json.loads(tokenizer.to_json())
    is_framed = (content.get("post_processor") or {}).get("type") in FRAMINGS
    if network.causal and is_framed:
        return content | {"post_processor": None}
    if network.causal or is_framed or not {"cls", "sep"} <= tokenizer.specials.keys():
        return content
    own = Tokenizer.from_json(tokenizer.to_json())  # one that was taken from elsewhere
    cls, sep = ((own.token(own.specials[role]), own.specials[role]) for role in ("cls", "sep"))
    own.library.post_processor = framing(cls, sep)
    return json.loads(own.to_json())
