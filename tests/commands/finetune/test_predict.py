"""`ssl predict` on the command line: its output and its errors."""

from pathlib import Path

import pytest

import ssl_cli
from tests.conftest import Cli
from tests.helpers.finetune_runs import make_run

TAGS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]


@pytest.fixture
def run(workdir: Path) -> Path:
    return make_run(Path("outputs/finetune/bert-glue-sst2/1"), labels=["negative", "positive"])


def test_a_text_with_probabilities(cli: Cli, run: Path) -> None:
    before = sorted(Path().rglob("*"))
    code, out, err = cli("predict", "text=Birds, can fly: ${x}")
    assert code == 0, err
    first, title, head, *rows = out.splitlines()
    assert first == f"predict with {run}" and title == "Birds, can fly: ${x}"
    assert head.split() == ["prediction", "probability"]
    (prediction,) = ssl_cli.load(run).predict(["Birds, can fly: ${x}"])  # type: ignore[attr-defined]
    shares = sorted(prediction["probabilities"].items(), key=lambda pair: -pair[1])
    assert [row.split() for row in rows] == [[name, f"{share:.1%}"] for name, share in shares]
    assert sorted(Path().rglob("*")) == before
    assert cli("predict", "text=['Birds, fly.','Fish']")[1].count("probability") == 2


def test_a_pair(cli: Cli, workdir: Path) -> None:
    make_run(Path("outputs/finetune/bert-mnli/1"), "glue/mnli", ["no", "yes", "maybe"])
    code, out, err = cli("predict", "text=Birds, fish", "pair=A dog, can run")
    assert code == 0 and "Birds, fish | A dog, can run" in out, err
    assert cli("predict", "text=['a','b']", "pair=['c','d']")[1].count("probability") == 2
    code, _, err = cli("predict", "text=Birds")
    assert code == 2 and " or pair (task.pair), only text." in err, err


def test_a_number(cli: Cli, workdir: Path) -> None:
    run = make_run(Path("outputs/finetune/bert-stsb/1"), "glue/stsb", [])
    (prediction,) = ssl_cli.load(run).predict([{"text": "a", "pair": "b"}])  # type: ignore[attr-defined]
    assert cli("predict", "text=a", "pair=b")[1].splitlines()[-1] == f"{prediction['prediction']:.4g}"


def test_tagged_words(cli: Cli, workdir: Path) -> None:
    make_run(Path("outputs/finetune/bert-pos/1"), "pos", ["NOUN", "VERB"])
    code, out, err = cli("predict", "text=Birds fly")
    assert code == 0, err
    first, second = out.splitlines()[1].split()
    assert first in ("Birds/NOUN", "Birds/VERB") and second in ("fly/NOUN", "fly/VERB")
    make_run(Path("outputs/finetune/bert-ner/1"), "ner", TAGS)
    code, out, err = cli("predict", "text=Birds fly", "run=outputs/finetune/bert-ner/1")
    assert code == 0, err


def test_an_answer_in_its_passage(cli: Cli, workdir: Path) -> None:
    run = make_run(Path("outputs/finetune/bert-squad/1"), "squad", [])
    passage = "Birds, can fly. Fish can swim."
    (prediction,) = ssl_cli.load(run).predict([{"question": "Who?", "context": passage}])  # type: ignore[attr-defined]
    code, out, err = cli("predict", "question=Who?", f"context={passage}")
    start, end = prediction["start"], prediction["start"] + len(prediction["prediction"])
    assert code == 0, err
    assert out.splitlines()[-1] == f"{passage[:start]}**{prediction['prediction']}**{passage[end:]}"
    assert cli("predict", "question=['Who?','What?']", f"context={passage}")[1].count("probability") == 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], 'There is no input: set text="A touching film.", or question="..." context="..."'),
        (["text=a", "input=in.csv"], "text= and input= are two inputs: set only one of them."),
        (["text=a", "question=b", "context=c"], "text= and question= are for different tasks: set only one of them."),
        (["question=b"], 'A question needs a passage: set question="..." context="...".'),
        (["pair=b"], "pair= is the second text: set text= to the first."),
        (["text=['a','b']", "pair=c"], "There must be a pair for each text: text has 2, pair 1."),
        (["text=a", "pair=b"], "was trained on single texts"),
        (["text=a", "output=x.jsonl"], "output= and rejects= need a file of records: set input=FILE."),
        (["text="], "there is no text in the column text: it is empty."),
        (["question=b", "context=c"], "there is no column sentence or text"),
        (["input=in.csv"], "input= needs a file for the predictions: set output=FILE.jsonl, or FILE.csv."),
        (["input=in.csv", "output=x.txt"], "output must be a path that ends in .jsonl or .csv or null, not 'x.txt'."),
        (
            ["input=in.csv", "output=there.jsonl"],
            "output=there.jsonl exists: name another file, or set overwrite=true.",
        ),
        (["input=in.csv", "output=in.csv", "overwrite=true"], "output=in.csv is the input itself: name another file."),
        (["input=in.csv", "output=x.csv", "rejects=x.csv"], "output and rejects are both x.csv: name two files."),
        (
            ["input=in.csv", "output=x.csv", "rejects=there.jsonl"],
            "rejects=there.jsonl exists and isn't a table of rejects",
        ),
        (["input=in.csv", "output=gone/x.csv"], "output=gone/x.csv: there is no folder gone; make it first."),
        (["input=gone.csv", "output=x.csv"], "input=gone.csv is not a file."),
        (["input=outputs", "output=x.csv"], "input=outputs is a folder, not a file."),
        (["input=in.doc", "output=x.csv"], "in.doc: its name must end in one of .csv, .tsv,"),
        (["input=empty.csv", "output=x.csv"], "empty.csv is empty: its first line must name its columns."),
        (["input=empty.txt", "output=x.csv"], "input=empty.txt holds no records."),
        (
            ["input=other.csv", "output=x.csv"],
            "input=other.csv: no record of it can be used: line 2: there is no column",
        ),
        (["input=in.csv", "output=x.csv", "run=nowhere"], "has no config.yaml"),
    ],
)
def test_what_is_rejected(cli: Cli, run: Path, words: list[str], sentence: str) -> None:
    Path("in.csv").write_text("text\nBirds fly.\n")
    Path("other.csv").write_text("a,b\nc,d\n")
    for name in ("empty.csv", "empty.txt", "in.doc"):
        Path(name).touch()
    Path("there.jsonl").write_text("mine")
    before = sorted(Path().rglob("*"))
    code, _, err = cli("predict", *words)
    assert code == 2 and sentence in err and err.count("\n") == 1, err
    assert Path("there.jsonl").read_text() == "mine" and sorted(Path().rglob("*")) == before


def test_predictions_are_not_written_into_a_run(cli: Cli, run: Path) -> None:
    Path("in.csv").write_text("text\nBirds fly.\n")
    code, _, err = cli("predict", f"run={run}", "input=in.csv", f"output={run}/predictions-dev.jsonl", "overwrite=true")
    assert code == 2 and "lies in a run: name a file outside of it" in err


def test_there_is_no_run_yet(cli: Cli, workdir: Path) -> None:
    code, _, err = cli("predict", "text=a")
    assert code == 2 and "There is no finished finetune run in " in err
