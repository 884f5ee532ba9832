"""Parameter names of transformers' encoder-decoders, BART and T5, and of ours."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ssl_cli.models.huggingface.parameter_map import ParameterMapping

STACKS = ("encoder", "decoder")


@dataclass(frozen=True)
class Seq2SeqFamily:
    """A model type of transformers with an encoder and a decoder: for each of our modules, the name of theirs.

    The names of a stack lack its prefix, `encoder.` or `decoder.`, and those in a block that of the block. `trunk` is
    the prefix of all but the output matrix. `tables` are the names of the token embeddings, which may be there several
    times but must be the same.
    """

    trunk: str
    around: dict[str, str]  # outside of the blocks
    block: str
    in_encoder: dict[str, tuple[str, ...]]
    in_decoder: dict[str, tuple[str, ...]]
    kinds: tuple[str, ...]  # of parameters in a module
    class_name: str  # of transformers, as config.json names it
    position_offset: int = 0  # rows of the position embeddings before the first position
    scales_scores: bool = True  # whether it divides the scores of attention by the root of a head's width, as we do
    tables: tuple[str, ...] = ("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
    output: str = "lm_head.weight"
    unread: tuple[str, ...] = ()  # ends of names of tensors that the model does not use


def _projections(name: str, *kinds: str) -> tuple[str, ...]:
    return tuple(f"{name}.{kind}" for kind in kinds)


_BART_BLOCK = {
    "attention.qkv": _projections("self_attn", "q_proj", "k_proj", "v_proj"),
    "attention.out": ("self_attn.out_proj",),
    "attention_norm": ("self_attn_layer_norm",),
    "up": ("fc1",),
    "down": ("fc2",),
    "feedforward_norm": ("final_layer_norm",),
}
_BART_CROSS = {
    "cross_attention.q": ("encoder_attn.q_proj",),
    "cross_attention.kv": _projections("encoder_attn", "k_proj", "v_proj"),
    "cross_attention.out": ("encoder_attn.out_proj",),
    "cross_norm": ("encoder_attn_layer_norm",),
}
_T5_SELF = {
    "attention.qkv": _projections("layer.0.SelfAttention", "q", "k", "v"),
    "attention.out": ("layer.0.SelfAttention.o",),
    "attention_norm": ("layer.0.layer_norm",),
}
_T5_CROSS = {
    "cross_attention.q": ("layer.1.EncDecAttention.q",),
    "cross_attention.kv": _projections("layer.1.EncDecAttention", "k", "v"),
    "cross_attention.out": ("layer.1.EncDecAttention.o",),
    "cross_norm": ("layer.1.layer_norm",),
}


def _t5_feedforward(layer: str) -> dict[str, tuple[str, ...]]:
    return {
        "up": (f"{layer}.DenseReluDense.wi",),
        "down": (f"{layer}.DenseReluDense.wo",),
        "feedforward_norm": (f"{layer}.layer_norm",),
    }


SEQ2SEQ_FAMILIES = {
    "bart": Seq2SeqFamily(
        trunk="model.",
        around={"position_table": "embed_positions", "first_norm": "layernorm_embedding"},
        block="layers.",
        in_encoder=_BART_BLOCK,
        in_decoder=_BART_BLOCK | _BART_CROSS,
        kinds=("weight", "bias"),
        class_name="BartForConditionalGeneration",
        position_offset=2,
        unread=("encoder.version", "decoder.version", "final_logits_bias"),  # the last is known to be 0
    ),
    "t5": Seq2SeqFamily(
        trunk="",
        around={
            "relative_table": "block.0.layer.0.SelfAttention.relative_attention_bias",
            "last_norm": "final_layer_norm",
        },
        block="block.",
        in_encoder=_T5_SELF | _t5_feedforward("layer.1"),
        in_decoder=_T5_SELF | _T5_CROSS | _t5_feedforward("layer.2"),
        kinds=("weight",),
        class_name="T5ForConditionalGeneration",
        scales_scores=False,
        # Of T5's first checkpoints; no version of the model adds it.
        unread=("EncDecAttention.relative_attention_bias.weight",),
    ),
}


def seq2seq_mappings(
    family: Seq2SeqFamily, options: Mapping[str, Any], logits_scale: float = 1.0
) -> Iterator[ParameterMapping]:
    """Yield the mappings of an EncoderDecoder with these options, without that of its token embeddings.

    `logits_scale` is a factor of their logits that ours have in the decoder's last norm.
    """
    for stack in STACKS:
        in_block, n_layers = (
            (family.in_encoder, options["layers"])
            if stack == "encoder"
            else (family.in_decoder, options["decoder_layers"])
        )
        for module, hf_name in family.around.items():
            for kind in ("weight",) if module.endswith("_table") else family.kinds:
                offset = family.position_offset if module == "position_table" else 0
                scales = (logits_scale,) if (stack, module) == ("decoder", "last_norm") else ()
                name, hf_names = f"{stack}.{module}.{kind}", (f"{stack}.{hf_name}.{kind}",)
                yield ParameterMapping(name, hf_names, row_offset=offset, scales=scales)
        for layer in range(n_layers):
            for module, hf_modules in in_block.items():
                yield from _in_block(family, f"{stack}.blocks.{layer}.{module}", hf_modules, options)
    if not options["tied_output"]:
        yield ParameterMapping("output.weight", (family.output,))


def _in_block(
    family: Seq2SeqFamily, module: str, hf_modules: tuple[str, ...], options: Mapping[str, Any]
) -> Iterator[ParameterMapping]:
    stack, _, layer, part = module.split(".", 3)
    prefix = f"{stack}.{family.block}{layer}."
    if family.block == "block." and part == "up" and options["activation"] in ("geglu", "swiglu"):
        hf_modules = tuple(f"{hf_modules[0]}_{number}" for number in range(2))  # T5's gate, and what it multiplies
    scales: tuple[float, ...] = ()
    if not family.scales_scores and part in ("attention.qkv", "cross_attention.q"):
        scales = (math.sqrt(options["head_width"]), 1.0, 1.0)[: len(hf_modules)]
    for kind in family.kinds:
        hf_names = tuple(f"{prefix}{name}.{kind}" for name in hf_modules)
        yield ParameterMapping(f"{module}.{kind}", hf_names, scales=scales)
