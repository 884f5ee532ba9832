"""config.json of a transformers checkpoint: converted to our transformer's options, and back."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssl_cli.data.io.json_state import read_state
from ssl_cli.errors import InputError
from ssl_cli.models.blocks import check_head_sizes
from ssl_cli.models.huggingface.files import CONFIG
from ssl_cli.models.positions import BUCKETS, MAX_DISTANCE
from ssl_cli.models.transformer import Transformer
from ssl_cli.runs.folder import CONFIG as RUN_CONFIG

SUPPORTED_TYPES = ("bert", "roberta", "gpt2", "gpt_neox", "esm", "bart", "t5")
# Our option -> its name in config.json.
BERT_NAMES = {
    "vocab_size": "vocab_size",
    "layers": "num_hidden_layers",
    "width": "hidden_size",
    "heads": "num_attention_heads",
    "feedforward": "intermediate_size",
    "context": "max_position_embeddings",
    "segments": "type_vocab_size",
}
GPT2_NAMES = {
    "vocab_size": "vocab_size",
    "layers": "n_layer",
    "width": "n_embd",
    "heads": "n_head",
    "feedforward": "n_inner",
    "context": "n_positions",
}
ACTIVATIONS_FROM_HF = {"gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "relu": "relu"}
ACTIVATIONS_TO_HF = {"gelu": "gelu", "gelu_tanh": "gelu_new", "relu": "relu"}
DROPOUT_NAMES = {
    "gpt2": (("embd_pdrop", "resid_pdrop"), "attn_pdrop"),
    "gpt_neox": (("hidden_dropout",), "attention_dropout"),
}
# Options of config.json that our model does not have -> the only value that is supported.
REQUIRED_VALUES: dict[str, dict[str, Any]] = {
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
    "bart": {
        **{"scale_embedding": False, "is_decoder": False, "normalize_before": False, "add_final_layer_norm": False},
        **{"normalize_embedding": True, "static_position_embeddings": False, "add_bias_logits": False},
    },
    "t5": {
        **{"is_decoder": False, "relative_attention_num_buckets": BUCKETS},
        **{"relative_attention_max_distance": MAX_DISTANCE},
    },
}


def read_config(folder: Path) -> dict[str, Any]:
    """Read config.json. Raises InputError if the model is of a type or variant that our transformer can't be."""
    if not (folder / CONFIG).is_file():
        if (folder / RUN_CONFIG).is_file():
            raise InputError(
                f"{folder} is a run of ssl, not a transformers checkpoint: resume={folder} continues the run, and "
                f"ssl export run={folder} output=FOLDER writes a checkpoint."
            )
        raise InputError(f"{folder} is not a transformers checkpoint: it has no {CONFIG}.")
    config = read_state(folder / CONFIG)
    kind = config.get("model_type")
    if kind is None:
        raise InputError(
            f"{folder / CONFIG} lacks model_type, which says what the model is: add one of "
            f"{', '.join(SUPPORTED_TYPES)}."
        )
    if not isinstance(kind, str) or kind not in SUPPORTED_TYPES:
        raise InputError(f"{folder} holds a model of type {kind!r}; supported types: {', '.join(SUPPORTED_TYPES)}.")
    if config.get("quantization_config") is not None:
        raise InputError(f"{folder / CONFIG} has a quantization_config: quantized models are not supported.")
    values = config | _neox_values(folder / CONFIG, config) if kind == "gpt_neox" else config
    for name, value in REQUIRED_VALUES[kind].items():
        if values.get(name, value) != value:
            raise InputError(f"{folder / CONFIG} has {name}={values[name]}, but only {value} is supported.")
    return config


def _neox_values(path: Path, config: dict[str, Any]) -> dict[str, Any]:
    """Return GPT-NeoX's default values, and its rotary positions under their older names."""
    rope = config.get("rope_scaling") or config.get("rope_parameters") or {}
    if not isinstance(rope, dict):
        raise InputError(f"{path}: rope_parameters must map names to values, not {rope!r}.")
    return {
        "use_parallel_residual": config.get("use_parallel_residual", True),
        "rope_type": rope.get("rope_type", rope.get("type", "default")),
        "rotary_pct": rope.get("partial_rotary_factor", config.get("rotary_pct", 0.25)),
        "rotary_emb_base": rope.get("rope_theta", config.get("rotary_emb_base", 10_000)),
    }


def is_tied(config: dict[str, Any]) -> bool:
    """Return whether the token embeddings are the output matrix, so that a checkpoint needs no other one."""
    return bool(config.get("tie_word_embeddings", config["model_type"] != "gpt_neox"))


