"""A checkpoint's config.json: as options of our transformer, and back."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssl_cli.data.io.json_state import read_state
from ssl_cli.errors import InputError
from ssl_cli.models.huggingface.files import CONFIG
from ssl_cli.models.transformer import Transformer, refuse_misfits

READABLE = ("bert", "roberta", "gpt2", "gpt_neox", "esm")
# Option of ours -> its name in config.json.
OF_BERT = {
    "vocab_size": "vocab_size",
    "layers": "num_hidden_layers",
    "width": "hidden_size",
    "heads": "num_attention_heads",
    "feedforward": "intermediate_size",
    "context": "max_position_embeddings",
    "segments": "type_vocab_size",
}
OF_GPT2 = {
    "vocab_size": "vocab_size",
    "layers": "n_layer",
    "width": "n_embd",
    "heads": "n_head",
    "feedforward": "n_inner",
    "context": "n_positions",
}
OF_ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "relu": "relu"}
TO_ACTIVATIONS = {"gelu": "gelu", "gelu_tanh": "gelu_new", "relu": "relu"}
# What ours doesn't do: option of config.json -> the only value that is understood.
PLAIN: dict[str, dict[str, Any]] = {
    "bert": {"is_decoder": False},
    "roberta": {"is_decoder": False},
    "esm": {"is_decoder": False, "token_dropout": False, "emb_layer_norm_before": False},
    "gpt2": {"scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False, "add_cross_attention": False},
    "gpt_neox": {
        "use_parallel_residual": False,
        "attention_bias": True,
        "rope_type": "default",
        "rotary_pct": 1.0,
        "rotary_emb_base": 10_000,
    },
}


def read_config(folder: Path) -> dict[str, Any]:
    """What config.json says. Raises InputError where it is no model that ours can be."""
    if not (folder / CONFIG).is_file():
        raise InputError(f"{folder} is no checkpoint of transformers: it has no {CONFIG}.")
    config = read_state(folder / CONFIG)
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in READABLE:
        raise InputError(f"{folder} holds a model of type {kind!r}; these can be read: {', '.join(READABLE)}.")
    said = config | _of_neox(folder / CONFIG, config) if kind == "gpt_neox" else config
    for name, value in PLAIN[kind].items():
        if said.get(name, value) != value:
            raise InputError(f"{folder / CONFIG} has {name}={said[name]}, which isn't understood: only {value} is.")
    return config


def _of_neox(path: Path, config: dict[str, Any]) -> dict[str, Any]:
    """What is so where GPT-NeoX's config says nothing, and its rotary positions under the names of old."""
    turns = config.get("rope_scaling") or config.get("rope_parameters") or {}
    if not isinstance(turns, dict):
        raise InputError(f"{path} must say rope_parameters, names with values, not {turns!r}.")
    return {
        "use_parallel_residual": config.get("use_parallel_residual", True),
        "rope_type": turns.get("rope_type", turns.get("type", "default")),
        "rotary_pct": turns.get("partial_rotary_factor", config.get("rotary_pct", 0.25)),
        "rotary_emb_base": turns.get("rope_theta", config.get("rotary_emb_base", 10_000)),
    }


def is_tied(config: dict[str, Any]) -> bool:
    """Whether logits are made by the table of tokens, so that a checkpoint needs no other matrix for them."""
    return bool(config.get("tie_word_embeddings", config["model_type"] != "gpt_neox"))


