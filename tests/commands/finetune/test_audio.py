"""ssl finetune and ssl predict on speech: from scratch, from a pretrained run, from few labels, and refusals."""

import csv
import json
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file

import ssl_cli
from tests.conftest import Cli
from tests.helpers.recordings import write_recordings

QUICK = ["trainer=cpu", "trainer.max_steps=4", "trainer.batch_size=8", "trainer.validate_every_n_steps=2"]
DATA = ["data=fsdd", "data.test_takes=[0]", "data.val=0.3", "data.n_mels=16", "data.dir=recordings"]
SHAPE = ["layers=1", "width=16", "context=24"]
PRETRAIN = [*DATA, *QUICK, "model=speech_bert", "model.n_units=8", *(f"model.network.{word}" for word in SHAPE)]
WORDS = ["task=speech/words", *DATA, *QUICK, "bootstrap_samples=10"]
SCRATCH = [*WORDS, *(f"model.{word}" for word in SHAPE)]


@pytest.fixture
def recordings(workdir: Path) -> Path:
    return write_recordings(workdir / "recordings")


def run(cli: Cli, verb: str, *words: str) -> Path:
    code, out, err = cli(verb, *words)
    assert code == 0, err
    return Path(out.strip().splitlines()[-1])


def rows_of(table: str) -> list[dict[str, str]]:
    with Path(table).open() as file:
        return list(csv.DictReader(file))


def metrics_of(folder: Path) -> dict[str, float]:
    return json.loads((folder / "metrics.json").read_text())


def test_words_are_learned_from_scratch_and_predicted(cli: Cli, recordings: Path) -> None:
    folder = run(cli, "finetune", *SCRATCH, "trainer.max_steps=80", "trainer.validate_every_n_steps=20")
    assert metrics_of(folder)["test/accuracy"] > 0.8, "two words that differ in their vowels"
    assert (folder / "figures" / "confusion-test.png").stat().st_size > 0
    config = OmegaConf.load(folder / "config.yaml")
    assert not {"tokenizer", "max_length"} & set(config)
    assert config.facts.labels == ["ai", "ua"]
    assert folder.parent.name == "frame_transformer-speech-words-fsdd"
    (recordings / "broken.wav").write_text("no sound")
    assert run(cli, "predict", f"run={folder}", "input=recordings", "output=all.csv") == Path("all.csv")
    predicted = rows_of("all.csv")
    right = [row["prediction"] == row["id"].partition("_")[0] for row in predicted]
    assert (len(right), sum(right) / len(right) > 0.8) == (36, True)
    shares = [float(predicted[0][f"probabilities.{word}"]) for word in ("ai", "ua")]
    assert sum(shares) == pytest.approx(1, abs=1e-5)
    rejected = rows_of("rejects.csv")
    assert [row["text"] for row in rejected] == ["broken.wav"]
    assert "broken.wav: " in rejected[0]["reason"]
    (one,) = ssl_cli.load(folder).predict(recordings / "ai_ann_0.wav")
    run(cli, "predict", f"run={folder}", "input=recordings/ai_ann_0.wav", "output=one.jsonl")
    assert json.loads(Path("one.jsonl").read_text()) == {"row": 0, **one}
    _, _, err = cli("predict", f"run={folder}", "input=recordings/ai_ann_0.wav", "output=two.jsonl")
    assert "this run normalizes frames by speaker, and has 0.3 s of one that it doesn't know" in err


def test_predictions_are_those_of_the_run(cli: Cli, recordings: Path) -> None:
    """With normalization=global nothing depends on what other recordings are read beside them."""
    folder = run(cli, "finetune", *SCRATCH, "data.normalization=global")
    written = [json.loads(line) for line in (folder / "predictions-test.jsonl").read_text().splitlines()]
    run(cli, "predict", f"run={folder}", "input=recordings", "output=all.jsonl")
    again = {each["id"]: each for each in map(json.loads, Path("all.jsonl").read_text().splitlines())}
    assert len(written) == 6
    for each in written:
        assert again[each["id"]]["probabilities"] == pytest.approx(each["probabilities"], abs=1e-4)


