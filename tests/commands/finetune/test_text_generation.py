"""ssl finetune task=text_generation and ssl predict: what is written, from what it starts, and what is refused."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file

import ssl_cli
from ssl_cli.commands.finetune.curves import kept_step
from ssl_cli.commands.finetune.text_section import chosen_examples
from tests.conftest import Cli
from tests.helpers import pretrain_runs
from tests.helpers.finetune_runs import make_run
from tests.helpers.task_files import task_words

WORDS = ["bird", "sing", "warm", "sun", "fly", "swim", "moon", "cold", "fish", "dog"]
QUICK = ["trainer=cpu", "trainer.precision=32-true", "trainer.max_epochs=null", "bootstrap_samples=20"]
SMALL = ["model.size=tiny", "model.context=32", "model.dropout=0", "tokenizer.vocab_size=300", "task.max_target=8"]


@pytest.fixture
def files(workdir: Path) -> list[str]:
    """Texts of five words, whose title is the first word."""
    draw = np.random.default_rng(0)
    for name, n in (("train", 128), ("dev", 24), ("test", 16)):
        texts = [" ".join(draw.choice(WORDS, 5)) for _ in range(n)]
        with (workdir / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("text", "title"), *((f" {text}", f" {text.split()[0]}") for text in texts)])
    named = [f"data.files.{name}={name}.csv" for name in ("train", "dev", "test")]
    return ["task=text_generation", "task.source=text", "task.target=title", *named, *QUICK]


def run(cli: Cli, *words: str) -> Path:
    code, out, err = cli("finetune", *words)
    assert code == 0, err
    return Path(out.strip().splitlines()[-1])


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def seq2seq_run(folder: Path, model: str = "bart", **options: Any) -> Path:
    return pretrain_runs.make_seq2seq_run(folder, model, "wordpiece", **options)


def test_a_run_learns_writes_and_can_be_reopened(cli: Cli, files: list[str]) -> None:
    words = ["trainer.max_steps=160", "optim.lr=3e-3", "trainer.validate_every_n_steps=40"]
    code, out, err = cli("finetune", *files, *SMALL, *words, "task.validation_examples=10")
    assert code == 0, err
    assert "of the positions of a batch hold a token" in out and "chosen on dev by loss" in out
    folder = Path(out.strip().splitlines()[-1])
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["test/rougeL"] == 1 and metrics["test/rougeL_low"] == 1, "it copies the first word"
    assert metrics["test/lead_words_rouge1"] == 1 and 0.3 < metrics["test/lead_sentence_rouge1"] < 0.4
    predictions = lines_of(folder / "predictions-test.jsonl")
    assert len(predictions) == 16
    assert all(each["prediction"] == each["target"].strip() == each["source"].split()[0] for each in predictions)
    page = (folder / "report.html").read_text()
    assert "first sentence of the source" in page and "Lengths of predictions and targets" in page
    with (folder / "examples-dev.csv").open(newline="") as file:
        examples = list(csv.DictReader(file))
    assert len(examples) == 20 and {each["which"] for each in examples} == {"best", "middling", "worst"}

    reopened: Any = ssl_cli.load(folder)
    assert reopened.predict([" moon bird sing sun fly"])[0]["prediction"] == "moon"
    code, _, err = cli("predict", f"run={folder}", "input=test.csv", "output=again.jsonl")
    assert code == 0, err
    again = lines_of(Path("again.jsonl"))
    assert [each["prediction"] for each in again] == [each["prediction"] for each in predictions]
    assert list(again[0]) == ["row", "source", "target", "prediction"]


@pytest.mark.parametrize(
    "how", [[], pytest.param(["freeze=encoder", "layer_decay=0.8"], marks=pytest.mark.long)], ids=str
)
def test_a_resumed_run_reaches_the_same_weights(cli: Cli, files: list[str], workdir: Path, how: list[str]) -> None:
    start = seq2seq_run(workdir / "start")
    steady = ["optim.schedule=constant", "trainer.validate_every_n_steps=2", "task.max_target=8"]
    rest = [*files, f"init={start}", *how, *steady]
    whole, part = run(cli, *rest, "trainer.max_steps=4"), run(cli, *rest, "trainer.max_steps=2")
    code, _, err = cli("finetune", f"resume={part}", "trainer.max_steps=4")
    assert code == 0, err
    ours, theirs = load_file(whole / "model.safetensors"), load_file(part / "model.safetensors")
    assert all(torch.equal(weights, theirs[name]) for name, weights in ours.items())
    first = load_file(start / "model.safetensors")
    same = {name for name, weights in first.items() if torch.equal(weights, ours[name])}
    encoder = {name for name in first if name.startswith("network.encoder.")}
    assert same >= encoder if how[:1] == ["freeze=encoder"] else not same & {"network.decoder.blocks.1.up.weight"}


def test_a_run_of_bart_gives_network_template_and_tokenizer(cli: Cli, files: list[str], workdir: Path) -> None:
    start = seq2seq_run(workdir / "start")
    code, out, err = cli("finetune", *files, f"init={start}", "task.max_target=8", "trainer.max_steps=1")
    assert code == 0, err
    printed = {line.split("  ")[0].strip(): line for line in out.splitlines()}
    assert "loaded" in printed["encoder"] and "loaded" in printed["decoder"]
    config = OmegaConf.load(Path(out.strip().splitlines()[-1]) / "config.yaml")
    assert config.model.style == "bart" and config.facts.max_length == 32
    assert config.model.network.context == 512, "so that rows of several texts fit"
    like = run(cli, *files, f"like={start}", "task.max_target=8", "trainer.max_steps=1")
    shape = OmegaConf.load(like / "config.yaml")
    assert shape.model.style == "bart" and shape.model.network == config.model.network


@pytest.mark.parametrize(
    ("style", "task"), [("bart", "classify"), ("t5", "classify"), ("t5", "pos"), ("t5", "question_answering")]
)
def test_an_encoder_decoder_starts_other_tasks_by_its_encoder(
    cli: Cli, workdir: Path, style: str, task: str
) -> None:
    start = seq2seq_run(workdir / "start", style)
    words = [*task_words(workdir / "data", task), *QUICK, "trainer.max_steps=1"]
    code, out, err = cli("finetune", *words, f"init={start}", "optim.lr=1e-9")
    assert code == 0, err
    printed = {line.split("  ")[0].strip(): line for line in out.splitlines()}
    assert "loaded" in printed["blocks"] and "not used" in printed["decoder"]
    folder = Path(out.strip().splitlines()[-1])
    ours, theirs = load_file(folder / "model.safetensors"), load_file(start / "model.safetensors")
    for name in ("blocks.1.attention.qkv.weight", "token_table.weight"):
        torch.testing.assert_close(ours[f"network.{name}"], theirs[f"network.encoder.{name}"])
    finished: Any = ssl_cli.load(folder)
    template = finished.template
    assert (template.prefix == ()) == (style == "t5") and not template.causal
    if task == "classify":
        assert finished.model.summary == ("last" if style == "t5" else "first")


@pytest.mark.parametrize(("model", "nature"), [("gpt", "reads from left to right"), ("bert", "only reads")])
def test_a_network_without_a_decoder_beside_its_encoder(
    cli: Cli, files: list[str], workdir: Path, model: str, nature: str
) -> None:
    start = pretrain_runs.make_run(workdir / "start", model, "wordpiece")
    for option in ("init", "like"):
        code, _, err = cli("finetune", *files, f"{option}={start}")
        assert code == 2 and err.count("\n") == 1, err
        assert nature in err and "start from a run of model=bart, mass or t5" in err


def test_predictions_as_csv_and_on_the_terminal(cli: Cli, workdir: Path) -> None:
    folder = make_run(Path("outputs/finetune/none-text/1"), "text_generation", [])
    (workdir / "in.csv").write_text("source,target\nBirds can fly,=1+1\nFish,\n")
    code, _, err = cli("predict", "input=in.csv", "output=out.csv", "escape_formulas=true", "precision=32-true")
    assert code == 0, err
    with Path("out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    finished: Any = ssl_cli.load(folder)
    written = [each["prediction"] for each in finished.predict(["Birds can fly", "Fish"], "32-true")]
    assert [row["prediction"] for row in rows] == written and written[0] != written[1]
    assert [row["target"] for row in rows] == ["'=1+1", ""] and [row["row"] for row in rows] == ["0", "1"]
    code, out, err = cli("predict", "text=Birds can fly", "precision=32-true")
    assert code == 0 and out.splitlines() == [f"predict with {folder}", written[0]], err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("source\n", "input=in.csv holds no records."),
        ("", "in.csv is empty"),
        ("body\nx\n", "no record of it can be used: line 2: there is no column source or text (task.source), only"),
    ],
)
def test_a_file_without_sources(cli: Cli, workdir: Path, content: str, message: str) -> None:
    make_run(Path("outputs/finetune/none-text/1"), "text_generation", [])
    (workdir / "in.csv").write_text(content)
    code, _, err = cli("predict", "input=in.csv", "output=out.jsonl")
    assert code == 2 and message in err and not Path("out.jsonl").exists(), err


def test_the_step_with_the_smallest_loss_is_kept() -> None:
    history = [{"step": 10.0 * k, "dev/loss": loss, "dev/rougeL": k / 9} for k, loss in enumerate((3.0, 1.0, 2.0))]
    assert kept_step(history, "loss") == 10 and kept_step(history, "rougeL") == 20


def test_examples_are_the_best_the_middling_and_the_worst() -> None:
    assert chosen_examples(np.array([0.1, 0.9, 0.5])) == {"All": [1, 2, 0]}
    chosen = chosen_examples(np.arange(101) / 100)
    assert chosen["Best"] == [*range(100, 93, -1)] and chosen["Worst"] == [*range(6, -1, -1)]
    assert chosen["Middling"] == [53, 52, 51, 50, 49, 48]
