"""ssl pretrain model=bart|mass|t5: finished runs, what is shown of them, checkpoints in and out, and refusals."""

import json
from pathlib import Path

import matplotlib
import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file

import ssl_cli
from ssl_cli.commands.pretrain import report
from ssl_cli.commands.pretrain.evaluate import evaluate
from ssl_cli.commands.pretrain.predicted_text import TextPiece
from ssl_cli.commands.pretrain.restored import RestoredText, compare, compare_spans, cut_at_end, write_greedily
from ssl_cli.config.instantiate import build
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.data.tokenizers.trainers import WordLevel
from ssl_cli.evaluation.html import REPORT
from ssl_cli.methods.language.seq2seq_lm import Seq2SeqLM
from ssl_cli.models.encoder_decoder import EncoderDecoder
from tests.conftest import Cli

QUICK = ["trainer=cpu", "trainer.max_steps=4", "trainer.batch_size=8", "trainer.validate_every_n_steps=2"]
SMALL = ["model.network.context=24", "data.cache=tokens"]
TINY = "model.network.size=tiny"


@pytest.fixture
def stories(published: Path, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("MPLCONFIGDIR", matplotlib.get_cachedir())
    return ["data=text", f"data.files={published}/text", "data.document=block", *QUICK, *SMALL]


def run(cli: Cli, *words: str) -> Path:
    code, out, err = cli("pretrain", *words)
    assert code == 0, err
    return Path(out.strip().splitlines()[-1])


@pytest.mark.parametrize("model", ["bart", "mass", "t5"])
def test_a_finished_run_can_be_loaded(cli: Cli, stories: list[str], model: str) -> None:
    folder = run(cli, *stories, TINY, f"model={model}")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert set(metrics) == {"val/loss", "val/accuracy", "val/perplexity", "train/tokens_per_s"}
    first = (folder / "examples.txt").read_text().split("\n\n---\n\n")[0].splitlines()
    assert [line.partition(":")[0] for line in first] == ["source", "wrote", "right"]
    assert ("<extra_id_0>" if model == "t5" else "[MASK]") in first[0]
    reopened = ssl_cli.load(folder)
    assert reopened.config.facts.sentinels == reopened.tokenizer.sentinels and len(reopened.tokenizer.sentinels) == 100
    data = build(reopened.config.data).tokenize(build(reopened.config.tokenizer))
    again = evaluate(reopened.model, data.rows("val", reopened.model, 0, 8), 0)
    assert again == {name: metrics[name] for name in again}


def test_show_batch_prints_both_sides(cli: Cli, stories: list[str], workdir: Path) -> None:
    code, out, err = cli("pretrain", *stories, TINY, "model=t5", "show=batch")
    assert code == 0, err
    lines = out.splitlines()
    assert "The encoder reads the source, where a sentinel stands for what was taken from it." in lines[1]
    assert "example 1: a source of 24 tokens, a target of 6, 4 of them missing in the source" in lines
    at = lines.index("decoder")
    assert lines[at + 1].startswith("[PAD]        <extra_id_0>") and lines[at + 2].startswith("<extra_id_0> ")
    assert len(lines) < 22 and not (workdir / "outputs").exists()


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        pytest.param("bart", ["model.network.positions=learned", "model.network.norm=post"], marks=pytest.mark.long),
        ("t5", []),
    ],
)
def test_a_run_is_exported_continued_and_resumed(cli: Cli, stories: list[str], model: str, shape: list[str]) -> None:
    words = [*stories, f"model={model}"]
    first = run(cli, *words, TINY, *shape, "trainer.max_steps=1")
    code, _, err = cli("export", f"run={first}", "output=checkpoint")
    assert code == 0, err
    rest = [*words, "init=checkpoint", "optim.schedule=constant"]
    whole = run(cli, *rest, "trainer.max_steps=3")
    part = run(cli, *rest, "trainer.max_steps=2")
    config = OmegaConf.load(part / "config.yaml")
    assert (config.model.network.layers, config.model.style, config.choices.tokenizer) == (2, model, "pretrained")
    assert run(cli, f"resume={part}", "trainer.max_steps=3") == part
    for name, weights in load_file(whole / "model.safetensors").items():
        assert torch.equal(weights, load_file(part / "model.safetensors")[name]), name
    code, _, err = cli("pretrain", *stories, "model=bert", "init=checkpoint")
    assert (code, err.count("\n")) == (2, 1) and f"writes a text for another one: set model={model}." in err


