"""Checkpoints that can't be read: one message each, and no code is run."""

import json
import pickle
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from ssl_cli.errors import InputError
from ssl_cli.models.huggingface.read import read_pretrained
from tests.helpers.checkpoints import changed, loaded, random_model


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model_type": "xlnet"}, "holds a model of type 'xlnet'; supported types: bert, roberta, gpt2,"),
        ({"model_type": None}, "config.json lacks model_type, .* add one of bert, roberta, gpt2"),
        ({"model_type": ["bert"]}, r"holds a model of type \['bert'\]"),
        ({"hidden_size": 64}, r"by its config.json network.token_table.weight should be 60 x 64, .* 60 x 32"),
        ({"num_hidden_layers": 3}, r"its weights lack encoder\.layer\.2\.attention\.self\.query|its weights lack"),
        ({"hidden_size": "wide"}, "hidden_size must be a whole number above 0, not 'wide'"),
        ({"num_attention_heads": 5}, "A width of 32 can't be split into 5 heads"),
        ({"hidden_act": "swish"}, "has the activation 'swish'"),
        ({"hidden_act": ["gelu"]}, r"has the activation \['gelu'\]"),
        ({"layer_norm_eps": "small"}, "layer_norm_eps must be a number above 0 and below 1, not 'small'"),
        ({"position_embedding_type": "relative_key"}, "positions of type 'relative_key'"),
        ({"is_decoder": True}, "has is_decoder=True, but only False is supported"),
        ({"num_hidden_layers": 10**9}, "its weights lack"),
        ({"quantization_config": {"load_in_8bit": True}}, "quantized models are not supported"),
    ],
)
def test_an_unsupported_config_is_one_message(bert: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_pretrained(changed(bert, **options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"use_parallel_residual": True}, "has use_parallel_residual=True, but only False is"),
        ({"use_parallel_residual": None}, "has use_parallel_residual=None"),
        ({"attention_bias": False}, "has attention_bias=False"),
        ({"rope_parameters": {"rope_theta": 500_000.0, "partial_rotary_factor": 1.0}}, "has rotary_emb_base=500000.0"),
        ({"rope_parameters": {"partial_rotary_factor": 0.25}}, "has rotary_pct=0.25, .* only 1.0 is"),
        ({"rope_parameters": None}, "has rotary_pct=0.25"),  # its default
        ({"rope_parameters": None, "rotary_pct": 1.0, "rotary_emb_base": 100}, "has rotary_emb_base=100"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "has rope_type=linear"),
        ({"rope_parameters": [1]}, r"rope_parameters must map names to values, not \[1\]"),
        ({"num_attention_heads": 5}, "A width of 32 can't be split into 5 heads"),
        ({"num_attention_heads": 32}, "a width of 32 in 32 heads makes 1"),
        ({"intermediate_size": 40}, "blocks.0.up.weight should be 40 x 32"),
        ({"tie_word_embeddings": False}, "its weights lack the output matrix embed_out.weight"),
    ],
)
def test_an_unsupported_gpt_neox_is_one_message(neox: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_pretrained(changed(neox, **options))


def test_options_missing_from_a_gpt_neox_have_its_defaults(neox: Path) -> None:
    config = json.loads((neox / "config.json").read_text())
    del config["use_parallel_residual"]
    (neox / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="has use_parallel_residual=True"):
        read_pretrained(str(neox))


def test_a_damaged_folder_is_one_message(bert: Path) -> None:
    weights = bert / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"model\.safetensors is damaged"):
        read_pretrained(str(bert))
    weights.unlink()
    with pytest.raises(InputError, match=r"has no weights: it must hold model.safetensors or pytorch_model.bin"):
        read_pretrained(str(bert))
    (bert / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config\.json is damaged"):
        read_pretrained(str(bert))
    (bert / "config.json").unlink()
    with pytest.raises(InputError, match=r"is not a transformers checkpoint: it has no config.json"):
        read_pretrained(str(bert))
    (bert / "config.yaml").touch()
    with pytest.raises(InputError, match=r"is a run of ssl, .* resume=\S+ continues .* ssl export run=\S+ output="):
        read_pretrained(str(bert))


def test_several_models_in_a_file_are_named(bert: Path) -> None:
    tensors = load_file(bert / "model.safetensors")
    both = {f"{side}.{name}": tensor.clone() for side in ("query", "passage") for name, tensor in tensors.items()}
    save_file(both, bert / "model.safetensors")
    with pytest.raises(InputError, match=r"holds several models: passage\.bert\., query\.bert\."):
        read_pretrained(str(bert))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (torch.full((32, 50), float("nan")), r"encoder\.layer\.1\.output\.dense\.weight holds NaN or infinite"),
        (torch.full((32, 50), float("inf"), dtype=torch.bfloat16), "holds NaN or infinite"),
        (torch.ones(32, 50, dtype=torch.int8), r"output\.dense\.weight as int8: .* no quantized models"),
        (torch.ones(32, 50, dtype=torch.complex64), "as complex64: only real numbers are read"),
    ],
)
def test_weights_are_finite_real_numbers(bert: Path, values: torch.Tensor, message: str) -> None:
    tensors = load_file(bert / "model.safetensors") | {"bert.encoder.layer.1.output.dense.weight": values}
    save_file(tensors, bert / "model.safetensors")
    with pytest.raises(InputError, match=message):
        read_pretrained(str(bert))


