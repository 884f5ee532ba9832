"""`ssl predict` on files of any format and size."""

import csv
import gzip
import json
import os
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

import ssl_cli
from ssl_cli.commands.finetune import prediction_writer
from ssl_cli.runs.outputs import REJECTED_ROW_COLUMNS
from tests.conftest import Cli
from tests.helpers.finetune_runs import make_run
from tests.helpers.processes import popen

TAGS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]


@pytest.fixture
def run(workdir: Path) -> Path:
    return make_run(Path("outputs/finetune/bert-glue-sst2/1"), labels=["negative", "positive"])


def read_predictions(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(name).read_text().splitlines()]


def test_a_file_with_bad_lines(cli: Cli, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_writer, "CHUNK_RECORDS", 2)
    lines = ["idx,sentence", '5,"Birds, fly."', "6", "7,Fish swim.", "8,  ", '9,"open', "10,The end"]
    Path("in.csv").write_text("\n".join(lines) + "\n")
    code, out, err = cli("predict", "input=in.csv", "output=out.jsonl", "precision=32-true")
    assert code == 0, err
    assert out.splitlines()[-1] == "out.jsonl" and "records: 6 in = 3 predicted + 3 rejected" in out
    assert err == (
        "warning: 3 records can't be read and are in rejects.csv: line 3: 1 field instead of 2; line 5: there is no "
        "text in the column sentence: it is empty; line 6: a quote is opened and not closed\n"
    )
    found = read_predictions("out.jsonl")
    assert [(one["row"], one["id"], one["text"]) for one in found] == [
        (0, "5", "Birds, fly."),
        (2, "7", "Fish swim."),
        (5, "10", "The end"),
    ]
    alone = ssl_cli.load(run).predict(["Birds, fly."], "32-true")[0]  # type: ignore[attr-defined]
    assert found[0]["probability"] == pytest.approx(alone["probability"], abs=1e-4)
    with Path("rejects.csv").open(newline="") as file:
        rejects = list(csv.reader(file))
    assert rejects[0] == REJECTED_ROW_COLUMNS
    assert [row[:2] + row[3:] for row in rejects[1:]] == [
        ["1", "3", "6"],
        ["3", "5", "8,  "],
        ["4", "6", '9,"open'],
    ]


def test_every_file_format(cli: Cli, run: Path) -> None:
    texts = ["Birds fly.", "Fish, swim."]
    Path("a.txt").write_text("\n".join(texts))
    Path("a.csv").write_text('text\nBirds fly.\n"Fish, swim."\n')
    Path("a.tsv").write_text("sentence\tlabel\nBirds fly.\t1\nFish, swim.\t\n")
    Path("a.jsonl.gz").write_bytes(gzip.compress(b'{"text": "Birds fly."}\n{"sentence": "Fish, swim."}\n'))
    pyarrow.parquet.write_table(pa.table({"text": texts}), "a.parquet")
    for name in ("a.txt", "a.csv", "a.tsv", "a.jsonl.gz", "a.parquet"):
        code, _, err = cli("predict", f"input={name}", "output=out.jsonl", "overwrite=true")
        assert code == 0, (name, err)
        assert [one["text"] for one in read_predictions("out.jsonl")] == texts
        assert Path("rejects.csv").read_text() == ",".join(REJECTED_ROW_COLUMNS) + "\n"


def test_predictions_as_csv(cli: Cli, run: Path) -> None:
    Path("a.txt").write_text('Say "fly", please\nFish')
    assert cli("predict", "input=a.txt", "output=out.csv")[0] == 0
    with Path("out.csv").open(newline="") as file:
        first, _ = csv.DictReader(file)
    assert list(first) == [
        "row",
        "text",
        "prediction",
        "probability",
        "probabilities.negative",
        "probabilities.positive",
    ]
    assert (
        first["text"] == 'Say "fly", please' and first["probability"] == first[f"probabilities.{first['prediction']}"]
    )
    make_run(Path("outputs/finetune/bert-ner/2"), "ner", TAGS)
    assert cli("predict", "input=a.txt", "output=tags.csv", "run=outputs/finetune/bert-ner/2")[0] == 0
    with Path("tags.csv").open(newline="") as file:
        first, _ = csv.DictReader(file)
    words, tags = json.loads(first["words"]), json.loads(first["predictions"])
    assert words[0] == "Say" and len(tags) == len(words) > 1


def test_a_huge_line_at_the_beginning_is_one_reject(cli: Cli, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_writer, "CHUNK_CHARS", 100)  # the line is a chunk by itself
    Path("in.jsonl").write_text('{"txt": "' + "x" * 200 + '"}\n{"text": "Birds fly."}\n')
    code, out, err = cli("predict", "input=in.jsonl", "output=out.jsonl", "precision=32-true")
    assert code == 0 and "records: 2 in = 1 predicted + 1 rejected" in out, err


