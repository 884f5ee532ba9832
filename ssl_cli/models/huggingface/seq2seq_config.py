"""config.json of transformers' encoder-decoders, BART and T5: converted to our network's options, and back."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssl_cli.data.tokenizers.seq2seq_template import Seq2SeqTemplate
from ssl_cli.errors import InputError
from ssl_cli.models.blocks import check_head_sizes
from ssl_cli.models.encoder_decoder import EncoderDecoder
from ssl_cli.models.positions import BUCKETS, MAX_DISTANCE

# Our option -> its names in config.json; where there are several, their values must be the same.
SIZE_NAMES: dict[str, dict[str, tuple[str, ...]]] = {
    "bart": {
        "vocab_size": ("vocab_size",),
        "layers": ("encoder_layers",),
        "decoder_layers": ("decoder_layers",),
        "width": ("d_model",),
        "heads": ("encoder_attention_heads", "decoder_attention_heads"),
        "feedforward": ("encoder_ffn_dim", "decoder_ffn_dim"),
        "context": ("max_position_embeddings",),
    },
    "t5": {
        "vocab_size": ("vocab_size",),
        "layers": ("num_layers",),
        "decoder_layers": ("num_decoder_layers",),
        "width": ("d_model",),
        "heads": ("num_heads",),
        "head_width": ("d_kv",),
        "feedforward": ("d_ff",),
        "context": ("n_positions",),
    },
}
T5_CONTEXT = 512  # that T5 was trained with; its newer configs do not say it
BART_NORM_EPS = 1e-5  # has no name in config.json
# Options of ours that all models of the type have.
FIXED: dict[str, dict[str, Any]] = {
    "bart": {"positions": "learned", "norm": "post", "normalization": "layer", "biases": True},
    "t5": {"positions": "relative", "norm": "pre", "normalization": "rms", "biases": False},
}
ACTIVATION_NAMES = {"bart": "activation_function", "t5": "feed_forward_proj"}
ACTIVATIONS: dict[str, dict[str, str]] = {  # theirs -> ours
    "bart": {"gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "relu": "relu"},
    "t5": {
        **{"relu": "relu", "gated-gelu": "geglu", "gated-silu": "swiglu", "gelu": "gelu", "gelu_new": "gelu_tanh"},
        **{"gated-gelu_new": "geglu"},
    },
}


def seq2seq_options(path: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of EncoderDecoder, without `tied_output`, which only the weights show.

    `path` is that of config.json. Raises InputError if a size is missing or a value is not supported.
    """
    kind = config["model_type"]
    options: dict[str, Any] = {name: _size(path, config, kind, name) for name in SIZE_NAMES[kind]}
    check_head_sizes(options["width"], options["heads"], "learned", options.get("head_width"))
    options.setdefault("head_width", options["width"] // options["heads"])
    hf_activation = config.get(ACTIVATION_NAMES[kind], next(iter(ACTIVATIONS[kind])))
    if not isinstance(hf_activation, str) or hf_activation not in ACTIVATIONS[kind]:
        raise InputError(f"{path} has the activation {hf_activation!r}; supported: {', '.join(ACTIVATIONS[kind])}.")
    eps = config.get("layer_norm_epsilon", 1e-6) if kind == "t5" else BART_NORM_EPS
    if isinstance(eps, bool) or not isinstance(eps, int | float) or not 0 < eps < 1:
        raise InputError(f"{path}: layer_norm_epsilon must be a number above 0 and below 1, not {eps!r}.")
    return options | FIXED[kind] | {"activation": ACTIVATIONS[kind][hf_activation], "norm_eps": float(eps)}


def _size(path: Path, config: Mapping[str, Any], kind: str, option: str) -> int:
    names = SIZE_NAMES[kind][option]
    values = [config.get(name) for name in names]
    if values == [None] and kind == "t5" and option in ("decoder_layers", "context"):
        values = [T5_CONTEXT if option == "context" else config.get("num_layers")]
    for name, value in zip(names, values, strict=True):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"{path}: {name} must be a whole number above 0, not {value!r}.")
    if len({*values}) > 1:
        shown = " and ".join(f"{name}={value}" for name, value in zip(names, values, strict=True))
        raise InputError(f"{path} has {shown}, but they must be the same.")
    assert isinstance(values[0], int)
    return values[0]


def logits_scale(config: Mapping[str, Any], width: int) -> float:
    """Return the factor of the logits: T5's first version, whose output is tied, divides them by a root."""
    if config["model_type"] != "t5":
        return 1.0
    # Newer versions of transformers say it by an option of its own, older ones only by that of the tied output.
    scales = config.get("scale_decoder_outputs", config.get("tie_word_embeddings") is not False)
    return width**-0.5 if scales else 1.0


# --- from our network ---


def choose_seq2seq_family(network: EncoderDecoder) -> str:
    """Return the model type that computes the same. Raises InputError, with what it would need, if there is none."""
    kind = "t5" if network.positions == "relative" else "bart"
    if not (needs := _needs(kind, network)):
        return kind
    raise InputError(
        f"transformers has no encoder-decoder like this one: to export it, train one with {' and '.join(needs)}, "
        f"as in {'BART' if kind == 'bart' else 'T5'}."
    )


def _needs(kind: str, network: EncoderDecoder) -> list[str]:
    """Return the options, as `name=value`, that would make the network one of this type."""
    fixed = FIXED[kind] | ({"norm_eps": BART_NORM_EPS} if kind == "bart" else {})
    needs = [
        f"{name}={str(value).lower() if isinstance(value, bool) else value}"
        for name, value in fixed.items()
        if getattr(network, name) != value
    ]
    activations = [*dict.fromkeys(ACTIVATIONS[kind].values())]
    if network.activation not in activations:
        needs.append(f"activation={activations[0]}")
    if kind == "bart" and network.head_width * network.heads != network.width:
        needs.append("head_width=null")
    return needs


def build_seq2seq_config(
    kind: str, network: EncoderDecoder, template: Seq2SeqTemplate, specials: Mapping[str, int]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the contents of config.json and generation_config.json for a network written as this type of model."""
    config: dict[str, Any] = {
        hf_name: getattr(network, option) for option, names in SIZE_NAMES[kind].items() for hf_name in names
    }
    config[ACTIVATION_NAMES[kind]] = next(hf for hf, ours in ACTIVATIONS[kind].items() if ours == network.activation)
    if kind == "bart":
        config |= {"dropout": network.dropout, "attention_dropout": network.attention_dropout, "scale_embedding": False}
    else:
        config |= {"dropout_rate": network.dropout, "layer_norm_epsilon": network.norm_eps}
        config |= {"relative_attention_num_buckets": BUCKETS, "relative_attention_max_distance": MAX_DISTANCE}
    tokens: dict[str, Any] = {"decoder_start_token_id": template.start, "eos_token_id": template.end}
    tokens |= {"pad_token_id": specials.get("pad"), "bos_token_id": specials.get("cls")}
    forced: dict[str, Any] = {"forced_eos_token_id": template.end if kind == "bart" else None}
    if template.target_prefix:
        forced["forced_bos_token_id"] = template.target_prefix[0]
    common = {"model_type": kind, "is_encoder_decoder": True, "dtype": "float32"}
    config |= tokens | common | {"tie_word_embeddings": network.tied_output}
    return config | ({"forced_eos_token_id": template.end} if kind == "bart" else {}), tokens | forced