@pytest.mark.parametrize(
    "tensor",
    [torch.ones(1, dtype=torch.bfloat16).expand(10**6, 10**6), torch.eye(60).to_sparse()],
    ids=["expanded", "sparse"],
)
def test_a_small_file_holds_no_huge_tensor(bert: Path, tensor: torch.Tensor) -> None:
    tensors = load_file(bert / "model.safetensors") | {"cls.predictions.bias": tensor}
    (bert / "model.safetensors").unlink()
    torch.save(tensors, bert / "pytorch_model.bin")
    with pytest.raises(InputError, match="its tensors are sparse, or far larger than the file"):
        read_pretrained(str(bert))


class Harmful:
    ran = False

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return _harm, ("",)


def _harm(_: str) -> None:
    Harmful.ran = True


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("whole", [True, False])
def test_a_pickle_that_needs_code_is_rejected(bert: Path, whole: bool) -> None:
    (bert / "model.safetensors").unlink()
    if whole:
        (bert / "pytorch_model.bin").write_bytes(pickle.dumps(Harmful()))
    else:
        torch.save({"a": Harmful()}, bert / "pytorch_model.bin")
    with pytest.raises(InputError, match="holds more than weights, which might run code"):
        read_pretrained(str(bert))
    assert not Harmful.ran


def test_a_shard_that_is_absent_or_elsewhere_is_rejected(bert: Path) -> None:
    (bert / "model.safetensors").rename(bert / "model-00001-of-00002.safetensors")
    index = bert / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "model-00002-of-00002.safetensors"}}))
    with pytest.raises(InputError, match=r"lacks model-00002-of-00002\.safetensors"):
        read_pretrained(str(bert))
    index.write_text(json.dumps({"weight_map": {"a": "../model.safetensors"}}))
    with pytest.raises(InputError, match="which isn't in its folder"):
        read_pretrained(str(bert))


@pytest.mark.parametrize("kind", ["gpt2", "gpt_neox"])
def test_an_untied_output_matrix_is_rejected(transformers: ModuleType, tmp_path: Path, kind: str) -> None:
    model = random_model(transformers, kind, tie_word_embeddings=False)
    model.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="an output matrix that differs from its token embeddings"):
        read_pretrained(str(tmp_path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": 2}, "has heads=4, but this model has heads=2"),
        ({"norm": "pre"}, "has norm=post, but this model has norm=pre"),
        ({"vocab_size": 61}, "network.token_table.weight is 60 x 32 in .*, but 61 x 32 in this model"),
        ({"context": 21}, "network.position_table.weight is 20 x 32 in .*, but 21 x 32 in this model"),
        ({"segments": 3}, "network.segment_table.weight is 2 x 32 in .*, but 3 x 32 in this model"),
    ],
)
def test_a_model_of_another_shape_is_not_loaded(bert: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        loaded(read_pretrained(str(bert)), **changes)
