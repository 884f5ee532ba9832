"""`ssl reconstruct` on articles, and `ssl summarize`: one run, made once and copied."""

import csv
import json
import shutil
from pathlib import Path

import pytest

import ssl_cli
from tests.conftest import Cli, run_here
from tests.helpers.articles import make_pairs, write_pairs

WORDS = ["data=text_pairs", "data.files=a.jsonl", "data.article=body", "data.title=headline", "data.min_words=5"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("articles")
    write_pairs(folder / "a.jsonl")
    done = run_here("reconstruct", *WORDS, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


@pytest.fixture
def outputs(made: tuple[Path, str], workdir: Path) -> Path:
    shutil.copytree(made[0], workdir, dirs_exist_ok=True)
    return workdir / made[1].splitlines()[-1]


def test_a_run_reports_rouge_beside_simple_systems(made: tuple[Path, str]) -> None:
    folder, out = made
    run = folder / out.splitlines()[-1]
    assert run.parent.name == "extractive_search-text_pairs"
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["test/rouge1"] > 0.9 > metrics["test/content_lead_8_rouge1"] > 0
    assert metrics["test/rouge1_gain"] == pytest.approx(metrics["test/rouge1"] - metrics["test/content_lead_8_rouge1"])
    assert metrics["test/rouge1_low"] <= metrics["test/rouge1"] <= metrics["test/rouge1_high"]
    assert metrics["test/copied"] == 1 and metrics["test/words"] <= 7 and metrics["val/rouge1"] > 0.9
    assert metrics["test/perplexity"] < metrics["test/lead_8_perplexity"]
    assert "this run" in out and "titles by people" in out and "ROUGE-1" in out
    rows = list(csv.DictReader((run / "examples.csv").open()))
    assert set(rows[0]) == {"which", "rougeL", "article", "title", "summary"} and len(rows) == 20
    assert "first 8 words without stop words" in (run / "report.html").read_text()


def test_the_same_again_is_found_and_a_run_is_reopened(cli: Cli, outputs: Path) -> None:
    texts = [pair["body"] for pair in make_pairs(30, seed=5)]
    assert [summary.isascii() for summary in ssl_cli.load(outputs).summarize(texts)] == [True] * 30  # type: ignore[attr-defined]
    code, out, err = cli("reconstruct", *WORDS, "-m", "model.max_words=3,5", "sweep.skip_done=true")
    assert code == 0, err
    assert "test/rouge1" in out


def test_summaries_are_printed_or_written(cli: Cli, outputs: Path) -> None:
    one, two = (pair["body"] for pair in make_pairs(2, seed=4))
    code, out, err = cli("summarize", f"text={json.dumps(one)}")
    assert code == 0, err
    expected = ssl_cli.load(outputs).summarize([one, two])  # type: ignore[attr-defined]
    assert out.splitlines() == [f"summarize with {outputs.relative_to(Path.cwd())}", expected[0]]
    Path("texts.txt").write_text(f"{one}\n\n{two}\n")
    code, out, err = cli("summarize", "input=texts.txt", "output=s.jsonl")
    assert code == 0 and "texts: 2 in = 2 summarized" in out, err
    rows = [json.loads(line) for line in Path("s.jsonl").read_text().splitlines()]
    assert rows == [{"text": text, "summary": summary} for text, summary in zip((one, two), expected, strict=True)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["text=..."], "has no words to summarize"),
        ([], "There is no text to summarize"),
        (["text=a", "input=b.txt"], "set one of them"),
    ],
)
def test_texts_that_can_not_be_summarized(cli: Cli, outputs: Path, words: list[str], message: str) -> None:
    code, _, err = cli("summarize", *words)
    assert code == 2 and message in err and err.count("\n") == 1


def test_options_of_images_and_speech_are_refused(cli: Cli) -> None:
    for option, owner in (
        ("prior_steps=3", "images"),
        ("judges=false", "speech"),
        ("probes=false", "images, speech and sentences"),
    ):
        code, _, err = cli("reconstruct", *WORDS, option)
        assert code == 2 and f"is for {owner}, and data=text_pairs holds articles" in err


def test_a_model_of_images_can_not_read_articles(cli: Cli) -> None:
    write_pairs(Path("a.jsonl"))
    code, _, err = cli("reconstruct", *WORDS, "model=ae")
    assert code == 2 and "model=ae reads x, but data=text_pairs gives articles, titles" in err