def test_a_frozen_encoder_is_that_of_the_pretrained_run(cli: Cli, recordings: Path) -> None:
    pretrained = run(cli, "pretrain", *PRETRAIN)
    folder = run(cli, "finetune", *WORDS, f"init={pretrained}", "freeze=encoder", "task.labels=4")
    before, after = (load_file(path / "model.safetensors") for path in (pretrained, folder))
    network = [name for name in after if name.startswith("network.")]
    assert all(torch.equal(before[name], after[name]) for name in network)
    assert set(network) == {name for name in before if name.startswith("network.")}
    config = OmegaConf.load(folder / "config.yaml")
    assert (config.choices.model, config.model.pool) == ("speech_bert-fsdd", "thirds")
    again = run(cli, "finetune", *WORDS, "init=latest", "task.labels=4", "trainer.max_steps=2")
    moved = load_file(again / "model.safetensors")
    assert any(not torch.equal(before[name], moved[name]) for name in network)
    like = run(cli, "finetune", *WORDS, f"like={pretrained}", "task.labels=4")
    random = load_file(like / "model.safetensors")
    assert {name: w.shape for name, w in random.items()} == {name: w.shape for name, w in after.items()}
    code, _, err = cli("finetune", *WORDS, f"init={pretrained}", "data.n_mels=20")
    assert (code, err.count("\n")) == (2, 1)
    assert "was trained on other frames than these: set data.n_mels=16" in err
    Path("a.csv").write_text("text,label\nhello,a\nbye,b\n")
    code, _, err = cli("finetune", f"init={pretrained}", "data.files.train=a.csv", "data.files.dev=a.csv")
    assert (code, err.count("\n")) == (2, 1)
    assert "was trained on speech: use it with task=speech/words or task=speech/speaker" in err


def test_a_resumed_run_is_the_same_as_an_uninterrupted_one(cli: Cli, recordings: Path) -> None:
    words = [*SCRATCH, "optim.schedule=constant", "task=speech/speaker"]
    whole, part = run(cli, "finetune", *words), run(cli, "finetune", *words, "trainer.max_steps=2")
    assert run(cli, "finetune", f"resume={part}", "trainer.max_steps=4") == part
    mine, theirs = load_file(whole / "model.safetensors"), load_file(part / "model.safetensors")
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert OmegaConf.load(part / "config.yaml").facts.labels == ["ann", "bob", "cid"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["max_length=9"], "max_length is for text, and data=fsdd holds speech: leave it out"),
        (["tokenizer=bpe"], "tokenizer is for text"),
        (["task=classify"], "task=classify can't read data=fsdd"),
        (["data=labelled"], "task=speech/words can't read data=labelled; it can read fsdd, mboshi, speech"),
        (["task.labels=1"], "task.labels must be"),
        (["task.labels=99"], "task.labels=99: it must be a number from 2, one for each word, to 21"),
        (["init=nowhere"], "init=nowhere is no run folder, which task=speech/words needs"),
        (["init=latest"], "that can be fine-tuned on speech"),
        (["freeze=encoder"], "freeze needs a pretrained model"),
        (["data.val=0"], "No utterance of dev has a word. Set data.val above 0, with several"),
    ],
)
def test_invalid_options_are_reported_in_one_sentence(
    cli: Cli, recordings: Path, words: list[str], sentence: str
) -> None:
    rest = [word for word in WORDS if not (words[0] == "data=labelled" and word.startswith("data"))]
    code, _, err = cli("finetune", *rest, *words)
    assert code == 2
    assert sentence in err
    assert err.count("\n") == 1, err


def test_predict_refuses_what_is_for_text(cli: Cli, recordings: Path) -> None:
    folder = run(cli, "finetune", *SCRATCH)
    Path("text.wav").write_text("no sound")
    for words, sentence in (
        (["text=hello"], "text= is for text, and"),
        (["input=recordings", "output=a.csv", "precision=32-true"], "precision= has no effect on speech"),
        (["input=nowhere", "output=a.csv"], "input=nowhere is neither a file nor a folder"),
        (["input=text.wav", "output=a.csv"], "text.wav can't be used"),
    ):
        code, _, err = cli("predict", f"run={folder}", *words)
        assert (code, err.count("\n")) == (2, 1), err
        assert sentence in err
    assert not Path("a.csv").exists()
