"""`ssl predict`: answers on the command line, and files of any size."""

import csv
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from rich.text import Text

import ssl_cli
from ssl_cli.commands.finetune import prediction_writer
from ssl_cli.commands.finetune.display import told
from ssl_cli.runs.output_files import REJECT_COLUMNS
from tests.conftest import Cli
from tests.helpers.finetune_runs import make_run

TAGS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]


@pytest.fixture
def run(workdir: Path) -> Path:
    return make_run(Path("outputs/finetune/bert-glue-sst2/1"), labels=["negative", "positive"])


def answers_in(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(name).read_text().splitlines()]


# --- the command line ---------------------------------------------------------------------------------------


def test_a_text_with_probabilities(cli: Cli, run: Path) -> None:
    before = sorted(Path().rglob("*"))
    code, out, err = cli("predict", "text=Birds, can fly: ${x}")
    assert code == 0, err
    said, title, head, *rows = out.splitlines()
    assert said == f"predict with {run}" and title == "Birds, can fly: ${x}"
    assert head.split() == ["answer", "probability"]
    (answer,) = ssl_cli.load(run).predict(["Birds, can fly: ${x}"])  # type: ignore[attr-defined]
    shares = sorted(answer["probabilities"].items(), key=lambda pair: -pair[1])
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
    (answer,) = ssl_cli.load(run).predict([{"text": "a", "pair": "b"}])  # type: ignore[attr-defined]
    assert cli("predict", "text=a", "pair=b")[1].splitlines()[-1] == f"{answer['answer']:.4g}"


def test_words_with_their_tags(cli: Cli, workdir: Path) -> None:
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
    (answer,) = ssl_cli.load(run).predict([{"question": "Who?", "context": passage}])  # type: ignore[attr-defined]
    code, out, err = cli("predict", "question=Who?", f"context={passage}")
    start, end = answer["start"], answer["start"] + len(answer["answer"])
    assert code == 0, err
    assert out.splitlines()[-1] == f"{passage[:start]}**{answer['answer']}**{passage[end:]}"
    assert cli("predict", "question=['Who?','What?']", f"context={passage}")[1].count("probability") == 2


def test_what_is_shown_in_colour() -> None:
    entity = {"type": "PER", "text": "Jim Henson", "first": 1, "last": 2}
    words = {"words": ["Mr", "Jim", "Henson", "\x1b[2Jcame"], "entities": [entity]}
    (shown,) = told(words, TAGS)
    assert isinstance(shown, Text) and shown.plain == r"Mr [Jim Henson](PER) \x1b[2Jcame"
    assert [shown.plain[span.start : span.end] for span in shown.spans] == ["[Jim Henson](PER)"]
    tags = {"words": ["Birds", "fly"], "answers": ["NOUN", "VERB"]}
    (shown,) = told(tags, ["NOUN", "VERB"])
    assert isinstance(shown, Text) and shown.plain == "Birds/NOUN fly/VERB"
    assert len({span.style for span in shown.spans}) == 2
    chinese = {"words": list("姚明在上海"), "entities": [entity | {"first": 0, "last": 1}]}
    assert str(next(told(chinese, TAGS))) == "[姚明](PER)在上海"
    nothing = {"question": "Who?", "context": "It rains.", "answer": "", "start": None, "probability": 0.9}
    table, passage = told(nothing, [])
    assert "no answer in this passage" in str(table) and passage == "It rains."


# --- files --------------------------------------------------------------------------------------------------


