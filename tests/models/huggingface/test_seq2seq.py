"""BART and T5 of transformers: read, written and read again, with equal logits."""

import json
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ssl_cli.data.tokenizers.pretrained import PretrainedTokenizer
from ssl_cli.data.tokenizers.seq2seq_template import Seq2SeqTemplate
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.data.tokenizers.trainers import WordPiece
from ssl_cli.errors import InputError
from ssl_cli.models.encoder_decoder import PADDING, EncoderDecoder
from ssl_cli.models.huggingface.read import read_pretrained
from ssl_cli.models.huggingface.write import write_checkpoint
from tests.helpers.checkpoints import VOCABULARY, assert_close, changed

BART = {
    **{"d_model": 32, "encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 4},
    **{"decoder_attention_heads": 4, "encoder_ffn_dim": 50, "decoder_ffn_dim": 50, "max_position_embeddings": 150},
}
T5 = {"d_model": 32, "d_kv": 12, "d_ff": 50, "num_layers": 2, "num_decoder_layers": 1, "num_heads": 4}
LENGTH, TARGET_LENGTH = 140, 133  # beyond the largest distance that T5 distinguishes
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "bart": ("bart", {}),
    "bart, relu": ("bart", {"activation_function": "relu"}),
    "t5 v1.0": ("t5", {"feed_forward_proj": "relu"}),
    "t5 v1.1": ("t5", {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}),  # and an output of its own
    "t5, tied but not scaled": ("t5", {"feed_forward_proj": "gated-silu", "tie_word_embeddings": False}),
}
each_kind = pytest.mark.parametrize("name", KINDS)


def random_seq2seq(transformers: ModuleType, name: str) -> Any:
    """Return a model of transformers with random weights, its biases and norms too."""
    torch.manual_seed(0)
    kind, options = KINDS[name]
    if kind == "bart":
        model = transformers.BartForConditionalGeneration(
            transformers.BartConfig(vocab_size=VOCABULARY, **BART, **options)
        )
    else:
        settings = T5 | {"vocab_size": VOCABULARY, "decoder_start_token_id": 0} | options
        model = transformers.T5ForConditionalGeneration(transformers.T5Config(**settings))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.5).add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def saved(transformers: ModuleType, name: str, folder: Path) -> Any:
    """Write a random model, and return it as transformers reads it."""
    model = random_seq2seq(transformers, name)
    model.save_pretrained(folder)
    if name == "t5 v1.1":  # as on the hub: newer versions of transformers always tie it when they write
        tensors = load_file(folder / "model.safetensors") | {"lm_head.weight": torch.randn(VOCABULARY, 32)}
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        config = json.loads((folder / "config.json").read_text())
        del config["scale_decoder_outputs"]
        (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))
    return type(model).from_pretrained(folder).eval()


def batch() -> tuple[Tensor, Tensor, Tensor]:
    """Return sources, how long each is, and targets."""
    generator = torch.Generator().manual_seed(0)
    lengths = (LENGTH, TARGET_LENGTH)
    source, target = (torch.randint(5, VOCABULARY, (3, length), generator=generator) for length in lengths)
    return source, torch.tensor([LENGTH, 20, 131]), target


def their_logits(model: Any) -> Tensor:
    source, length, ids = batch()
    mask = (torch.arange(LENGTH) < length[:, None]).long()
    with torch.no_grad():
        return model(input_ids=source, attention_mask=mask, decoder_input_ids=ids).logits


def our_logits(network: EncoderDecoder) -> Tensor:
    source, length, ids = batch()
    document = torch.where(torch.arange(LENGTH) < length[:, None], 0, PADDING)
    with torch.no_grad():
        return network.eval().logits(network(source, ids, document))


def loaded_network(folder: Path | str, **changes: Any) -> EncoderDecoder:
    read = read_pretrained(str(folder))
    model = nn.Module()
    model.network = network = EncoderDecoder(**(read.options | {"dropout": 0.0} | changes))
    assert read.load_into(model) == []
    return network


