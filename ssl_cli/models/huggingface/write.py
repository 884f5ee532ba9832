"""Writer of transformers checkpoints, which AutoModel and AutoTokenizer can open."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.errors import InputError
from ssl_cli.models.blocks import GATED
from ssl_cli.models.encoder_decoder import EncoderDecoder
from ssl_cli.models.huggingface.config import build_config, position_offset
from ssl_cli.models.huggingface.convert import to_hf
from ssl_cli.models.huggingface.files import CONFIG, write_json, write_tensors
from ssl_cli.models.huggingface.parameter_map import (
    FAMILIES,
    head_mappings,
    network_mappings,
    pair_mappings,
)
from ssl_cli.models.huggingface.write_seq2seq import write_seq2seq
from ssl_cli.models.huggingface.write_tokenizer import with_template, write_tokenizer
from ssl_cli.models.positions import position_angles
from ssl_cli.models.transformer import Transformer


def write_checkpoint(objective: nn.Module, tokenizer: Tokenizer, folder: Path) -> list[str]:
    """Write config.json, model.safetensors and the tokenizer of a method with a `network` and perhaps heads.

    Beside an EncoderDecoder it must have a `template`. Returns warnings about what could not be exported. Raises
    InputError if transformers has no such model.
    """
    network: Any = objective.network
    if isinstance(network, EncoderDecoder):
        template: Any = objective.template
        return write_seq2seq(network, template, tokenizer, folder)
    assert isinstance(network, Transformer)
    kind = choose_family(network, tokenizer)
    weights, warnings = _adapt_weights(kind, objective.state_dict())
    config = build_config(kind, network, tokenizer.specials) | {"architectures": [_class_name(kind, weights)]}
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / CONFIG, config)
    write_tensors(folder, _hf_tensors(kind, network, tokenizer, weights))
    more = {"eos_token": tokenizer.specials["end"]} if network.causal and "end" in tokenizer.specials else {}
    content = with_template(tokenizer, network.causal)
    write_tokenizer(folder, tokenizer, content, network.context, more, network.segments)
    return warnings


# --- choice of the model type ---


def choose_family(network: Transformer, tokenizer: Tokenizer) -> str:
    """Return the model type that computes the same. Raises InputError if there is none."""
    positions, norm = network.positions, network.norm
    _check_blocks(network)
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


def _check_blocks(network: Transformer) -> None:
    """Raise InputError if the blocks are such as no encoder or decoder of transformers that we write has."""
    wanted = {"normalization": "layer", "biases": "true", "positions": "learned", "activation": "gelu"}
    values = {name: str(getattr(network, name)).lower() for name in wanted}
    is_unlike = {name: values[name] != wanted[name] for name in ("normalization", "biases")}
    is_unlike |= {"positions": network.positions == "relative", "activation": network.activation in GATED}
    different = [name for name, unlike in is_unlike.items() if unlike]
    if network.head_width * network.heads != network.width:
        different.append("head_width")
        values |= {"head_width": str(network.head_width)}
        wanted |= {"head_width": "null"}
    if different:
        is_now, should_be = (" and ".join(f"{name}={of[name]}" for name in different) for of in (values, wanted))
        raise InputError(f"transformers has no model like this one, with {is_now}: train one with {should_be}.")


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
                tensors |= to_hf(mapping, tensor.float(), network.heads)
    is_trunk = {name: not name.startswith(("cls.", "lm_head.")) for name in tensors}
    tensors = {(family.trunk if is_trunk[name] else "") + name: tensor for name, tensor in tensors.items()}
    bias = tensors.get(family.head_bias[0]) if family.head_bias else None
    tensors |= {name: bias.clone() for name in family.head_bias[1:] if bias is not None}
    tensors |= _extra_tensors(kind, network)
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def _extra_tensors(kind: str, network: Transformer) -> dict[str, Tensor]:
    """Return tensors that only the transformers model has, and that it would report as missing."""
    if kind != "esm":
        return {}
    contacts, head_width = "esm.contact_head.regression", network.width // network.heads
    extra = {f"{contacts}.weight": torch.zeros(1, network.layers * network.heads), f"{contacts}.bias": torch.zeros(1)}
    if network.positions == "rotary":
        extra["esm.rotary_embeddings.inv_freq"] = position_angles(2, head_width)[1]
    return extra