def test_a_file_with_bad_lines(cli: Cli, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_writer, "AT_ONCE", 2)
    lines = ["idx,sentence", '5,"Birds, fly."', "6", "7,Fish swim.", "8,  ", '9,"open', "10,The end"]
    Path("in.csv").write_text("\n".join(lines) + "\n")
    code, out, err = cli("predict", "input=in.csv", "output=out.jsonl", "precision=32-true")
    assert code == 0, err
    assert out.splitlines()[-1] == "out.jsonl" and "records: 6 in = 3 answered + 3 rejected" in out
    assert err == (
        "warning: 3 records can't be read and are in rejects.csv: line 3: it has 1 field(s) instead of 2 (idx, "
        "sentence); line 5: there is no text in the column sentence: it is empty; line 6: a quote is opened and not "
        "closed\n"
    )
    found = answers_in("out.jsonl")
    assert [(one["row"], one["id"], one["text"]) for one in found] == [
        (0, "5", "Birds, fly."),
        (2, "7", "Fish swim."),
        (5, "10", "The end"),
    ]
    alone = ssl_cli.load(run).predict(["Birds, fly."], "32-true")[0]  # type: ignore[attr-defined]
    assert found[0]["probability"] == pytest.approx(alone["probability"], abs=1e-4)
    with Path("rejects.csv").open(newline="") as file:
        rejects = list(csv.reader(file))
    assert rejects[0] == REJECT_COLUMNS
    assert [row[:2] + row[3:] for row in rejects[1:]] == [
        ["1", "3", "6"],
        ["3", "5", "8,  "],
        ["4", "6", '9,"open'],
    ]


def test_every_kind_of_file(cli: Cli, run: Path) -> None:
    texts = ["Birds fly.", "Fish, swim."]
    Path("a.txt").write_text("\n".join(texts))
    Path("a.csv").write_text('text\nBirds fly.\n"Fish, swim."\n')
    Path("a.tsv").write_text("sentence\tlabel\nBirds fly.\t1\nFish, swim.\t\n")
    Path("a.jsonl.gz").write_bytes(gzip.compress(b'{"text": "Birds fly."}\n{"sentence": "Fish, swim."}\n'))
    pyarrow.parquet.write_table(pa.table({"text": texts}), "a.parquet")
    for name in ("a.txt", "a.csv", "a.tsv", "a.jsonl.gz", "a.parquet"):
        code, _, err = cli("predict", f"input={name}", "output=out.jsonl", "overwrite=true")
        assert code == 0, (name, err)
        assert [one["text"] for one in answers_in("out.jsonl")] == texts
        assert Path("rejects.csv").read_text() == ",".join(REJECT_COLUMNS) + "\n"


def test_answers_as_csv(cli: Cli, run: Path) -> None:
    Path("a.txt").write_text('Say "fly", please\nFish')
    assert cli("predict", "input=a.txt", "output=out.csv")[0] == 0
    with Path("out.csv").open(newline="") as file:
        first, _ = csv.DictReader(file)
    assert list(first) == ["row", "text", "answer", "probability", "probabilities.negative", "probabilities.positive"]
    assert first["text"] == 'Say "fly", please' and first["probability"] == first[f"probabilities.{first['answer']}"]
    make_run(Path("outputs/finetune/bert-ner/2"), "ner", TAGS)
    assert cli("predict", "input=a.txt", "output=tags.csv", "run=outputs/finetune/bert-ner/2")[0] == 0
    with Path("tags.csv").open(newline="") as file:
        first, _ = csv.DictReader(file)
    words, answers = json.loads(first["words"]), json.loads(first["answers"])
    assert words[0] == "Say" and len(answers) == len(words) > 1


def test_a_huge_line_at_the_beginning_is_one_reject(cli: Cli, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_writer, "CHARACTERS", 100)  # a chunk for itself
    Path("in.jsonl").write_text('{"txt": "' + "x" * 200 + '"}\n{"text": "Birds fly."}\n')
    code, out, err = cli("predict", "input=in.jsonl", "output=out.jsonl", "precision=32-true")
    assert code == 0 and "records: 2 in = 1 answered + 1 rejected" in out, err


def test_a_home_that_nobody_has(cli: Cli, run: Path) -> None:
    code, _, err = cli("predict", "input=~nobody-at-all/in.jsonl", "output=out.jsonl")
    assert (
        code == 2 and err == "error: A path begins with ~ and the name of nobody who has a home here: write it out.\n"
    )


