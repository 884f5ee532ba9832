"""`ssl reconstruct model=text_ae`: from a denoising run, beside another run, and used again."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

import ssl_cli
from tests.conftest import Cli, run_here
from tests.helpers.articles import make_pairs, write_pairs

WORDS = ["data=text_pairs", "data.files=a.jsonl", "data.article=body", "data.title=headline", "data.min_words=5"]
SMALL = ["model=text_ae", "model.network.layers=1", "model.network.width=32", "tokenizer=word", "trainer.max_steps=4"]
FEW = ["trainer.max_steps=4", "model.reconstructor_layers=null", "model.max_tokens=6", "model.rebuilt_tokens=20"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a denoising run, a search, and an auto-encoder that begins at the one, beside the other."""
    folder = tmp_path_factory.mktemp("text_ae")
    write_pairs(folder / "a.jsonl")
    (folder / "a.txt").write_text("\n".join(pair["body"].lower() for pair in make_pairs(400)))
    shape = ["model.network.size=null", "model.network.layers=2", "model.network.width=32", "model.network.context=32"]
    options = [*shape, "tokenizer.vocab_size=400", "trainer.max_steps=2", "eval_tokens=500", "val_tokens=500"]
    runs = (
        ["pretrain", "model=bart", "data=text", "data.files=a.txt", *options],
        ["reconstruct", *WORDS],
        ["reconstruct", *WORDS, "model=text_ae", "init={0}", "beside={1}", *FEW],
    )
    folders = list[str]()
    for words in runs:
        done = run_here(*(word.format(*folders) for word in words), cwd=folder)
        assert done.returncode == 0, done.stderr
        folders.append(done.stdout.splitlines()[-1])
    (folder / "runs.json").write_text(json.dumps(folders))
    return folder


@pytest.fixture
def runs(made: Path, workdir: Path) -> list[Path]:
    shutil.copytree(made, workdir, dirs_exist_ok=True)
    return [workdir / name for name in json.loads((made / "runs.json").read_text())]


def test_it_begins_with_the_network_and_the_tokenizer_of_the_other_run(runs: list[Path]) -> None:
    bart, _, run = runs
    assert (bart / "tokenizer.json").read_text() == (run / "tokenizer.json").read_text()
    model = ssl_cli.load(run).model
    assert model.generator.network.layers == model.reconstructor.network.layers == 2
    assert len(model.prefix) == 2  # BART's
    begun, learned = load_file(bart / "model.safetensors"), load_file(run / "model.safetensors")
    for part in ("generator", "reconstructor"):
        name = "network.encoder.blocks.0.attention.qkv.weight"
        assert 0 < (begun[name] - learned[f"{part}.{name}"]).abs().max() < 0.02  # four steps away


def test_it_reports_itself_beside_the_other_run(runs: list[Path]) -> None:
    metrics = json.loads((runs[2] / "metrics.json").read_text())
    assert metrics["test/beside_rouge1"] > 0.9
    loss = metrics["test/random_words_rebuilding_loss"] - metrics["test/rebuilding_loss"]
    assert metrics["test/rebuilding_gain"] == pytest.approx(loss, abs=1e-4)
    assert metrics["test/rebuilding_gain_low"] <= metrics["test/rebuilding_gain_high"]
    assert 0 <= metrics["test/token_accuracy"] <= 1
    assert "the run beside it" in (runs[2] / "report.html").read_text()
    assert (runs[2] / "figures" / "training.png").exists()
    rows = list(csv.DictReader((runs[2] / "examples.csv").open()))
    assert {"summary", "rebuilt", "beside"} <= set(rows[0]) and len(rows) == 20
    history = list(csv.DictReader((runs[2] / "history.csv").open()))
    assert {"train/reconstructor_loss", "train/discriminator_loss", "train/denoising"} <= set(history[-1])


def test_a_reopened_run_summarizes_as_before(cli: Cli, runs: list[Path]) -> None:
    rows = list(csv.DictReader((runs[2] / "examples.csv").open()))
    finished = ssl_cli.load(runs[2])
    assert finished.summarize([row["article"] for row in rows]) == [row["summary"] for row in rows]  # type: ignore[attr-defined]
    code, out, err = cli("summarize", f"text={json.dumps(rows[0]['article'])}")
    assert code == 0 and out.splitlines()[-1] == rows[0]["summary"], err


def test_from_scratch_it_learns_its_own_tokenizer(cli: Cli) -> None:
    write_pairs(Path("a.jsonl"))
    code, out, err = cli("reconstruct", *WORDS, *SMALL, "model.discriminator=none", "model.estimator=gumbel")
    assert code == 0, err
    run = Path(out.splitlines()[-1])
    assert "wheat" in (run / "tokenizer.json").read_text()
    assert np.isfinite(json.loads((run / "metrics.json").read_text())["test/rebuilding_loss"])
    assert not any(name.startswith("discriminator") for name in load_file(run / "model.safetensors"))
    assert np.isfinite([float(row["val/loss"]) for row in csv.DictReader((run / "history.csv").open())]).all()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["init=outputs/no"], "init=outputs/no"),
        (["beside=outputs/no"], "outputs/no"),
        (["model=extractive_search", "init=latest"], "init= has no effect on model=extractive_search"),
        (["model.max_tokens=40"], "fewer words than model.max_tokens=40"),
        (["model.rebuilt_tokens=70"], "model.rebuilt_tokens does not fit"),
    ],
)
def test_what_can_not_be_begun_with(cli: Cli, words: list[str], message: str) -> None:
    write_pairs(Path("a.jsonl"))
    code, _, err = cli("reconstruct", *WORDS, *SMALL[:1], *words)
    assert code == 2 and message in err and err.count("\n") == 1, err