def transformer_options(path: Path, config: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """Return the arguments of Transformer, and the number of position embeddings before the first position.

    `path` is that of config.json. Raises InputError if a size is missing or a value is not supported.
    """
    kind = config["model_type"]
    is_gpt2 = kind == "gpt2"
    options = _sizes(path, config, kind)
    positions = config.get("position_embedding_type", "absolute")
    if positions != "absolute" and (kind, positions) != ("esm", "rotary"):
        raise InputError(f"{path} has positions of type {positions!r}, but only absolute ones are supported.")
    pad = config.get("pad_token_id")
    offset = position_offset(kind, {"pad": pad if isinstance(pad, int) and pad >= 0 else 1})
    options["context"] -= offset
    options |= {"normalization": "layer", "biases": True}
    options |= {"causal": kind in ("gpt2", "gpt_neox"), "norm": "post" if kind in ("bert", "roberta") else "pre"}
    options["positions"] = "rotary" if positions == "rotary" or kind == "gpt_neox" else "learned"
    options.setdefault("segments", 0)
    name, default = ("activation_function", "gelu_new") if is_gpt2 else ("hidden_act", "gelu")
    options["activation"] = _activation(path, config.get(name, default))
    check_head_sizes(options["width"], options["heads"], options["positions"])
    name = "layer_norm_epsilon" if is_gpt2 else "layer_norm_eps"
    eps = config.get(name, 1e-5 if options["causal"] else 1e-12)
    if isinstance(eps, bool) or not isinstance(eps, int | float) or not 0 < eps < 1:
        raise InputError(f"{path}: {name} must be a number above 0 and below 1, not {eps!r}.")
    return options | {"norm_eps": float(eps)}, offset


def _sizes(path: Path, config: dict[str, Any], kind: str) -> dict[str, Any]:
    names = dict(GPT2_NAMES if kind == "gpt2" else BERT_NAMES)
    if kind in ("esm", "gpt_neox"):
        del names["segments"]
    sizes: dict[str, Any] = {option: config.get(hf_name) for option, hf_name in names.items()}
    if kind == "gpt2" and sizes["feedforward"] is None and isinstance(sizes["width"], int):
        sizes["feedforward"] = 4 * sizes["width"]
    for option, value in sizes.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"{path}: {names[option]} must be a whole number above 0, not {value!r}.")
    return sizes


def _activation(path: Path, hf_name: object) -> str:
    if not isinstance(hf_name, str) or hf_name not in ACTIVATIONS_FROM_HF:
        raise InputError(f"{path} has the activation {hf_name!r}; supported: {', '.join(ACTIVATIONS_FROM_HF)}.")
    return ACTIVATIONS_FROM_HF[hf_name]


def position_offset(kind: str, specials: Mapping[str, int]) -> int:
    """Return the index of the first position: RoBERTa and ESM count from the padding token's id plus one."""
    return specials["pad"] + 1 if kind in ("roberta", "esm") else 0


# --- from our transformer ---


def build_config(kind: str, network: Transformer, specials: Mapping[str, int]) -> dict[str, Any]:
    """Return the content of config.json for a network that is written as a model of this type."""
    is_gpt2 = kind == "gpt2"
    names = {option: hf for option, hf in (GPT2_NAMES if is_gpt2 else BERT_NAMES).items() if option != "segments"}
    config: dict[str, Any] = {hf_name: getattr(network, option) for option, hf_name in names.items()}
    config[names["context"]] += position_offset(kind, specials)
    config["activation_function" if is_gpt2 else "hidden_act"] = ACTIVATIONS_TO_HF[network.activation]
    config["layer_norm_epsilon" if is_gpt2 else "layer_norm_eps"] = network.norm_eps
    dropouts, attention_dropout = DROPOUT_NAMES.get(kind, (("hidden_dropout_prob",), "attention_probs_dropout_prob"))
    config |= dict.fromkeys(dropouts, network.dropout) | {attention_dropout: network.attention_dropout}
    config |= {f"{role}_token_id": specials[role] for role in ("pad", "mask") if role in specials}
    if network.causal:
        config |= {"bos_token_id": specials.get("end"), "eos_token_id": specials.get("end")}
    if kind in ("bert", "roberta"):
        config["type_vocab_size"] = max(1, network.segments)
    common = {"model_type": kind, "tie_word_embeddings": True, "dtype": "float32"}
    return config | _type_settings(kind, network.positions == "rotary") | common


def _type_settings(kind: str, is_rotary: bool) -> dict[str, Any]:
    """Return the settings that only this model type has."""
    if kind == "esm":
        positions = "rotary" if is_rotary else "absolute"
        return {"token_dropout": False, "emb_layer_norm_before": False, "position_embedding_type": positions}
    if kind == "gpt_neox":
        rope = {"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 1.0}
        return {"use_parallel_residual": False, "rotary_pct": 1.0, "rotary_emb_base": 10_000, "rope_parameters": rope}
    return {}