def test_sentences_that_lie_in_columns(cli: Cli, workdir: Path) -> None:
    run = make_run(Path("outputs/finetune/bert-ner/1"), "ner", TAGS)
    Path("news.conll").write_text("-DOCSTART- -X-\n\nBirds NNS\nfly VBP\n\nFish\nswim\n")
    code, out, err = cli("predict", "input=news.conll", "output=out.jsonl", "precision=32-true")
    assert code == 0 and "records: 2 in = 2 answered + 0 rejected" in out, err
    birds, fish = answers_in("out.jsonl")
    assert (birds["words"], fish["words"]) == (["Birds", "fly"], ["Fish", "swim"])
    (alone,) = ssl_cli.load(run).predict([{"words": ["Fish", "swim"]}], "32-true")  # type: ignore[attr-defined]
    assert fish["answers"] == alone["answers"]
    make_run(Path("outputs/finetune/bert-glue-sst2/1"), labels=["negative", "positive"])
    code, _, err = cli("predict", "input=news.conll", "output=no.jsonl", "run=outputs/finetune/bert-glue-sst2/1")
    assert code == 2 and "news.conll: its name must end in one of .csv" in err and not Path("no.jsonl").exists()


def test_columns_of_a_csv_that_the_first_answer_lacks(cli: Cli, run: Path) -> None:
    Path("a.jsonl").write_text('{"text": "Birds, fly."}\n{"text": "Fish", "idx": 7}\n{"text": "A dog"}\n')
    assert cli("predict", "input=a.jsonl", "output=out.csv")[0] == 0
    with Path("out.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [(one["row"], one["text"], one["id"]) for one in found] == [
        ("0", "Birds, fly.", ""),
        ("1", "Fish", "7"),
        ("2", "A dog", ""),
    ]
    assert all(None not in one and one["probability"] for one in found)


def test_files_are_read_as_those_that_were_learned_from(cli: Cli, workdir: Path) -> None:
    make_run(Path("outputs/finetune/bert-cola/1"), "glue/cola", ["0", "1"])
    Path("dev.tsv").write_text("gj04\t1\t\tBirds fly.\ngj04\t0\t*\tFish flies.\n")
    make_run(Path("outputs/finetune/bert-classify/1"), "classify", ["0", "1"], delimiter="|", quoting=False)
    Path("own.csv").write_text('label|text\n0|"Birds, fly.\n1|Fish flies.\n')
    for name, input, expected in (
        ("cola", "dev.tsv", ["Birds fly.", "Fish flies."]),
        ("classify", "own.csv", ['"Birds, fly.', "Fish flies."]),
    ):
        run = f"run=outputs/finetune/bert-{name}/1"
        code, _, err = cli("predict", run, f"input={input}", "output=out.jsonl", "overwrite=true")
        assert code == 0, err
        assert [one["text"] for one in answers_in("out.jsonl")] == expected


def test_questions_in_squads_json(cli: Cli, workdir: Path) -> None:
    make_run(Path("outputs/finetune/bert-squad/1"), "squad", [])
    asked = [{"id": "q1", "question": "Who?"}, {"id": "q2", "question": " "}]
    squad = {"data": [{"paragraphs": [{"context": "Birds can fly.", "qas": asked}]}]}
    Path("dev.json").write_text(json.dumps(squad))
    code, _, err = cli("predict", "input=dev.json", "output=out.jsonl")
    assert code == 0 and "row 1: its question is empty" in err, err
    (answer,) = answers_in("out.jsonl")
    assert answer["id"] == "q1" and answer["answer"] in "Birds can fly."


