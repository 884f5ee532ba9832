"""Writer of transformers checkpoints, which AutoModel and AutoTokenizer can open."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from ssl_cli.data.tokenizers.tokenizer import Tokenizer, bert_template
from ssl_cli.errors import InputError
from ssl_cli.models.huggingface.config import build_config, position_offset
from ssl_cli.models.huggingface.files import CONFIG, SAFETENSORS, write_json
from ssl_cli.models.huggingface.parameter_map import (
    FAMILIES,
    ParameterMapping,
    head_mappings,
    network_mappings,
    pair_mappings,
)
from ssl_cli.models.positions import position_angles
from ssl_cli.models.transformer import Transformer

TEMPLATE_TYPES = ("TemplateProcessing", "BertProcessing", "RobertaProcessing")  # post-processors of tokenizer.json
SPECIAL_TOKENS = {"pad": "pad_token", "unk": "unk_token", "cls": "cls_token", "sep": "sep_token", "mask": "mask_token"}


def write_checkpoint(objective: nn.Module, tokenizer: Tokenizer, folder: Path) -> list[str]:
    """Write config.json, model.safetensors and the tokenizer of a method with a `network` and perhaps heads.

    Returns warnings about what could not be exported. Raises InputError if transformers has no such model.
    """
    network = objective.network
    assert isinstance(network, Transformer)
    kind = choose_family(network, tokenizer)
    weights, warnings = _adapt_weights(kind, objective.state_dict())
    config = build_config(kind, network, tokenizer.specials) | {"architectures": [_class_name(kind, weights)]}
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / CONFIG, config)
    try:
        tensors = _hf_tensors(kind, network, tokenizer, weights)
        save_file(tensors, folder / SAFETENSORS, metadata={"format": "pt"})
    except SafetensorError as error:  # if the disk is full, for example: reported like any other file's error
        reason = str(error).removeprefix("Error while serializing: ").removeprefix("I/O error: ")
        raise OSError(None, reason, str(folder / SAFETENSORS)) from error
    _write_tokenizer(network, tokenizer, folder)
    return warnings


# --- choice of the model type ---


def choose_family(network: Transformer, tokenizer: Tokenizer) -> str:
    """Return the model type that computes the same. Raises InputError if there is none."""
    positions, norm = network.positions, network.norm
    if network.causal and norm == "pre" and positions in ("learned", "rotary"):
        return "gpt2" if positions == "learned" else "gpt_neox"
    if not network.causal and norm == "post" and positions == "learned":
        # RoBERTa's own vocabularies begin with <s>, <pad>; it counts positions from the padding token's id.
        return "roberta" if tokenizer.specials.get("pad") == 1 and network.segments < 2 else "bert"
    is_esm = not network.causal and norm == "pre" and network.activation == "gelu"
    if is_esm and (positions == "learned" or (positions == "rotary" and not network.segments)):
        return "esm"
    raise InputError(
        f"transformers has no model like this one, {'a decoder' if network.causal else 'an encoder'} with norm={norm}, "
        f"positions={positions} and activation={network.activation}: train one with positions=learned"
        f"{' and norm=pre' if network.causal else ' and activation=gelu'}."
    )


def _adapt_weights(kind: str, weights: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Return the weights with segments as the model type requires, and warnings about what is left out."""
    weights, warnings = dict(weights), []
    table = weights["network.token_table.weight"]
    segments = weights.get("network.segment_table.weight")
    if kind in ("bert", "roberta") and segments is None:
        weights["network.segment_table.weight"] = table.new_zeros(1, table.shape[1])
    if kind == "esm" and segments is not None:
        del weights["network.segment_table.weight"]
        weights["network.position_table.weight"] = weights["network.position_table.weight"] + segments[0]
        warnings.append(
            "transformers has no encoder with norm=pre and segments: all tokens are exported as of the first segment."
        )
    if _has_pair_head(weights) and not FAMILIES[kind].pair:
        warnings.append(f"The head for pairs of texts is left out: transformers' {kind} has none.")
    return weights, warnings


def _has_pair_head(weights: dict[str, Tensor]) -> bool:
    return any(name.startswith("pair_head.") for name in weights)


# --- weights ---


def _class_name(kind: str, weights: dict[str, Tensor]) -> str:
    """Return the class of transformers that has the same heads."""
    return FAMILIES[kind].classes[-1 if _has_pair_head(weights) else 0]