def options_of(path: Path, config: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """Arguments of Transformer, and how many rows of the table of positions come before the first position.

    `path` is that of config.json. Raises InputError where a size is missing, or what it says isn't understood.
    """
    kind = config["model_type"]
    is_gpt2 = kind == "gpt2"
    options = _sizes(path, config, kind)
    positions = config.get("position_embedding_type", "absolute")
    if positions != "absolute" and (kind, positions) != ("esm", "rotary"):
        raise InputError(f"{path} has positions of type {positions!r}; only absolute ones are understood.")
    pad = config.get("pad_token_id")
    skipped = skipped_positions(kind, {"pad": pad if isinstance(pad, int) and pad >= 0 else 1})
    options["context"] -= skipped
    options |= {"causal": kind in ("gpt2", "gpt_neox"), "norm": "post" if kind in ("bert", "roberta") else "pre"}
    options["positions"] = "rotary" if positions == "rotary" or kind == "gpt_neox" else "learned"
    options.setdefault("segments", 0)
    name, usual = ("activation_function", "gelu_new") if is_gpt2 else ("hidden_act", "gelu")
    options["activation"] = _activation(path, config.get(name, usual))
    refuse_misfits(options["width"], options["heads"], options["positions"])
    name = "layer_norm_epsilon" if is_gpt2 else "layer_norm_eps"
    eps = config.get(name, 1e-5 if options["causal"] else 1e-12)
    if isinstance(eps, bool) or not isinstance(eps, int | float) or not 0 < eps < 1:
        raise InputError(f"{path} must say {name}, a number above 0 and below 1, not {eps!r}.")
    return options | {"norm_eps": float(eps)}, skipped


def _sizes(path: Path, config: dict[str, Any], kind: str) -> dict[str, Any]:
    names = dict(OF_GPT2 if kind == "gpt2" else OF_BERT)
    if kind in ("esm", "gpt_neox"):
        del names["segments"]
    sizes: dict[str, Any] = {ours: config.get(theirs) for ours, theirs in names.items()}
    if kind == "gpt2" and sizes["feedforward"] is None and isinstance(sizes["width"], int):
        sizes["feedforward"] = 4 * sizes["width"]
    for ours, value in sizes.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"{path} must say {names[ours]}, a whole number above 0, not {value!r}.")
    return sizes


def _activation(path: Path, theirs: object) -> str:
    if not isinstance(theirs, str) or theirs not in OF_ACTIVATIONS:
        raise InputError(f"{path} has the activation {theirs!r}; only {', '.join(OF_ACTIVATIONS)} can be.")
    return OF_ACTIVATIONS[theirs]


def skipped_positions(kind: str, specials: Mapping[str, int]) -> int:
    """RoBERTa and ESM count positions from the number after the padding token's."""
    return specials["pad"] + 1 if kind in ("roberta", "esm") else 0


# --- and back ---


def config_of(kind: str, network: Transformer, specials: Mapping[str, int]) -> dict[str, Any]:
    """What config.json must say of a network that is written as a model of this kind."""
    is_gpt2 = kind == "gpt2"
    names = {ours: theirs for ours, theirs in (OF_GPT2 if is_gpt2 else OF_BERT).items() if ours != "segments"}
    config: dict[str, Any] = {theirs: getattr(network, ours) for ours, theirs in names.items()}
    config[names["context"]] += skipped_positions(kind, specials)
    config["activation_function" if is_gpt2 else "hidden_act"] = TO_ACTIVATIONS[network.activation]
    config["layer_norm_epsilon" if is_gpt2 else "layer_norm_eps"] = network.norm_eps
    dropped, within = OF_DROPOUT.get(kind, (("hidden_dropout_prob",), "attention_probs_dropout_prob"))
    config |= dict.fromkeys(dropped, network.dropout) | {within: network.attention_dropout}
    config |= {f"{role}_token_id": specials[role] for role in ("pad", "mask") if role in specials}
    if network.causal:
        config |= {"bos_token_id": specials.get("end"), "eos_token_id": specials.get("end")}
    if kind in ("bert", "roberta"):
        config["type_vocab_size"] = max(1, network.segments)
    about = {"model_type": kind, "tie_word_embeddings": True, "dtype": "float32"}
    return config | _of_kind(kind, network.positions == "rotary") | about


OF_DROPOUT = {
    "gpt2": (("embd_pdrop", "resid_pdrop"), "attn_pdrop"),
    "gpt_neox": (("hidden_dropout",), "attention_dropout"),
}


def _of_kind(kind: str, is_rotary: bool) -> dict[str, Any]:
    if kind == "esm":
        positions = "rotary" if is_rotary else "absolute"
        return {"token_dropout": False, "emb_layer_norm_before": False, "position_embedding_type": positions}
    if kind == "gpt_neox":
        turns = {"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 1.0}
        return {"use_parallel_residual": False, "rotary_pct": 1.0, "rotary_emb_base": 10_000, "rope_parameters": turns}
    return {}