@pytest.mark.long
def test_memory_does_not_grow_with_the_file(run: Path) -> None:
    peaks = []
    for n in (20_000, 200_000):
        with Path("in.csv").open("w") as file:
            file.write("sentence\n")
            file.writelines(f"Birds can fly and fish can swim in {k}.\n" for k in range(n))
        words = ["predict", "input=in.csv", "output=out.jsonl", "overwrite=true"]
        process = subprocess.Popen(
            [sys.executable, "-m", "ssl_cli.cli.main", *words], env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        _, status, usage = os.wait4(process.pid, 0)
        assert status == 0
        peaks.append(usage.ru_maxrss)
        with Path("out.jsonl").open() as lines:
            assert sum(1 for _ in lines) == n
    assert peaks[1] < peaks[0] + 60_000, peaks  # KB; the larger file's answers alone have 30 MB


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], 'There is nothing to answer: say text="A touching film.", or question="..." context="..."'),
        (["text=a", "input=in.csv"], "text= and input= are two things to answer: say one of them."),
        (["text=a", "question=b", "context=c"], "text= and question= are for different tasks: say one of them."),
        (["question=b"], 'A question is answered from a passage: say question="..." context="...".'),
        (["pair=b"], "pair= is a second text: say text= for the first."),
        (["text=['a','b']", "pair=c"], "There must be a pair for each text: text has 2, pair 1."),
        (["text=a", "pair=b"], "has learned from one text at a time"),
        (["text=a", "output=x.jsonl"], "output= and rejects= are for a file of records: say input=FILE."),
        (["text="], "there is no text in the column text: it is empty."),
        (["question=b", "context=c"], "there is no column sentence or text"),
        (["input=in.csv"], "input= needs a file for its answers: say output=FILE.jsonl, or FILE.csv."),
        (["input=in.csv", "output=x.txt"], "output must be a path that ends in .jsonl or .csv or null, not 'x.txt'."),
        (
            ["input=in.csv", "output=there.jsonl"],
            "output=there.jsonl exists: name another file, or say overwrite=true.",
        ),
        (["input=in.csv", "output=in.csv", "overwrite=true"], "output=in.csv is the input itself: name another file."),
        (["input=in.csv", "output=x.csv", "rejects=x.csv"], "output and rejects are both x.csv: name two files."),
        (["input=in.csv", "output=x.csv", "rejects=there.jsonl"], "rejects=there.jsonl exists and is none of ours"),
        (["input=in.csv", "output=gone/x.csv"], "output=gone/x.csv: there is no folder gone; make it first."),
        (["input=gone.csv", "output=x.csv"], "input=gone.csv is not a file."),
        (["input=outputs", "output=x.csv"], "input=outputs is a folder, not a file."),
        (["input=in.doc", "output=x.csv"], "in.doc: its name must end in one of .csv, .tsv,"),
        (["input=empty.csv", "output=x.csv"], "empty.csv is empty: its first line must name its columns."),
        (["input=empty.txt", "output=x.csv"], "input=empty.txt holds no records."),
        (
            ["input=other.csv", "output=x.csv"],
            "input=other.csv: nothing in it can be answered: line 2: there is no column",
        ),
        (["input=in.csv", "output=x.csv", "run=nowhere"], "has no config.yaml"),
    ],
)
def test_what_is_refused(cli: Cli, run: Path, words: list[str], sentence: str) -> None:
    Path("in.csv").write_text("text\nBirds fly.\n")
    Path("other.csv").write_text("a,b\nc,d\n")
    for name in ("empty.csv", "empty.txt", "in.doc"):
        Path(name).touch()
    Path("there.jsonl").write_text("mine")
    before = sorted(Path().rglob("*"))
    code, _, err = cli("predict", *words)
    assert code == 2 and sentence in err and err.count("\n") == 1, err
    assert Path("there.jsonl").read_text() == "mine" and sorted(Path().rglob("*")) == before


def test_answers_do_not_go_into_a_run(cli: Cli, run: Path) -> None:
    Path("in.csv").write_text("text\nBirds fly.\n")
    code, _, err = cli("predict", f"run={run}", "input=in.csv", f"output={run}/predictions-dev.jsonl", "overwrite=true")
    assert code == 2 and "lies in a run: name a file outside of it" in err


def test_there_is_no_run_yet(cli: Cli, workdir: Path) -> None:
    code, _, err = cli("predict", "text=a")
    assert code == 2 and "There is no finished finetune run in " in err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no such device here")
def test_a_full_disk(cli: Cli, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("in.txt").write_text("Birds fly.\n" * 3)
    monkeypatch.setattr(prediction_writer, "_opened", lambda path: Path("/dev/full").open("w"))  # noqa: SIM115
    code, _, err = cli("predict", "input=in.txt", "output=out.jsonl")
    assert code == 2 and err == "error: out.jsonl can't be written: No space left on device.\n"
    assert sorted(map(str, Path().iterdir())) == ["in.txt", "outputs"]