@each_kind
def test_bart_and_t5_are_read(transformers: ModuleType, tmp_path: Path, name: str) -> None:
    model = saved(transformers, name, tmp_path)
    read = read_pretrained(str(tmp_path))
    assert read.is_encoder_decoder and not read.is_causal and not read.absent and not read.unused
    assert read.family == KINDS[name][0] and read.options["tied_output"] == (name != "t5 v1.1")
    assert (read.options["layers"], read.options["decoder_layers"]) == (2, 1)
    wanted = their_logits(model)
    assert wanted.std() > 0.05
    assert_close(our_logits(loaded_network(tmp_path)), wanted)


@each_kind
def test_their_checkpoint_is_written_again(
    transformers: ModuleType, wordpiece: Tokenizer, tmp_path: Path, name: str
) -> None:
    model = saved(transformers, name, tmp_path / "theirs")
    write(loaded_network(tmp_path / "theirs"), wordpiece, tmp_path / "ours")
    again, info = type(model).from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(info[part] for part in ("missing_keys", "unexpected_keys", "mismatched_keys")), info
    assert_close(their_logits(again.eval()), their_logits(model))


OURS: dict[str, dict[str, Any]] = {
    "bart": {"activation": "gelu_tanh"},
    "bart untied": {"tied_output": False},
    "t5": {"activation": "relu", "head_width": 12},
    "t5 untied": {"activation": "geglu", "tied_output": False, "norm_eps": 1e-6},
}
T5_BLOCKS = {"positions": "relative", "norm": "pre", "normalization": "rms", "biases": False}


def our_network(name: str, decoder_layers: int = 3) -> EncoderDecoder:
    torch.manual_seed(0)
    options = OURS[name] | (T5_BLOCKS if name.startswith("t5") else {})
    shape = {"layers": 2, "decoder_layers": decoder_layers, "width": 32, "heads": 4}
    network = EncoderDecoder(VOCABULARY, 150, **shape, **options)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network


@pytest.fixture(scope="module")
def wordpiece() -> Tokenizer:
    texts = ["Birds can fly, and so can planes.", "The cat sat on the mat; the dog lay on the log."] * 3
    return WordPiece(vocab_size=VOCABULARY, lowercase=True, sample_bytes=10_000, sentinels=3).train(iter(texts))


def write(network: EncoderDecoder, tokenizer: Tokenizer, folder: Path, style: Any = None) -> None:
    is_t5 = network.positions == "relative" if style is None else style == "t5"
    template = Seq2SeqTemplate.for_style("t5" if is_t5 else "bart", tokenizer.specials)
    method: Any = SimpleNamespace(network=network, template=template)
    warnings = write_checkpoint(method, tokenizer, folder)
    is_deep = network.positions == "relative" and network.decoder_layers > network.layers
    assert ["generate() fails for a T5" in warning for warning in warnings] == [True] * is_deep


@pytest.mark.parametrize("name", OURS)
def test_ours_are_opened_by_transformers(
    transformers: ModuleType, wordpiece: Tokenizer, tmp_path: Path, name: str
) -> None:
    network = our_network(name)
    write(network, wordpiece, tmp_path)
    model, info = transformers.AutoModelForSeq2SeqLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info[part] for part in ("missing_keys", "unexpected_keys", "mismatched_keys")), info
    assert type(model).__name__ == {"b": "Bart", "t": "T5"}[name[0]] + "ForConditionalGeneration"
    assert_close(their_logits(model.eval()), our_logits(network))


@pytest.mark.parametrize("name", OURS)
def test_writing_and_reading_changes_no_weight(wordpiece: Tokenizer, tmp_path: Path, name: str) -> None:
    network = our_network(name)
    write(network, wordpiece, tmp_path)
    assert PretrainedTokenizer(str(tmp_path)).train().sentinels == wordpiece.sentinels
    read = loaded_network(tmp_path, dropout=network.dropout)
    assert read.options == network.options
    for key, weight in network.state_dict().items():
        torch.testing.assert_close(read.state_dict()[key], weight, atol=0, rtol=3e-7)  # scaled and scaled back


