"""Checkpoints that are written, opened by transformers: the same logits and the same tokens."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.data.tokenizers.trainers import ByteLevelBPE, WordPiece
from ssl_cli.errors import InputError
from ssl_cli.models.heads import MaskedLMHead, PairHead
from ssl_cli.models.huggingface.read import read_pretrained
from ssl_cli.models.huggingface.write import write_checkpoint
from ssl_cli.models.transformer import Transformer

TEXTS = ["Birds can fly, and so can planes.", "The cat sat on the mat; the dog lay on the log.", "Who goes there?"] * 3
CONTEXT = 20


class Model(nn.Module):
    """The networks of a language model."""

    def __init__(self, vocab_size: int, with_pair: bool = False, **options: Any):
        super().__init__()
        shape = {"layers": 2, "width": 32, "heads": 4, "feedforward": 50}
        self.network = Transformer(vocab_size, CONTEXT, **(shape | options))
        self.head = None if self.network.causal else MaskedLMHead(self.network)
        self.pair_head = PairHead(self.network) if with_pair else None
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.2)

    def forward(self, ids: Tensor, segment: Tensor | None = None) -> Tensor:
        hidden = self.network(ids, segment)
        return self.network.logits(hidden) if self.head is None else self.head(hidden, self.network.token_table.weight)


@pytest.fixture(scope="module")
def wordpiece() -> Tokenizer:
    return WordPiece(vocab_size=90, lowercase=True, sample_bytes=10_000).train(iter(TEXTS))


@pytest.fixture(scope="module")
def byte_pairs() -> Tokenizer:
    return ByteLevelBPE(vocab_size=300, sample_bytes=10_000).train(iter(TEXTS))


@pytest.fixture(scope="module")
def robertas() -> Tokenizer:
    """A tokenizer with RoBERTa's special tokens and their ids."""
    content = json.loads(ByteLevelBPE(vocab_size=300, sample_bytes=10_000).train(iter(TEXTS)).to_json())
    names = dict(
        zip(["[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]"], ["<s>", "<pad>", "</s>", "<unk>", "<mask>"], strict=True)
    )
    order = list(names)
    for token in content["added_tokens"]:
        if token["content"] in names:
            token["id"] = order.index(token["content"])
            token["content"] = names[token["content"]]
    vocabulary = content["model"]["vocab"]
    for number, name in enumerate(order):
        del vocabulary[name]
        vocabulary[names[name]] = number
    content["added_tokens"].sort(key=lambda token: token["id"])
    return Tokenizer.from_json(json.dumps(content | {"post_processor": None}))


def ids_of(tokenizer: Tokenizer) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(6, tokenizer.vocab_size, (3, CONTEXT), generator=generator)


def assert_close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)


def loaded_without_gaps(auto: Any, folder: Path) -> Any:
    model, info = auto.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"], info
    return model.eval()


BERTS = {
    "bert": {},
    "bert with segments": {"segments": 2},
    "bert by tanh": {"activation": "gelu_tanh"},
    "esm": {"norm": "pre"},
    "esm rotary": {"norm": "pre", "positions": "rotary"},
}


