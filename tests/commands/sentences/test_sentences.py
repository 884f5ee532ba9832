"""`ssl reconstruct` on sentences: one run, made once and copied; and the alarm of a collapsed code."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ssl_cli
from ssl_cli.errors import InputError
from tests.conftest import Cli, run_here
from tests.helpers.pretrain_runs import make_run
from tests.helpers.sentences import make_sentences, write_sentences

DATA = ["data=sentences", "data.files=s.jsonl", "data.text=sentence", "data.labels={tone: label}"]
SMALL = ["model.network.width=32", "model.network.layers=1", "model.network.size=null", "model.network.context=24"]
SMALL += ["model.latent=8", "tokenizer=word", "trainer=cpu", "importance_samples=4"]
WORDS = ["model=sentence_vae", *DATA, *SMALL, "trainer.max_steps=80", "model.style_width=2"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("sentences")
    write_sentences(folder / "s.jsonl", 300)
    make_run(folder / "bert", "bert", "bpe", context=80)
    done = run_here("reconstruct", *WORDS, "beside=bert", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


@pytest.fixture
def finished(made: tuple[Path, str], workdir: Path) -> Any:
    shutil.copytree(made[0], workdir, dirs_exist_ok=True)
    return ssl_cli.load(workdir / made[1].splitlines()[-1])


def test_a_run_measures_the_code_beside_the_decoder_without_one(made: tuple[Path, str]) -> None:
    folder, out = made
    run = folder / out.splitlines()[-1]
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["test/iw_perplexity"] > 1 and 1 < metrics["test/lm_perplexity"] < 100
    assert metrics["test/elbo"] < 0 < metrics["test/kl"]
    assert 0 <= metrics["test/mutual_information"] <= metrics["test/kl"] + 0.5
    assert 0 <= metrics["test/other_word_accuracy"] <= 1 and 0 <= metrics["test/active_units"] <= 8
    rows = list(csv.DictReader((run / "sentences.csv").open()))
    assert {row["which"].split()[0] for row in rows} >= {"rebuilt", "between", "sample"}
    page = (run / "report.html").read_text()
    assert "Rebuilt test sentences" in page and "Between two test sentences" in page and "Samples of the prior" in page
    for label in ("tone", "length"):
        for features in ("", "_style", "_content", "_random", "_bag", "_majority", "_beside"):
            assert 0 <= metrics[f"test/{label}_probe{features}"] <= 1
    assert metrics["test/tone_probe_bag"] > 0.95 and metrics["test/judge_accuracy"] > 0.95  # the words say it
    assert "Another style" in page and "untrained encoder" in page
    assert "accuracy of a probe" in out and "the run beside it" in out
    assert (run / "baseline" / "history.csv").is_file() and "the same decoder without a code" in out


def test_a_finished_run_codes_and_writes_sentences(finished: Any) -> None:
    texts = [record["sentence"] for record in make_sentences(5, seed=3)]
    codes = finished.embed(texts)
    assert codes.shape == (5, 8) and codes.dtype == np.float32
    assert finished.reconstruct(texts) == finished.decode(codes)
    assert finished.sample(3, seed=1) == finished.sample(3, seed=1) and len(finished.sample(3)) == 3
    line = finished.interpolate(texts[0], texts[1], steps=4)
    assert [line[0], line[-1]] == finished.reconstruct(texts[:2]) and len(line) == 4
    assert finished.embed([]).shape == (0, 8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda run: run.embed(["a film", "  "]), "Sentence 2 has no words"),
        (lambda run: run.embed(["film " * 30]), "has 30 tokens: the model reads at most 23"),
        (lambda run: run.decode(np.zeros((2, 3))), "Codes must be an array (N, 8)"),
    ],
)
def test_sentences_that_have_no_code(finished: Any, call: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        call(finished)
    assert message in str(caught.value)


def test_an_ignored_code_is_alarmed_with_its_cures(cli: Cli, workdir: Path) -> None:
    """A large weight of the KL term from the first step on makes any decoder ignore the code."""
    write_sentences(workdir / "s.jsonl", 120)
    cures = ["model.free_bits=0", "model.word_dropout=0", "model.kl_warmup=0", "model.beta=20", "baseline=false"]
    code, out, err = cli("reconstruct", *WORDS[:-2], "trainer.max_steps=30", *cures)
    assert code == 0, err
    assert "Posterior collapse" in err + out and "model.free_bits=0.25 or model.word_dropout=0.3" in err + out
    metrics = json.loads((Path(out.splitlines()[-1]) / "metrics.json").read_text())
    assert metrics["test/kl"] < 1 and "test/lm_perplexity" not in metrics


def test_the_decoder_alone_is_a_language_model(cli: Cli, workdir: Path) -> None:
    write_sentences(workdir / "s.jsonl", 120)
    code, out, err = cli("reconstruct", *WORDS[:-2], "trainer.max_steps=5", "model.code=none")
    assert code == 0, err
    run = Path(out.splitlines()[-1])
    assert list(json.loads((run / "metrics.json").read_text())) == ["test/lm_perplexity"]
    with pytest.raises(InputError, match="has no code"):
        ssl_cli.load(run).sample(1)  # type: ignore[attr-defined]


def test_a_style_needs_labels(cli: Cli, workdir: Path) -> None:
    write_sentences(workdir / "s.jsonl", 120)
    code, _, err = cli("reconstruct", *WORDS, "data.labels=null")
    assert code == 2 and "model.style_width=2 needs sentences of two labels" in err and err.count("\n") == 1


def test_verbs_for_images_refuse_a_run_on_sentences(cli: Cli, finished: Any) -> None:
    code, _, err = cli("reconstruct", f"run={finished.folder}", "input=s.jsonl")
    assert code == 2 and "is a run on texts" in err


def test_a_run_beside_must_read_texts(cli: Cli, finished: Any, workdir: Path) -> None:
    code, _, err = cli("reconstruct", *WORDS, "beside=nowhere")
    assert code == 2 and "nowhere" in err
    make_run(workdir / "short", "bert", "bpe", context=12)
    code, out, err = cli("reconstruct", *WORDS, "beside=short")
    assert code == 2 and "tokens: the model reads 1 to 10" in err and "training" not in out + err


def test_options_of_other_data_are_refused(cli: Cli, workdir: Path) -> None:
    write_sentences(workdir / "s.jsonl", 60)
    code, _, err = cli("reconstruct", *WORDS, "judges=false")
    assert code == 2 and "judges is for speech, and data=sentences holds sentences" in err