@pytest.mark.parametrize("name", OURS)
def test_transformers_generates_with_ours(
    transformers: ModuleType, wordpiece: Tokenizer, tmp_path: Path, name: str
) -> None:
    write(our_network(name, decoder_layers=2), wordpiece, tmp_path)
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(tmp_path).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    cls, sep, pad = (wordpiece.specials[role] for role in ("cls", "sep", "pad"))
    inputs = tokenizer(["the cat sat", "birds can fly and so can planes"], return_tensors="pt", padding=True)
    assert inputs["input_ids"][0, 0].item() == (cls if name.startswith("bart") else wordpiece.encode("the")[0])
    assert inputs["input_ids"][1, -1].item() == sep
    assert model.config.decoder_start_token_id == model.generation_config.decoder_start_token_id
    out = model.generate(**inputs, max_new_tokens=6, do_sample=False, num_beams=1)
    assert (out[:, 0] == (sep if name.startswith("bart") else pad)).all()
    if name.startswith("bart"):
        assert (out[:, 1] == cls).all()
        assert ((out == sep).sum(1) >= 2).all(), "the end is forced"
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id) == (sep, pad)


def test_the_template_is_that_of_the_method(transformers: ModuleType, wordpiece: Tokenizer, tmp_path: Path) -> None:
    """A network like BART's that was trained to read and write as T5 does."""
    write(our_network("bart"), wordpiece, tmp_path, style="t5")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer("the cat")["input_ids"] == [*wordpiece.encode("the cat"), wordpiece.specials["sep"]]
    settings = transformers.GenerationConfig.from_pretrained(tmp_path)
    assert settings.decoder_start_token_id == wordpiece.specials["pad"] and settings.forced_bos_token_id is None


@pytest.mark.parametrize("name", ["bart", "t5 v1.0"])
@pytest.mark.parametrize("how", ["trunk", "wrapped", "copies"])
def test_every_layout_of_names_is_read(transformers: ModuleType, tmp_path: Path, name: str, how: str) -> None:
    wanted = their_logits(saved(transformers, name, tmp_path))
    tensors = load_file(tmp_path / "model.safetensors")
    table = next(tensor for key, tensor in tensors.items() if key.endswith("shared.weight"))
    if how == "trunk":
        tensors = {key.removeprefix("model."): tensor for key, tensor in tensors.items()}
    elif how == "wrapped":
        tensors = {f"module.{key}": tensor for key, tensor in tensors.items()}
    else:  # as older versions wrote them, with what their models had besides
        trunk = "model." if name == "bart" else ""
        copies = [f"{trunk}encoder.embed_tokens.weight", f"{trunk}decoder.embed_tokens.weight", "lm_head.weight"]
        tensors |= {key: table.clone() for key in copies}
        cross_bias = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
        is_bart = name == "bart"
        tensors |= {"final_logits_bias": torch.zeros(1, VOCABULARY)} if is_bart else {cross_bias: torch.randn(32, 4)}
    save_file(tensors, tmp_path / "model.safetensors")
    assert read_pretrained(str(tmp_path)).unused == []
    assert_close(our_logits(loaded_network(tmp_path)), wanted)


