"""The parts of transformers' models, and what ours call them: to read its checkpoints and to write them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

# How theirs make ours: stacked one below the other, turned (GPT-2 keeps its matrices the other way round), or stacked
# head by head (GPT-NeoX).
Layout = Literal["stacked", "turned", "by_head"]


@dataclass(frozen=True)
class ModulePart:
    """A tensor of ours, and those of theirs that it is made of; their first `skipped` rows stand for nothing."""

    ours: str
    theirs: tuple[str, ...]
    layout: Layout = "stacked"
    skipped: int = 0


@dataclass(frozen=True)
class Family:
    """A kind of model in transformers. `tables` have weights only; all else has weights and biases.

    `trunk` is what the names of the network's tensors begin with, where there is a head beside it.
    """

    trunk: str
    tables: dict[str, str]
    norm: tuple[str, str]
    block: str
    in_block: dict[str, tuple[str, ...]]
    output: str  # the matrix that makes logits: ours is the table of tokens, so this one must equal it
    head: dict[str, str] = field(default_factory=dict)
    head_bias: tuple[str, ...] = ()  # the first is read; some versions store it under more names
    pair: dict[str, str] = field(default_factory=dict)
    layout: Layout = "stacked"
    classes: tuple[str, ...] = ()  # of transformers, as config.json names them


LIKE_BERT = {
    "attention.qkv": ("attention.self.query", "attention.self.key", "attention.self.value"),
    "attention.out": ("attention.output.dense",),
    "up": ("intermediate.dense",),
    "down": ("output.dense",),
}
AFTER = {"attention_norm": ("attention.output.LayerNorm",), "feedforward_norm": ("output.LayerNorm",)}
BEFORE = {"attention_norm": ("attention.LayerNorm",), "feedforward_norm": ("LayerNorm",)}
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
        in_block=LIKE_BERT | AFTER,
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
        in_block=LIKE_BERT | AFTER,
        output="lm_head.decoder.weight",
        head=LM_HEAD,
        head_bias=("lm_head.bias", "lm_head.decoder.bias"),
        classes=("RobertaForMaskedLM",),
    ),
    # BERT with its norms before each part: what transformers has of the kind was made for proteins.
    "esm": Family(
        trunk="esm.",
        tables=EMBEDDINGS,
        norm=("last_norm", "encoder.emb_layer_norm_after"),
        block="encoder.layer.",
        in_block=LIKE_BERT | BEFORE,
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
        layout="turned",
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


def network_parts(family: Family, layers: int, skipped: int, absent: set[str]) -> Iterator[ModulePart]:
    """Of the transformer itself, but for the tables that a model lacks; positions begin after `skipped` rows."""
    for ours, theirs in family.tables.items():
        if ours not in absent:
            yield ModulePart(
                f"{ours}.weight", (f"{theirs}.weight",), skipped=skipped if ours == "position_table" else 0
            )
    yield from _both(family.norm[0], (family.norm[1],))
    for layer in range(layers):
        for ours, names in family.in_block.items():
            whole = tuple(f"{family.block}{layer}.{name}" for name in names)
            is_matrix = "norm" not in ours
            layout = (
                family.layout if is_matrix and (family.layout == "turned" or ours == "attention.qkv") else "stacked"
            )
            yield from _both(f"blocks.{layer}.{ours}", whole, layout)


def head_parts(family: Family) -> Iterator[ModulePart]:
    """Of the head for masked tokens; none where a family has none."""
    for ours, theirs in family.head.items():
        yield from _both(ours, (theirs,))
    if family.head_bias:
        yield ModulePart("bias", family.head_bias[:1])


def pair_parts(family: Family) -> Iterator[ModulePart]:
    """Of the head for pairs of texts."""
    for ours, theirs in family.pair.items():
        yield from _both(ours, (theirs,))


def _both(ours: str, theirs: tuple[str, ...], layout: Layout = "stacked") -> Iterator[ModulePart]:
    for kind in ("weight", "bias"):
        # A bias has one dimension: there is nothing to turn.
        plain = kind == "bias" and layout == "turned"
        yield ModulePart(f"{ours}.{kind}", tuple(f"{name}.{kind}" for name in theirs), "stacked" if plain else layout)