@pytest.mark.parametrize("name", list(BERTS))
def test_encoders_are_opened(transformers: ModuleType, wordpiece: Tokenizer, tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    model, ids = Model(wordpiece.vocab_size, **BERTS[name]).eval(), ids_of(wordpiece)
    assert write_checkpoint(model, wordpiece, tmp_path / "out") == []
    masked = loaded_without_gaps(transformers.AutoModelForMaskedLM, tmp_path / "out")
    assert masked.config.model_type == name.split()[0]
    assert_close(masked(ids).logits, model(ids))
    trunk = transformers.AutoModel.from_pretrained(tmp_path / "out").eval()
    assert_close(trunk(ids).last_hidden_state, model.network(ids))


def test_pairs_are_opened(transformers: ModuleType, wordpiece: Tokenizer, tmp_path: Path) -> None:
    model, ids = Model(wordpiece.vocab_size, with_pair=True, segments=2).eval(), ids_of(wordpiece)
    segment = (torch.arange(CONTEXT) > 8).long().expand_as(ids)
    write_checkpoint(model, wordpiece, tmp_path / "out")
    found = loaded_without_gaps(transformers.AutoModelForPreTraining, tmp_path / "out")(ids, token_type_ids=segment)
    assert_close(found.prediction_logits, model(ids, segment))
    assert model.pair_head is not None
    assert_close(found.seq_relationship_logits, model.pair_head(model.network(ids, segment)))


def test_roberta_is_opened(transformers: ModuleType, robertas: Tokenizer, tmp_path: Path) -> None:
    model, ids = Model(robertas.vocab_size).eval(), ids_of(robertas)
    write_checkpoint(model, robertas, tmp_path / "out")
    masked = loaded_without_gaps(transformers.AutoModelForMaskedLM, tmp_path / "out")
    assert masked.config.model_type == "roberta" and masked.config.max_position_embeddings == CONTEXT + 2
    assert_close(masked(ids).logits, model(ids))


@pytest.mark.parametrize(("positions", "kind"), [("learned", "gpt2"), ("rotary", "gpt_neox")])
def test_decoders_are_opened(
    transformers: ModuleType, byte_pairs: Tokenizer, tmp_path: Path, positions: str, kind: str
) -> None:
    options = {"causal": True, "norm": "pre", "activation": "gelu_tanh", "norm_eps": 1e-5}
    model, ids = Model(byte_pairs.vocab_size, positions=positions, **options).eval(), ids_of(byte_pairs)
    write_checkpoint(model, byte_pairs, tmp_path / "out")
    causal = loaded_without_gaps(transformers.AutoModelForCausalLM, tmp_path / "out")
    assert causal.config.model_type == kind
    assert_close(causal(ids).logits, model(ids))
    assert causal.config.eos_token_id == byte_pairs.specials["end"]


def test_writing_and_reading_changes_no_weight(wordpiece: Tokenizer, byte_pairs: Tokenizer, tmp_path: Path) -> None:
    kinds: list[tuple[Tokenizer, dict[str, Any]]] = [
        (wordpiece, {"segments": 2}),
        (wordpiece, {"segments": 2, "activation": "relu"}),
        (wordpiece, {"norm": "pre"}),
        (byte_pairs, {"norm": "pre", "causal": True}),
        (byte_pairs, {"norm": "pre", "causal": True, "positions": "rotary", "norm_eps": 1e-6}),
    ]
    for number, (tokenizer, options) in enumerate(kinds):
        model = Model(tokenizer.vocab_size, **options).eval()
        write_checkpoint(model, tokenizer, tmp_path / str(number))
        read = read_pretrained(str(tmp_path / str(number)))
        other = Model(tokenizer.vocab_size, **options).eval()
        assert read.load_into(other) == []
        for name, parameter in model.state_dict().items():
            assert torch.equal(other.state_dict()[name], parameter), name
        ids = ids_of(tokenizer)
        torch.testing.assert_close(other(ids), model(ids), atol=1e-5, rtol=0)


@pytest.mark.parametrize("text", ["The cat can fly.", "Who sat on [MASK] log?"])
def test_the_tokenizer_is_opened(transformers: ModuleType, wordpiece: Tokenizer, tmp_path: Path, text: str) -> None:
    write_checkpoint(Model(wordpiece.vocab_size), wordpiece, tmp_path / "out")
    found = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert found(text, add_special_tokens=False)["input_ids"] == wordpiece.encode(text)
    cls, sep = wordpiece.specials["cls"], wordpiece.specials["sep"]
    assert found(text)["input_ids"] == [cls, *wordpiece.encode(text), sep]
    assert (found.mask_token_id, found.pad_token_id) == (wordpiece.specials["mask"], wordpiece.specials["pad"])
    assert found.model_max_length == CONTEXT


def test_a_decoders_text_gets_no_special_tokens(
    transformers: ModuleType, wordpiece: Tokenizer, byte_pairs: Tokenizer, tmp_path: Path
) -> None:
    for number, tokenizer in enumerate((wordpiece, byte_pairs)):
        write_checkpoint(Model(tokenizer.vocab_size, causal=True, norm="pre"), tokenizer, tmp_path / str(number))
        found = transformers.AutoTokenizer.from_pretrained(tmp_path / str(number))
        assert found(TEXTS[0])["input_ids"] == tokenizer.encode(TEXTS[0])
        assert found.eos_token_id == tokenizer.specials["end"]


def test_pre_norm_with_segments_loses_them_with_a_warning(
    transformers: ModuleType, wordpiece: Tokenizer, tmp_path: Path
) -> None:
    model, ids = Model(wordpiece.vocab_size, with_pair=True, norm="pre", segments=2).eval(), ids_of(wordpiece)
    warnings = write_checkpoint(model, wordpiece, tmp_path / "out")
    assert "exported as of the first segment" in warnings[0] and "pairs of texts is left out" in warnings[1]
    masked = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "out").eval()
    assert_close(masked(ids).logits, model(ids))


@pytest.mark.parametrize(
    "options",
    [
        {"positions": "sinusoidal"},
        {"positions": "rotary"},
        {"norm": "pre", "activation": "relu"},
        {"causal": True},
        {"norm": "pre", "positions": "rotary", "segments": 2},
        {"positions": "relative"},
        {"normalization": "rms"},
        {"biases": False},
        {"activation": "swiglu"},
        {"head_width": 12},
    ],
)
def test_a_model_that_transformers_lacks_is_rejected(
    wordpiece: Tokenizer, tmp_path: Path, options: dict[str, Any]
) -> None:
    with pytest.raises(InputError, match="transformers has no model like this one"):
        write_checkpoint(Model(wordpiece.vocab_size, **options), wordpiece, tmp_path / "out")
    assert not list(tmp_path.iterdir())