def test_a_shorter_context_is_loaded(transformers: ModuleType, tmp_path: Path) -> None:
    saved(transformers, "bart", tmp_path)
    short, whole = loaded_network(tmp_path, context=20).eval(), loaded_network(tmp_path).eval()
    source, _, ids = batch()
    torch.testing.assert_close(short(source[:, :20], ids[:, :20]), whole(source[:, :20], ids[:, :20]))
    with pytest.raises(InputError, match="has norm=post, but this model has norm=pre"):
        loaded_network(tmp_path, norm="pre")
    with pytest.raises(InputError, match="has tied_output=True, but this model has tied_output=False"):
        loaded_network(tmp_path, tied_output=False)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("bart", {"scale_embedding": True}, "has scale_embedding=True, but only False is supported"),
        ("bart", {"decoder_ffn_dim": 60}, "has encoder_ffn_dim=50 and decoder_ffn_dim=60, but they must be the same"),
        ("bart", {"activation_function": "swish"}, "has the activation 'swish'"),
        ("bart", {"tie_word_embeddings": False}, "its weights lack the output matrix lm_head.weight"),
        ("bart", {"encoder_attention_heads": 5, "decoder_attention_heads": 5}, "can't be split into 5 heads"),
        ("bart", {"d_model": 64}, "by its config.json decoder|by its config.json encoder"),
        ("t5 v1.0", {"relative_attention_num_buckets": 16}, "relative_attention_num_buckets=16, but only 32 is"),
        ("t5 v1.0", {"relative_attention_max_distance": 64}, "relative_attention_max_distance=64, but only 128 is"),
        ("t5 v1.0", {"feed_forward_proj": "gated-relu"}, "has the activation 'gated-relu'; supported: relu,"),
        ("t5 v1.0", {"d_kv": "wide"}, "d_kv must be a whole number above 0, not 'wide'"),
        ("t5 v1.0", {"layer_norm_epsilon": 0}, "layer_norm_epsilon must be a number above 0 and below 1"),
        ("t5 v1.0", {"num_layers": 3}, r"its weights lack encoder\.block\.2\.layer\.0\.SelfAttention\.q\.weight"),
    ],
)
def test_what_is_not_supported_is_one_message(
    transformers: ModuleType, tmp_path: Path, name: str, options: dict[str, Any], message: str
) -> None:
    saved(transformers, name, tmp_path)
    with pytest.raises(InputError, match=message):
        read_pretrained(changed(tmp_path, **options))


@pytest.mark.parametrize(
    ("name", "key", "tensor", "message"),
    [
        ("bart", "final_logits_bias", torch.ones(1, VOCABULARY), "has a final_logits_bias that is not 0"),
        ("bart", "model.decoder.embed_tokens.weight", torch.ones(VOCABULARY, 32), "has separate token embeddings"),
        ("bart", "model.decoder.layers.0.fc2.weight", None, r"its weights lack decoder\.layers\.0\.fc2\.weight"),
        ("bart", "model.shared.weight", None, r"its weights lack shared\.weight"),
        ("bart", "model.encoder.layers.1.fc2.bias", torch.full((32,), torch.nan), "holds NaN or infinite numbers"),
        ("t5 v1.0", "encoder.final_layer_norm.weight", torch.ones(16), r"encoder\.last_norm\.weight should be 32"),
        ("t5 v1.0", "shared.weight", torch.ones(VOCABULARY, 32, dtype=torch.int8), "no quantized models"),
    ],
)
def test_damaged_weights_are_one_message(
    transformers: ModuleType, tmp_path: Path, name: str, key: str, tensor: Tensor | None, message: str
) -> None:
    saved(transformers, name, tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    if tensor is None:
        del tensors[key]
    else:
        tensors[key] = tensor
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=message):
        read_pretrained(str(tmp_path))


def test_tensors_of_no_part_are_named(transformers: ModuleType, tmp_path: Path) -> None:
    saved(transformers, "t5 v1.0", tmp_path)
    tensors = load_file(tmp_path / "model.safetensors") | {"encoder.adapter.weight": torch.ones(3)}
    save_file(tensors, tmp_path / "model.safetensors")
    assert read_pretrained(str(tmp_path)).unused == ["encoder.adapter.weight"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norm": "pre"}, "train one with norm=post, as in BART"),
        ({"activation": "swiglu", "norm_eps": 1e-6}, "with norm_eps=1e-05 and activation=gelu, as in BART"),
        ({"head_width": 12}, "with head_width=null, as in BART"),
        ({"positions": "relative", "norm": "pre"}, "with normalization=rms and biases=false, as in T5"),
    ],
)
def test_an_encoder_decoder_that_transformers_lacks_is_rejected(
    wordpiece: Tokenizer, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    network = EncoderDecoder(VOCABULARY, 20, layers=1, width=32, heads=4, **options)
    with pytest.raises(InputError, match=message):
        write(network, wordpiece, tmp_path / "out")
    assert not list(tmp_path.iterdir())
