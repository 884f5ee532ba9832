"""`ssl fill`: candidates for the masks of a text."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

import ssl_cli
from tests.conftest import Cli
from tests.helpers.pretrain_runs import make_run, make_seq2seq_run


@pytest.fixture
def run(workdir: Path) -> Path:
    return make_run(Path("outputs/pretrain/bert-pydoc/1"), "bert", "wordpiece")


def test_candidates_are_printed_and_nothing_is_written(cli: Cli, run: Path) -> None:
    before = sorted(Path().rglob("*"))
    code, out, err = cli("fill", "text=Birds can [MASK], and fish.", "n=3")
    assert code == 0, err
    command, title, head, *rows = out.splitlines()
    assert command == f"fill with {run}" and title == "Birds can [MASK], and fish."
    assert head.split() == ["candidate", "probability"] and len(rows) == 3
    (candidates,) = ssl_cli.load(run).fill("Birds can [MASK], and fish.", 3)  # type: ignore[attr-defined]
    assert [row.split() for row in rows] == [
        [candidate.token, f"{candidate.probability:.1%}"] for candidate in candidates
    ]
    assert sorted(Path().rglob("*")) == before


def test_several_masks_have_a_column_each(cli: Cli, run: Path) -> None:
    code, out, _ = cli("fill", "text=[MASK] can [MASK].", "n=2")
    assert code == 0 and "candidate 1  probability  candidate 2  probability" in out
    assert len(out.splitlines()) == 5


def test_a_file_of_texts(cli: Cli, run: Path) -> None:
    Path("texts.txt").write_text("Birds can [MASK].\n\n[MASK] is [MASK]\n")
    code, out, err = cli("fill", "input=texts.txt", "output=filled.jsonl", "n=2")
    assert code == 0, err
    assert out.splitlines()[-1] == "filled.jsonl"
    first, second = map(json.loads, Path("filled.jsonl").read_text().splitlines())
    assert first["text"] == "Birds can [MASK]." and [len(mask) for mask in first["masks"]] == [2]
    assert [len(mask) for mask in second["masks"]] == [2, 2]
    assert set(first["masks"][0][0]) == {"token", "probability"}
    assert cli("fill", "text=['a [MASK]','b, [MASK]']")[1].count("probability") == 2


def test_latest_is_the_newest_run_that_can_fill(cli: Cli, run: Path) -> None:
    gpt = make_run(Path("outputs/pretrain/gpt-pydoc/2"), "gpt")
    os.utime(run / "config.yaml", (1000, 1000))
    code, out, err = cli("fill", "text=[MASK]")
    assert code == 0 and out.startswith(f"fill with {run}\n"), err
    (gpt / "config.yaml").write_text("verb: pretrain\nmodel: [")  # the error is reported when the run is opened
    code, _, err = cli("fill", "text=[MASK]")
    assert code == 2 and f"{gpt}/config.yaml is not valid YAML" in err


def test_a_line_without_a_mask_is_named(cli: Cli, run: Path) -> None:
    Path("texts.txt").write_text("Birds [MASK].\r\n\n[MASK]\u2028fly\nBirds fly.\n")
    code, out, err = cli("fill", "input=texts.txt", "output=x.jsonl")
    assert code == 2 and err.startswith("error: input=texts.txt, line 4: 'Birds fly.' has no [MASK]"), err
    assert not out and not Path("x.jsonl").exists()


def test_whitespace_is_visible(cli: Cli, workdir: Path) -> None:
    run = make_run(Path("outputs/pretrain/bert-pydoc/1"), "bert", "bpe")
    code, out, err = cli("fill", "text=[MASK]", "n=300", "output=all.jsonl")
    assert code == 0, err
    rows = out.splitlines()[3:-1]
    assert {"·", "⏎", "→"} <= {row.split()[0] for row in rows} and all(len(row.split()) > 1 for row in rows)
    ((candidates,),) = [json.loads(line)["masks"] for line in Path("all.jsonl").read_text().splitlines()]
    assert {" ", "\n", "\t"} <= {candidate["token"] for candidate in candidates}, run


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], 'There is no text to fill in: set text="Birds can [MASK].", or input=FILE.'),
        (["text=Birds fly."], "'Birds fly.' has no [MASK]: write it in place of a word"),
        (["text=[MASK]", "input=texts.txt"], "text= and input= both name texts to fill in: set one of them."),
        (["input=absent.txt"], "input=absent.txt can't be read: No such file or directory."),
        (["input=empty.txt"], "input=empty.txt has no text: write one per line."),
        (["input=bytes.txt"], "input=bytes.txt is not UTF-8 text"),
        (["text=[MASK]", "n=0"], "n must be a whole number of at least 1, not 0."),
        (["text=[MASK]", "output=x.txt"], "output must be a path that ends in .jsonl or null, not 'x.txt'."),
        (["text=[MASK]", "output=gone/x.jsonl"], "there is no folder gone; make it first."),
        (["text=[MASK]", "output=there.jsonl"], "output=there.jsonl exists: name another file, or set overwrite=true."),
        (["text=" + "a " * 40 + "[MASK]"], "has 41 tokens, but the model reads at most 30: shorten it."),
    ],
)
def test_invalid_options(cli: Cli, run: Path, words: list[str], sentence: str) -> None:
    Path("texts.txt").write_text("[MASK]")
    Path("there.jsonl").write_text("mine")
    Path("empty.txt").write_text("\n \n")
    Path("bytes.txt").write_bytes(b"\xff[MASK]")
    code, _, err = cli("fill", *words)
    assert code == 2 and sentence in err and err.count("\n") == 1, err
    assert Path("there.jsonl").read_text() == "mine"


def test_runs_that_can_not_fill(cli: Cli, workdir: Path) -> None:
    gpt = make_run(Path("outputs/pretrain/gpt-pydoc/1"), "gpt")
    code, _, err = cli("fill", "text=[MASK]", f"run={gpt}")
    assert code == 2 and f"{gpt}: model=gpt reads from left to right" in err
    code, _, err = cli("fill", "text=[MASK]")
    sentence = "There is no finished pretrain run that can fill in a mask (model=bert, bart, mass or t5) in "
    assert code == 2 and sentence in err
    assert "has no config.yaml" in cli("fill", "text=[MASK]", "run=nowhere")[2]


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_a_read_only_folder(cli: Cli, run: Path) -> None:
    Path("locked").mkdir(mode=0o500)
    code, _, err = cli("fill", "text=[MASK]", "output=locked/x.jsonl")
    assert code == 2 and "locked/x.jsonl can't be written: Permission denied" in err


@pytest.mark.parametrize(
    "text", ["One, two, [MASK].", "it's [MASK]", '"Go," she said, "[MASK]"', "a\\b [MASK]", "${x} [MASK]"]
)
def test_punctuation_and_quotes_in_the_text(cli: Cli, run: Path, text: str) -> None:
    code, out, err = cli("fill", f"text={text}", "n=1")
    assert code == 0, err
    assert out.splitlines()[1] == text


def test_an_encoder_decoder_gives_phrases(cli: Cli, workdir: Path) -> None:
    run = make_seq2seq_run(Path("outputs/pretrain/t5-pydoc/1"), "t5")
    code, out, err = cli("fill", "text=[MASK] can [MASK].", "n=3", "output=filled.jsonl")
    assert code == 0 and out.startswith(f"fill with {run}\n") and "candidate 2  probability" in out, err
    row = json.loads(Path("filled.jsonl").read_text())
    finished: Any = ssl_cli.load(run)
    masks = finished.fill("[MASK] can [MASK].", 3)
    assert row["masks"] == [[vars(candidate) for candidate in candidates] for candidates in masks]
    tokens = [finished.tokenizer.encode(candidate.token) for candidate in finished.fill("[MASK] can", 20)[0]]
    assert max(map(len, tokens)) > 1, "a phrase has several tokens"