def test_corruptions_are_swept(cli: Cli, stories: list[str]) -> None:
    code, out, err = cli("pretrain", "-m", *stories, TINY, "model=bart", "model.corruption=[mask],[permute,infill]")
    assert code == 0, err
    assert "[permute, infill]" in out and "[mask]" in out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["data.isolate_documents=true"], "keeps documents apart, which model=bart can't"),
        (["data.files=plain.txt"], "permute shuffles sentences, but no token of the training text ends one"),
        (["model.corruption=[]"], "model.corruption must name one or more of"),
        (["model.corruption=[spans]", "tokenizer.sentinels=0"], "The tokenizer has no sentinels"),
        (["model.mask_ratio=1"], "model.mask_ratio must be"),
    ],
)
def test_refusals(cli: Cli, stories: list[str], workdir: Path, words: list[str], sentence: str) -> None:
    (workdir / "plain.txt").write_text("no sentence ends here\n" * 300)
    rest = [word for word in stories if word.partition("=")[0] != words[0].partition("=")[0]]
    code, _, err = cli("pretrain", *rest, TINY, "model=bart", *words)
    assert (code, err.count("\n")) == (2, 1), err
    assert sentence in err and not (workdir / "outputs").exists()


# --- restored texts ---


def tokenizer() -> Tokenizer:
    words = "the cat sat on a mat dog"
    return WordLevel(vocab_size=50, sample_bytes=1000, lowercase=False, sentinels=4).train([words] * 3)


def test_what_was_written_is_compared_with_the_target() -> None:
    words = tokenizer()
    target, own = words.encode("the cat sat on a mat"), words.encode("the dog sat on mat")
    missing = [False, True, True, False, False, False]
    pieces = list(compare(words, own, target, missing))
    assert "".join(map(str, pieces)).strip() == "the [dog, not cat] [sat] on [-, not a] mat"


def test_spans_are_compared_by_their_sentinel() -> None:
    words = tokenizer()
    target = words.encode("<extra_id_0> the cat <extra_id_1> sat <extra_id_2> mat")
    own = words.encode("<extra_id_0> the dog <extra_id_2> mat <extra_id_3> a")
    text = "".join(map(str, compare_spans(words, own, target))).strip()
    assert text == "<extra_id_0> [the dog, not the cat] <extra_id_1> [-, not sat] <extra_id_2> [mat]"


def test_a_text_ends_at_its_own_end_and_not_at_that_of_a_document_in_it() -> None:
    assert cut_at_end([7, 3, 8, 3, 9, 3], [7, 3, 8, 3], end=3) == [7, 3, 8]
    assert cut_at_end([7, 3, 8, 9], [7, 3, 8, 3], end=3) == [7, 3, 8, 9]


@pytest.mark.parametrize("corruption", ["infill", "fragment", "spans"])
def test_greedy_writing_takes_the_likeliest_token_each_time(corruption) -> None:
    """Against decoding anew from the first token, without a cache."""
    torch.manual_seed(0)
    network = EncoderDecoder(60, 32, layers=2, width=16, heads=2, dropout=0.0, norm="pre")
    specials = {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4, "end": 3}
    model = Seq2SeqLM(network, specials, list(range(5, 20)), "bart", [corruption]).eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(5)
        inputs = model.make_inputs({"ids": torch.randint(20, 60, (4, model.row_length))})
        written = write_greedily(model, inputs)
        given = 1 if corruption == "fragment" else 2
        ids, position = inputs["inputs"][:, :given], inputs.get("position")
        while ids.shape[1] <= written.shape[1]:
            place = None if position is None else position[:, : ids.shape[1]]
            best = network.logits(network(inputs["source"], ids, position=place)[:, -1:]).argmax(-1)
            ids = torch.cat([ids, best], 1)
    assert torch.equal(written, ids[:, 1:]) and written.shape == inputs["targets"].shape


def test_a_printed_restored_text_has_its_source(capsys: pytest.CaptureFixture[str]) -> None:
    pieces = [TextPiece("the "), TextPiece(prediction="dog", target="cat")]
    report.print_examples([RestoredText(pieces, "the [MASK]", "the cat")])
    lines = capsys.readouterr().out.splitlines()
    assert "in brackets what the source does not show, or is wrong: [dog] is right" in lines[1]
    assert lines[3:] == ["source: the [MASK]", "", "wrote: the [dog, not cat]"]


def test_the_report_has_source_text_and_target(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("seed: 1\n")
    example = RestoredText([TextPiece("the "), TextPiece(prediction="dog", target="cat")], "the [MASK]", "the cat")
    report.write(tmp_path, {"model": "bart"}, {"val/accuracy": 0.5}, [example], [])
    page = (tmp_path / REPORT).read_text()
    assert "what is wrong red, before what is right" in page and "the [MASK]\n\nthe <mark" in page
    assert "<small>cat</small>" in page and '<p class="closing" dir="auto">the cat</p>' in page
    assert "share of the tokens to write that are predicted" in page