def test_an_unknown_home_folder(cli: Cli, run: Path) -> None:
    code, _, err = cli("predict", "input=~nobody-at-all/in.jsonl", "output=out.jsonl")
    sentence = "A path starts with ~NAME, but this machine has no home folder of that user: write the path in full."
    assert (code, err) == (2, f"error: {sentence}\n")


def test_sentences_in_columns(cli: Cli, workdir: Path) -> None:
    run = make_run(Path("outputs/finetune/bert-ner/1"), "ner", TAGS)
    Path("news.conll").write_text("-DOCSTART- -X-\n\nBirds NNS\nfly VBP\n\nFish\nswim\n")
    code, out, err = cli("predict", "input=news.conll", "output=out.jsonl", "precision=32-true")
    assert code == 0 and "records: 2 in = 2 predicted + 0 rejected" in out, err
    birds, fish = read_predictions("out.jsonl")
    assert (birds["words"], fish["words"]) == (["Birds", "fly"], ["Fish", "swim"])
    (alone,) = ssl_cli.load(run).predict([{"words": ["Fish", "swim"]}], "32-true")  # type: ignore[attr-defined]
    assert fish["predictions"] == alone["predictions"]
    make_run(Path("outputs/finetune/bert-glue-sst2/1"), labels=["negative", "positive"])
    code, _, err = cli("predict", "input=news.conll", "output=no.jsonl", "run=outputs/finetune/bert-glue-sst2/1")
    assert code == 2 and "news.conll: its name must end in one of .csv" in err and not Path("no.jsonl").exists()


def test_columns_of_a_csv_that_the_first_prediction_lacks(cli: Cli, run: Path) -> None:
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


def test_files_are_read_like_the_training_file(cli: Cli, workdir: Path) -> None:
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
        assert [one["text"] for one in read_predictions("out.jsonl")] == expected


def test_questions_in_squads_json(cli: Cli, workdir: Path) -> None:
    make_run(Path("outputs/finetune/bert-squad/1"), "squad", [])
    questions = [{"id": "q1", "question": "Who?"}, {"id": "q2", "question": " "}]
    squad = {"data": [{"paragraphs": [{"context": "Birds can fly.", "qas": questions}]}]}
    Path("dev.json").write_text(json.dumps(squad))
    code, _, err = cli("predict", "input=dev.json", "output=out.jsonl")
    assert code == 0 and "row 1: its question is empty" in err, err
    (prediction,) = read_predictions("out.jsonl")
    assert prediction["id"] == "q1" and prediction["prediction"] in "Birds can fly."


@pytest.mark.long
def test_memory_does_not_grow_with_the_file(run: Path) -> None:
    peaks = []
    for n in (20_000, 200_000):
        with Path("in.csv").open("w") as file:
            file.write("sentence\n")
            file.writelines(f"Birds can fly and fish can swim in {k}.\n" for k in range(n))
        words = ["predict", "input=in.csv", "output=out.jsonl", "overwrite=true"]
        process = popen([sys.executable, "-m", "ssl_cli.cli.main", *words], env=os.environ | {"OMP_NUM_THREADS": "1"})
        _, status, usage = os.wait4(process.pid, 0)
        assert status == 0
        peaks.append(usage.ru_maxrss)
        with Path("out.jsonl").open() as lines:
            assert sum(1 for _ in lines) == n
    assert peaks[1] < peaks[0] + 60_000, peaks  # KB; the larger file's predictions alone have 30 MB


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no such device here")
def test_a_full_disk(cli: Cli, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("in.txt").write_text("Birds fly.\n" * 3)
    monkeypatch.setattr(prediction_writer, "_open", lambda path: Path("/dev/full").open("w"))  # noqa: SIM115
    code, _, err = cli("predict", "input=in.txt", "output=out.jsonl")
    assert code == 2 and err == "error: out.jsonl can't be written: No space left on device.\n"
    assert sorted(map(str, Path().iterdir())) == ["in.txt", "outputs"]


@pytest.mark.parametrize("escaped", [False, True])
def test_formulas_in_a_csv_are_escaped_on_request(
    cli: Cli, run: Path, monkeypatch: pytest.MonkeyPatch, escaped: bool
) -> None:
    monkeypatch.setattr(prediction_writer, "CHUNK_RECORDS", 1)
    Path("in.csv").write_text('idx,sentence\n,=1+1\n=2,-5\n"=3"\n')  # an id that the first lacks: written again
    words = ["input=in.csv", "output=out.csv", "precision=32-true", f"escape_formulas={escaped}"]
    assert cli("predict", *words)[0] == 0
    with Path("out.csv").open(newline="") as file, Path("rejects.csv").open(newline="") as rejects:
        found, rejected = list(csv.DictReader(file)), list(csv.DictReader(rejects))
    sign = "'" if escaped else ""
    assert [row["text"] for row in found] == [f"{sign}=1+1", "-5"]
    assert found[1]["id"] == f"{sign}=2"
    assert rejected[0]["text"] == '"=3"'