def _hf_tensors(kind: str, network: Transformer, tokenizer: Tokenizer, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under the names of transformers."""
    family = FAMILIES[kind]
    absent = {name for name in ("position_table", "segment_table") if f"network.{name}.weight" not in weights}
    mappings = {
        "network": network_mappings(family, network.layers, position_offset(kind, tokenizer.specials), absent),
        "head": head_mappings(family),
        "pair_head": pair_mappings(family),
    }
    tensors: dict[str, Tensor] = {}
    for module, module_mappings in mappings.items():
        for mapping in module_mappings:
            if (tensor := weights.get(f"{module}.{mapping.name}")) is not None:
                tensors |= _split(mapping, tensor.float(), network.heads)
    is_trunk = {name: not name.startswith(("cls.", "lm_head.")) for name in tensors}
    tensors = {(family.trunk if is_trunk[name] else "") + name: tensor for name, tensor in tensors.items()}
    bias = tensors.get(family.head_bias[0]) if family.head_bias else None
    tensors |= {name: bias.clone() for name in family.head_bias[1:] if bias is not None}
    tensors |= _extra_tensors(kind, network)
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def _split(mapping: ParameterMapping, tensor: Tensor, heads: int) -> dict[str, Tensor]:
    """Return the transformers parameters that one of ours stands for."""
    if mapping.layout == "by_head":  # (3, heads, D, ...) -> (heads, 3, D, ...)
        tensor = tensor.unflatten(0, (3, heads, -1)).transpose(0, 1).flatten(0, 2)
    if mapping.layout == "transposed":
        tensor = tensor.T
    if mapping.row_offset:
        tensor = torch.cat([tensor.new_zeros(mapping.row_offset, *tensor.shape[1:]), tensor])
    pieces = tensor.chunk(len(mapping.hf_names))
    return {name: piece.clone() for name, piece in zip(mapping.hf_names, pieces, strict=True)}


def _extra_tensors(kind: str, network: Transformer) -> dict[str, Tensor]:
    """Return tensors that only the transformers model has, and that it would report as missing."""
    if kind != "esm":
        return {}
    contacts, head_width = "esm.contact_head.regression", network.width // network.heads
    extra = {f"{contacts}.weight": torch.zeros(1, network.layers * network.heads), f"{contacts}.bias": torch.zeros(1)}
    if network.positions == "rotary":
        extra["esm.rotary_embeddings.inv_freq"] = position_angles(2, head_width)[1]
    return extra


# --- tokenizer ---


def _write_tokenizer(network: Transformer, tokenizer: Tokenizer, folder: Path) -> None:
    content = json.dumps(_tokenizer_json(network, tokenizer), ensure_ascii=False)
    (folder / "tokenizer.json").write_text(content, encoding="utf-8")
    special_tokens = {
        name: tokenizer.token(tokenizer.specials[role])
        for role, name in SPECIAL_TOKENS.items()
        if role in tokenizer.specials
    }
    if network.causal and "end" in tokenizer.specials:
        special_tokens["eos_token"] = tokenizer.token(tokenizer.specials["end"])
    segment_ids = [] if network.segments < 2 else ["token_type_ids"]
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": network.context,
        "model_input_names": ["input_ids", *segment_ids, "attention_mask"],
        "clean_up_tokenization_spaces": False,
    }
    write_json(folder / "tokenizer_config.json", config | special_tokens)
    write_json(folder / "special_tokens_map.json", special_tokens)


def _tokenizer_json(network: Transformer, tokenizer: Tokenizer) -> dict[str, Any]:
    """Return tokenizer.json: an encoder's text is put between [CLS] and [SEP], a decoder's gets no special tokens."""
    content: dict[str, Any] = json.loads(tokenizer.to_json())
    has_template = (content.get("post_processor") or {}).get("type") in TEMPLATE_TYPES
    if network.causal and has_template:
        return content | {"post_processor": None}
    if network.causal or has_template or not {"cls", "sep"} <= tokenizer.specials.keys():
        return content
    copy = Tokenizer.from_json(tokenizer.to_json())  # of a tokenizer that was loaded without a template
    cls, sep = ((copy.token(copy.specials[role]), copy.specials[role]) for role in ("cls", "sep"))
    copy.library.post_processor = bert_template(cls, sep)
    return json.loads(copy.to_json())
