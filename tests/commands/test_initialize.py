"""init= and like= of fine-tuning: which weights are loaded, which are new, and which are not used."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import save_file

from ssl_cli.commands.finetune.network import fit_network, in_kind_of, method_node
from ssl_cli.commands.initialize import apply_init, name_of_folder, resolve_init
from ssl_cli.config.choices import built_in_conf
from ssl_cli.config.instantiate import build
from ssl_cli.data.tokenizers.pretrained import PretrainedTokenizer
from ssl_cli.errors import InputError
from ssl_cli.methods.supervised.sequence_classification import SequenceClassificationHead
from ssl_cli.models.transformer import Transformer
from tests.helpers.finetune_runs import task_node
from tests.helpers.pretrain_runs import TEXT, make_run, tokenizer_of

transformers = pytest.importorskip("transformers")
CLASSIFY = build(OmegaConf.create(task_node("classify")))


def config(tmp_path: Path, init: str, like: str | None = None, **model: Any) -> DictConfig:
    encoder = OmegaConf.load(built_in_conf() / "model" / "encoder.yaml")
    small = {"size": None, "layers": 2, "width": 32, "heads": 2, "context": 64}
    return OmegaConf.create(
        {
            "verb": "finetune",
            "init": init,
            "max_length": None,
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


def initialized(cfg: DictConfig) -> tuple[Any, SequenceClassificationHead, dict[str, str]]:
    init = resolve_init(cfg)
    apply_init(cfg, init)
    tokenizer = init.tokenizer or build(cfg.tokenizer).train(TEXT)
    network = fit_network(cfg, init, CLASSIFY, tokenizer.vocab_size).options
    torch.manual_seed(7)
    model = SequenceClassificationHead(Transformer(**network), 3)
    return init, model, {part: state for part, state, _ in init.load_into(model)}


def length_of(cfg: DictConfig, max_length: int | None) -> tuple[int, int]:
    """Return the longest example and the context of the network with a max_length."""
    cfg.max_length = max_length
    network = fit_network(cfg, resolve_init(cfg), CLASSIFY, 160)
    return network.length, network.options["context"]


def test_from_scratch_the_tokenizer_is_trained_on_the_task(tmp_path: Path) -> None:
    init, model, parts = initialized(config(tmp_path, "none"))
    assert init.name == "none" and init.tokenizer is None and set(parts.values()) == {"new"}
    assert model.network.vocab_size == tokenizer_of("wordpiece").vocab_size


def test_a_run_gives_its_network_and_tokenizer(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", "bert", "wordpiece", sentence_task="sop")
    init, model, parts = initialized(config(tmp_path, str(folder)))
    run: Any = __import__("ssl_cli").load(folder)
    assert init.name == "bert-pydoc" and init.place == str(folder.resolve())
    ids = torch.tensor([[3, 20, 30, 4]])
    assert torch.equal(model.network.eval()(ids), run.model.network(ids))
    assert torch.equal(model.pool.weight, run.model.pair_head.pool.weight)
    assert parts["pooler"] == parts["blocks"] == "loaded" and parts["head"] == "new"
    assert any(state == "not used" for state in parts.values()), "the head for masked tokens"
    assert model.network.dropout == 0.1, "dropout is that of fine-tuning"


def test_latest_is_the_newest_pretraining(tmp_path: Path) -> None:
    make_run(tmp_path / "outputs" / "pretrain" / "gpt-pydoc" / "1", "gpt", "bpe")
    init, model, parts = initialized(config(tmp_path, "latest"))
    assert init.name == "gpt-pydoc" and model.network.causal and parts["pooler"] == "new"


def test_like_gives_the_shape_and_the_tokenizer_without_the_weights(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", "bert", "char")
    cfg = config(tmp_path, "none", like=str(folder))
    init, model, parts = initialized(cfg)
    run: Any = __import__("ssl_cli").load(folder)
    assert init.name == "none" and set(parts.values()) == {"new"}
    assert init.tokenizer.to_json() == run.tokenizer.to_json()
    assert {name: weight.shape for name, weight in model.network.named_parameters()} == {
        name: weight.shape for name, weight in run.model.network.named_parameters()
    }
    assert not torch.equal(model.network.blocks[0].up.weight, run.model.network.blocks[0].up.weight)


def checkpoint(folder: Path, kind: str) -> Any:
    """Write and return a random model of transformers, with a tokenizer of its size."""
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
    init, model, parts = initialized(config(tmp_path, str(tmp_path / "bert")))
    assert init.name == "bert" and parts["pooler"] == parts["segment table"] == "loaded"
    with torch.no_grad():  # the head is not loaded
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


def test_learned_positions_can_not_be_extended(tmp_path: Path) -> None:
    checkpoint(tmp_path / "gpt", "gpt2")
    cfg = config(tmp_path, str(tmp_path / "gpt"))
    _, _, parts = initialized(cfg)
    assert parts["position table"] == "loaded" and length_of(cfg, None) == (40, 40)
    with pytest.raises(InputError, match=r"max_length=64: .* reads at most 40 tokens"):
        length_of(cfg, 64)


def test_rotary_positions_can_be_extended(tmp_path: Path) -> None:
    cfg = config(tmp_path, str(make_run(tmp_path / "run", "bert", "wordpiece", context=32)))
    assert length_of(cfg, None) == (32, 32) and length_of(cfg, 100) == (100, 100)


def test_a_tokenizer_larger_than_the_embeddings_is_rejected(tmp_path: Path) -> None:
    folder = tmp_path / "bert"
    checkpoint(folder, "bert")
    tokenizer_of("bpe").save(folder / "tokenizer.json")
    assert PretrainedTokenizer(str(folder)).train().vocab_size > tokenizer_of("wordpiece").vocab_size
    with pytest.raises(InputError, match=r"more than the .* of its weights"):
        initialized(config(tmp_path, str(folder)))


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("/x/tiny-bert", "tiny-bert"),
        ("/x/a/model", "a"),
        ("/x/a/export/model", "a"),
        ("/x/a/checkpoint-500", "a-checkpoint-500"),
        ("/x/a/model/checkpoint-500", "a-checkpoint-500"),
        ("/x/my model!", "my-model"),
        ("/model", "model"),
    ],
)
def test_a_folder_is_named_by_what_distinguishes_it(folder: str, name: str) -> None:
    assert name_of_folder(Path(folder)) == name


def test_capitals_that_are_never_reached_are_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint(tmp_path / "bert", "bert")
    tokens = tokenizer_of("wordpiece").library.get_vocab()
    names = sorted(tokens, key=tokens.__getitem__)
    (tmp_path / "bert" / "tokenizer.json").unlink()
    for last, warns in (("The", True), ("the", False)):
        (tmp_path / "bert" / "vocab.txt").write_text("\n".join([*names[:-1], last]) + "\n")
        resolve_init(config(tmp_path, str(tmp_path / "bert")))
        assert ("1 of its tokens have capitals" in " ".join(capsys.readouterr().err.split())) == warns


def test_invalid_init(tmp_path: Path) -> None:
    for name, words in ((str(tmp_path / "no"), "there is no such folder"), (str(tmp_path), "config.json")):
        with pytest.raises(InputError, match=words):
            initialized(config(tmp_path, name))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    save_file({"x": torch.zeros(1)}, str(tmp_path / "model.safetensors"))
    with pytest.raises(InputError):
        initialized(config(tmp_path, str(tmp_path)))


# --- encoder-decoders ---------------------------------------------------------------------------------------


def seq2seq_checkpoint(folder: Path, kind: str) -> Any:
    """Write and return a random BART or T5 of transformers, with a tokenizer of its size."""
    tokenizer = tokenizer_of("wordpiece")
    torch.manual_seed(0)
    size = tokenizer.vocab_size
    if kind == "bart":
        shape = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 1, "max_position_embeddings": 40}
        shape |= {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
        model = transformers.BartForConditionalGeneration(
            transformers.BartConfig(vocab_size=size, encoder_ffn_dim=64, decoder_ffn_dim=64, **shape)
        )
    else:
        shape = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_decoder_layers": 1, "num_heads": 2}
        model = transformers.T5ForConditionalGeneration(
            transformers.T5Config(vocab_size=size, decoder_start_token_id=0, **shape)
        )
    model.eval().save_pretrained(folder)
    tokenizer.save(folder / "tokenizer.json")
    return model


@pytest.mark.parametrize("kind", ["bart", "t5"])
def test_the_encoder_of_a_checkpoint_reads_as_in_transformers(tmp_path: Path, kind: str) -> None:
    theirs = seq2seq_checkpoint(tmp_path / kind, kind)
    cfg = config(tmp_path, str(tmp_path / kind))
    init = in_kind_of(CLASSIFY, resolve_init(cfg))
    network = fit_network(cfg, init, CLASSIFY, 160)
    assert init.style == network.style == kind and "decoder_layers" not in network.options
    model = SequenceClassificationHead(Transformer(**network.options), 3).eval()
    parts = {part: state for part, state, _ in init.load_into(model)}
    assert parts["blocks"] == parts["token table"] == "loaded" and parts["head"] == "new"
    assert "not used" in [state for part, state in parts.items() if "decoder" in part]
    ids = torch.tensor([[3, 20, 30, 25, 4]])
    with torch.no_grad():
        torch.testing.assert_close(model.network(ids), theirs.get_encoder()(ids).last_hidden_state, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", ["bart", "t5"])
def test_a_checkpoint_starts_a_task_that_writes(tmp_path: Path, kind: str) -> None:
    theirs = seq2seq_checkpoint(tmp_path / kind, kind)
    cfg = config(tmp_path, str(tmp_path / kind))
    task = build(OmegaConf.create(task_node("text_generation", max_target=9)))
    init = in_kind_of(task, resolve_init(cfg))
    network = fit_network(cfg, init, task, 160)
    template = task.template(init.tokenizer, network.options, network.style, network.length)
    node = method_node(task, network.options, [], template.facts)
    assert node["style"] == kind and node["specials"] == init.tokenizer.specials and "dropout" not in node
    model = build(OmegaConf.create(node)).eval()
    assert {state for _, state, _ in init.load_into(model)} == {"loaded"}
    source, ids = torch.tensor([[3, 20, 30, 25, 4]]), torch.tensor([[0, 21, 31]])
    with torch.no_grad():
        found = model.network.logits(model.network(source, ids))
        wanted = theirs(input_ids=source, decoder_input_ids=ids).logits
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)


def test_a_target_longer_than_the_positions_that_were_learned(tmp_path: Path) -> None:
    seq2seq_checkpoint(tmp_path / "bart", "bart")
    cfg, task = config(tmp_path, str(tmp_path / "bart")), build(OmegaConf.create(task_node("text_generation")))
    with pytest.raises(InputError, match=r"task.max_target=64: .* reads at most 40 tokens, the positions it learned"):
        fit_network(cfg, in_kind_of(task, resolve_init(cfg)), task, 160)
