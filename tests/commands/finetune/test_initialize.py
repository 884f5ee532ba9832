"""Where fine-tuning starts: what is taken over, what starts anew, what is left over."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import save_file

from ssl_cli.commands.finetune.initialize import fitted_length, resolve_init
from ssl_cli.config.choices import built_in_conf
from ssl_cli.data.tokenizers.pretrained import PretrainedTokenizer
from ssl_cli.errors import InputError
from ssl_cli.methods.supervised.sequence_classification import SequenceClassificationHead
from ssl_cli.models.transformer import Transformer
from tests.helpers.pretrain_runs import TEXT, make_run, tokenizer_of

transformers = pytest.importorskip("transformers")


def config(tmp_path: Path, init: str, like: str | None = None, **model: Any) -> DictConfig:
    encoder = OmegaConf.load(built_in_conf() / "model" / "encoder.yaml")
    small = {"size": None, "layers": 2, "width": 32, "heads": 2, "context": 64}
    return OmegaConf.create(
        {
            "init": init,
            "like": like,
            "resume": None,
            "paths": {"outputs": str(tmp_path / "outputs")},
            "tokenizer": {
                "_target_": "ssl_cli.data.tokenizers.trainers.WordPiece",
                "vocab_size": 160,
                "sample_bytes": 10**6,
                "lowercase": True,
            },
            "model": OmegaConf.merge(encoder, small, model),
            "choices": {"model": "encoder"},
            "facts": {},
        }
    )


def begun(cfg: DictConfig) -> tuple[Any, SequenceClassificationHead, dict[str, str]]:
    start = resolve_init(cfg, lambda: TEXT)
    torch.manual_seed(7)
    model = SequenceClassificationHead(Transformer(**start.options), 3)
    return start, model, {part: state for part, state, _ in start.load_into(model)}


def test_from_scratch_the_tokenizer_is_trained_on_the_task(tmp_path: Path) -> None:
    start, model, parts = begun(config(tmp_path, "none"))
    assert start.name == "none" and set(parts.values()) == {"new"}
    assert start.tokenizer.to_json() == tokenizer_of("wordpiece").to_json()
    assert model.network.vocab_size == start.tokenizer.vocab_size


def test_a_run_of_ours_gives_its_network_and_tokenizer(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", "bert", "wordpiece", pair="sop")
    start, model, parts = begun(config(tmp_path, str(folder)))
    run: Any = __import__("ssl_cli").load(folder)
    assert start.name == "bert-pydoc" and start.place == str(folder.resolve())
    ids = torch.tensor([[3, 20, 30, 4]])
    assert torch.equal(model.network.eval()(ids), run.model.network(ids))
    assert torch.equal(model.pool.weight, run.model.pair_head.pool.weight)
    assert parts["pooler"] == parts["blocks"] == "loaded" and parts["head"] == "new"
    assert any(state == "left over" for state in parts.values()), "the head for masked tokens"
    assert model.network.dropout == 0.1, "dropout is of the fine-tuning"


def test_latest_is_the_newest_pretraining(tmp_path: Path) -> None:
    make_run(tmp_path / "outputs" / "pretrain" / "gpt-pydoc" / "1", "gpt", "bpe")
    start, model, parts = begun(config(tmp_path, "latest"))
    assert start.name == "gpt-pydoc" and model.network.causal and parts["pooler"] == "new"


def test_like_gives_the_shape_and_the_tokenizer_without_the_weights(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", "bert", "char")
    cfg = config(tmp_path, "none", like=str(folder))
    start, model, parts = begun(cfg)
    run: Any = __import__("ssl_cli").load(folder)
    assert start.name == "none" and set(parts.values()) == {"new"}
    assert start.tokenizer.to_json() == run.tokenizer.to_json()
    assert {name: weight.shape for name, weight in model.network.named_parameters()} == {
        name: weight.shape for name, weight in run.model.network.named_parameters()
    }
    assert not torch.equal(model.network.blocks[0].up.weight, run.model.network.blocks[0].up.weight)


def checkpoint(folder: Path, kind: str) -> Any:
    """Random weights of a family, with a tokenizer of their size"""
    tokenizer = tokenizer_of("wordpiece" if kind == "bert" else "bpe")
    shape = {"vocab_size": tokenizer.vocab_size, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(0)
    if kind == "bert":
        shape |= {"hidden_size": 32, "intermediate_size": 64, "max_position_embeddings": 40}
        model = transformers.BertForSequenceClassification(transformers.BertConfig(**shape, num_labels=3))
    else:
        model = transformers.GPT2Model(transformers.GPT2Config(**shape, n_embd=32, n_positions=40))
    model.eval().save_pretrained(folder)
    tokenizer.save(folder / "tokenizer.json")
    return model


def test_a_checkpoint_of_bert_gives_the_logits_that_transformers_gives(tmp_path: Path) -> None:
    theirs = checkpoint(tmp_path / "bert", "bert")
    start, model, parts = begun(config(tmp_path, str(tmp_path / "bert")))
    assert start.name == "bert" and parts["pooler"] == parts["segment table"] == "loaded"
    with torch.no_grad():  # the head of the one is no part of the other
        model.decide.weight.copy_(theirs.classifier.weight)
        model.decide.bias.copy_(theirs.classifier.bias)
    ids, segment = torch.tensor([[3, 20, 30, 4, 25, 4]]), torch.tensor([[0, 0, 0, 0, 1, 1]])
    batch = {
        "ids": ids,
        "segment": segment,
        "document": torch.zeros_like(ids),
        "begin": torch.tensor([0]),
        "length": torch.tensor([6]),
    }
    with torch.no_grad():
        expected = theirs(input_ids=ids, token_type_ids=segment).logits[0]
    assert torch.allclose(torch.from_numpy(model.eval().predict_batch(batch)[0]), expected, atol=1e-5)


def test_learned_positions_are_not_stretched(tmp_path: Path) -> None:
    checkpoint(tmp_path / "gpt", "gpt2")
    start, _, parts = begun(config(tmp_path, str(tmp_path / "gpt")))
    assert parts["position table"] == "loaded" and fitted_length(start, None) == 40
    with pytest.raises(InputError, match=r"max_length=64: .* reads 40 tokens at most"):
        fitted_length(start, 64)


def test_rotary_positions_are(tmp_path: Path) -> None:
    start, _, _ = begun(config(tmp_path, str(make_run(tmp_path / "run", "bert", "wordpiece", context=32))))
    assert fitted_length(start, None) == 32
    assert fitted_length(start, 100) == 100 and Transformer(**start.options).context == 100


def test_a_tokenizer_larger_than_the_table_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "bert"
    checkpoint(folder, "bert")
    tokenizer_of("bpe").save(folder / "tokenizer.json")
    assert PretrainedTokenizer(str(folder)).train().vocab_size > tokenizer_of("wordpiece").vocab_size
    with pytest.raises(InputError, match=r"more than the .* of its weights"):
        begun(config(tmp_path, str(folder)))


def test_what_is_no_start(tmp_path: Path) -> None:
    for name, words in ((str(tmp_path / "no"), "there is no such folder"), (str(tmp_path), "config.json")):
        with pytest.raises(InputError, match=words):
            begun(config(tmp_path, name))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    save_file({"x": torch.zeros(1)}, str(tmp_path / "model.safetensors"))
    with pytest.raises(InputError):
        begun(config(tmp_path, str(tmp_path)))
