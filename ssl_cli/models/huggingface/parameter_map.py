"""Parameter names of transformers' models and of ours, for reading and writing checkpoints."""

from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from typing import Literal

# How our parameter is made of theirs: stacked on top of each other, transposed (GPT-2 stores its matrices that way), or
# interleaved by head (GPT-NeoX).
Layout = Literal["stacked", "transposed", "by_head"]


@dataclass(frozen=True)
class ParameterMapping:
    """A parameter of ours, and the names of the transformers parameters that it is made of.

    The first `row_offset` rows of theirs are unused. `scales`: what each of theirs is multiplied by, none for 1.
    """

    name: str
    hf_names: tuple[str, ...]
    layout: Layout = "stacked"
    row_offset: int = 0
    scales: tuple[float, ...] = ()


@dataclass(frozen=True)
class Family:
    """A model type of transformers: for each of our modules, the name of theirs.

    `tables` are embeddings and have only weights; all other modules have weights and biases. `trunk` is the prefix of
    the network's parameters in a model with a head.
    """

    trunk: str
    tables: dict[str, str]
    norm: tuple[str, str]
    block: str
    in_block: dict[str, tuple[str, ...]]
    output: str  # their output matrix; ours is the token embeddings, so it must equal them
    head: dict[str, str] = field(default_factory=dict)
    head_bias: tuple[str, ...] = ()  # its names: some versions store it under several, some under one of them
    pair: dict[str, str] = field(default_factory=dict)
    layout: Layout = "stacked"
    classes: tuple[str, ...] = ()  # of transformers, as config.json names them


BERT_BLOCK = {
    "attention.qkv": ("attention.self.query", "attention.self.key", "attention.self.value"),
    "attention.out": ("attention.output.dense",),
    "up": ("intermediate.dense",),
    "down": ("output.dense",),
}
POST_NORM = {"attention_norm": ("attention.output.LayerNorm",), "feedforward_norm": ("output.LayerNorm",)}
PRE_NORM = {"attention_norm": ("attention.LayerNorm",), "feedforward_norm": ("LayerNorm",)}
EMBEDDINGS = {
    "token_table": "embeddings.word_embeddings",
    "position_table": "embeddings.position_embeddings",
    "segment_table": "embeddings.token_type_embeddings",
}
LM_HEAD = {"dense": "lm_head.dense", "norm": "lm_head.layer_norm"}

FAMILIES = {
    "bert": Family(
        trunk="bert.",
        tables=EMBEDDINGS,
        norm=("first_norm", "embeddings.LayerNorm"),
        block="encoder.layer.",
        in_block=BERT_BLOCK | POST_NORM,
        output="cls.predictions.decoder.weight",
        head={"dense": "cls.predictions.transform.dense", "norm": "cls.predictions.transform.LayerNorm"},
        head_bias=("cls.predictions.bias", "cls.predictions.decoder.bias"),
        pair={"pool": "pooler.dense", "decide": "cls.seq_relationship"},
        classes=("BertForMaskedLM", "BertForPreTraining"),
    ),
    "roberta": Family(
        trunk="roberta.",
        tables=EMBEDDINGS,
        norm=("first_norm", "embeddings.LayerNorm"),
        block="encoder.layer.",
        in_block=BERT_BLOCK | POST_NORM,
        output="lm_head.decoder.weight",
        head=LM_HEAD,
        head_bias=("lm_head.bias", "lm_head.decoder.bias"),
        classes=("RobertaForMaskedLM",),
    ),
    # BERT with pre-norm: the only such model of transformers was made for proteins.
    "esm": Family(
        trunk="esm.",
        tables=EMBEDDINGS,
        norm=("last_norm", "encoder.emb_layer_norm_after"),
        block="encoder.layer.",
        in_block=BERT_BLOCK | PRE_NORM,
        output="lm_head.decoder.weight",
        head=LM_HEAD,
        head_bias=("lm_head.bias",),
        classes=("EsmForMaskedLM",),
    ),
    "gpt2": Family(
        trunk="transformer.",
        tables={"token_table": "wte", "position_table": "wpe"},
        norm=("last_norm", "ln_f"),
        block="h.",
        in_block={
            "attention_norm": ("ln_1",),
            "attention.qkv": ("attn.c_attn",),
            "attention.out": ("attn.c_proj",),
            "feedforward_norm": ("ln_2",),
            "up": ("mlp.c_fc",),
            "down": ("mlp.c_proj",),
        },
        output="lm_head.weight",
        layout="transposed",
        classes=("GPT2LMHeadModel",),
    ),
    # GPT-2 with rotary positions.
    "gpt_neox": Family(
        trunk="gpt_neox.",
        tables={"token_table": "embed_in"},
        norm=("last_norm", "final_layer_norm"),
        block="layers.",
        in_block={
            "attention_norm": ("input_layernorm",),
            "attention.qkv": ("attention.query_key_value",),
            "attention.out": ("attention.dense",),
            "feedforward_norm": ("post_attention_layernorm",),
            "up": ("mlp.dense_h_to_4h",),
            "down": ("mlp.dense_4h_to_h",),
        },
        output="embed_out.weight",
        layout="by_head",
        classes=("GPTNeoXForCausalLM",),
    ),
}


def network_mappings(family: Family, layers: int, position_offset: int, absent: set[str]) -> Iterator[ParameterMapping]:
    """Yield the mappings of the transformer, without the `absent` tables; positions begin at row `position_offset`."""
    for table, hf_name in family.tables.items():
        if table not in absent:
            offset = position_offset if table == "position_table" else 0
            yield ParameterMapping(f"{table}.weight", (f"{hf_name}.weight",), row_offset=offset)
    yield from _weight_and_bias(family.norm[0], (family.norm[1],))
    for layer in range(layers):
        for module, hf_modules in family.in_block.items():
            hf_names = tuple(f"{family.block}{layer}.{name}" for name in hf_modules)
            is_matrix = "norm" not in module
            has_layout = is_matrix and (family.layout == "transposed" or module == "attention.qkv")
            yield from _weight_and_bias(
                f"blocks.{layer}.{module}", hf_names, family.layout if has_layout else "stacked"
            )


def head_mappings(family: Family, stored: Container[str] = ()) -> Iterator[ParameterMapping]:
    """Yield the mappings of the head for masked tokens, if the family has one.

    The name of its bias is the first of those that are `stored`, or the usual one.
    """
    for module, hf_name in family.head.items():
        yield from _weight_and_bias(module, (hf_name,))
    if family.head_bias:
        bias = next((name for name in family.head_bias if name in stored), family.head_bias[0])
        yield ParameterMapping("bias", (bias,))


def pair_mappings(family: Family) -> Iterator[ParameterMapping]:
    """Yield the mappings of the head for pairs of texts, if the family has one."""
    for module, hf_name in family.pair.items():
        yield from _weight_and_bias(module, (hf_name,))


def _weight_and_bias(
    module: str, hf_modules: tuple[str, ...], layout: Layout = "stacked"
) -> Iterator[ParameterMapping]:
    for kind in ("weight", "bias"):
        # A bias has one dimension, which can't be transposed.
        kind_layout = "stacked" if kind == "bias" and layout == "transposed" else layout
        yield ParameterMapping(f"{module}.{kind}", tuple(f"{name}.{kind}" for name in hf_modules), kind_layout)
