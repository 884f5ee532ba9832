"""Examples read from files of every format, and errors that name file and line."""

import datetime
import decimal
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from ssl_cli.data.labelled.sources import LabelledFiles
from tests.helpers.classification import GOOD, files, read_error, task_of, template, text_of

FORMATS = ["a.tsv", "a.csv", "a.jsonl", "a.json", "a.ndjson", "list.json", "a.parquet", "a.txt", "a.csv.gz"]
BAD_FILES = {
    "there is no column text (task.text), only txt, label. Did you mean txt?": {"train": "txt,label\na,1\n"},
    "train.csv, line 3: it has no label in the column label.": {"train": "text,label\na,1\nb,\n"},
    "dev.csv, line 3: the label '2' is not one of 0, 1.": {"dev": GOOD.replace("bad,0", "bad,2")},
    "test.csv, line 3: the label 'l' is not one of 0, 1.": {"test": GOOD.replace("bad,0", "bad,l")},
    "dev.csv, line 2: there is no column label (task.label), only text.": {"dev": "text\na\n"},
    "train.csv, line 3: there is no text in the column text: it is empty.": {"train": "text,label\na,1\n ,0\n"},
    "train.csv holds no examples.": {"train": "text,label\n"},
    "are labelled 1: there are no classes to distinguish.": {"train": "text,label\na,1\nb,1\n"},
    "train.csv, line 2: a class can't be named ???": {"train": "text,label\na,???\nb,1\n"},
    "have 101 different labels": {"train": "text,label\n" + "".join(f"a,{k}\n" for k in range(101))},
}


@pytest.mark.parametrize("name", FORMATS)
def test_all_file_formats_give_the_same(tmp_path: Path, name: str) -> None:
    rows, path = [{"text": "a bird", "label": "1"}, {"text": "一只鸟", "label": "0"}], tmp_path / name
    sign = "," if ".csv" in name else "\t"
    content = f"\ufefftext{sign}label\r\n\n" + "".join(f"{row['text']}{sign}{row['label']}\r\n" for row in rows)
    if name == "a.parquet":
        pyarrow.parquet.write_table(pa.Table.from_pylist(rows), path)
    elif name == "list.json":
        path.write_text(json.dumps(rows, indent=1))
    elif "json" in name:
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    else:
        path.write_bytes(gzip.compress(content.encode()) if name.endswith(".gz") else content.encode())
    found = task_of("classify").read(LabelledFiles(None, {"train": str(path), "dev": str(path)}, tmp_path))["train"]
    assert [(one.id, one.text, one.label) for one in found] == [(0, "a bird", "1"), (1, "一只鸟", "0")]


def test_an_open_quote_is_rejected_and_never_merges_lines(tmp_path: Path) -> None:
    content = 'text,label\nfine,a\n"open quote,a\nb,c\n"x" y,d\n'
    message = read_error(task_of("classify"), files(tmp_path, ".csv", train=content, dev=content))
    assert (
        "train.csv, line 3: a quote is opened and not closed; if quotes are plain characters, set task.quoting="
        in message
    )
    task = task_of("classify", skip_broken=True)
    found = task.read(files(tmp_path, ".csv", train=content, dev=content))["train"]
    assert [(one.text, one.label) for one in found] == [("fine", "a"), ("b", "c")]
    assert "2 record(s) left out" in found.warnings[0] and "line 5: a quote" in found.warnings[0]
    found = task_of("classify", quoting=False).read(files(tmp_path, ".csv", train=content, dev=content))["train"]
    assert [one.label for one in found] == ["a", "a", "c", "d"]


@pytest.mark.parametrize(
    ("options", "suffix", "content", "fault"),
    [
        ({}, ".tsv", 'text\tlabel\n"a\n bird"\tb\n', "line 2: 1 field instead of 2; if its fields are quoted"),
        ({}, ".tsv", '"text"\t"label"\n"a"\t"b"\n', '"label". Its fields are quoted'),
        ({"quoting": False}, ".csv", 'text,label\n"a, b",c\n', "3 fields instead of 2; if its fields are quoted"),
        ({"columns": ["text", "label"]}, ".tsv", '"a\n bird"\tb\n', "1 field instead of 2; if its fields are quoted"),
    ],
)
def test_quoted_fields_that_are_read_as_plain_ones_name_the_option(
    tmp_path: Path, options: dict[str, Any], suffix: str, content: str, fault: str
) -> None:
    task = task_of("classify", **options)
    message = read_error(task, files(tmp_path, suffix, train=content, dev=content))
    assert fault in message and message.rstrip(".").endswith("set task.quoting=true")


def test_ids_of_any_kind_can_be_written_as_json(tmp_path: Path) -> None:
    when, number = datetime.datetime(2024, 5, 1), decimal.Decimal("1.50")
    for value, expected in (
        (when, "2024-05-01 00:00:00"),
        (number, "1.50"),
        (b"\xffa", "\ufffda"),
        (7, 7),
        (2.5, "2.5"),
    ):
        path = tmp_path / "a.parquet"
        pyarrow.parquet.write_table(pa.table({"id": [value] * 2, "text": ["a", "b"], "label": ["0", "1"]}), path)
        task = task_of("classify", id="id")
        dev = task.read(LabelledFiles(None, {"train": str(path), "dev": str(path)}, tmp_path))["dev"]
        predictions = task.decode(dev, task.rows(dev, template(), ["0", "1"], False), [np.zeros(2)] * 2, ["0", "1"])
        assert json.loads(json.dumps(predictions))[0]["id"] == expected


def test_an_empty_text_of_a_test_row_is_predicted_and_counted(tmp_path: Path) -> None:
    """A submission needs every row; QQP's test file has empty texts."""
    good = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n1\t1\t2\tA?\tB?\t0\n"
    test = "id\tquestion1\tquestion2\n0\tA?\tB?\n1\tA?\t\n2\t \tB?\n"
    task = task_of("glue/qqp")
    found = task.read(files(tmp_path, ".tsv", train=good, dev=good, test=test))["test"]
    assert [(one.text, one.pair) for one in found] == [("A?", "B?"), ("A?", ""), ("", "B?")]
    assert found.warnings == ("2 of 3 examples have an empty text.",)
    rows = task.rows(found, template(), ["0", "1"], False)
    assert text_of(rows, 1) == "[CLS]A?[SEP][SEP]" and rows.warnings == found.warnings


def test_unknown_names_of_splits(tmp_path: Path) -> None:
    for name, expected in (("tset", "train, dev, test. Did you mean test?"), ("learned", "train, dev, test.")):
        message = read_error(task_of("classify"), files(tmp_path, ".csv", train=GOOD, dev=GOOD, **{name: GOOD}))
        assert message.startswith(f"data.files.{name}: the splits are {expected}")
    content = "sentence1\tsentence2\tgold_label\nA.\tB.\tneutral\n"
    named = {split: content for split in ("train", "dev", "dev_mismatched", "ax")}
    assert list(task_of("glue/mnli").read(files(tmp_path, ".tsv", **named))) == list(named)


def test_labels_of_the_training_file_in_order(tmp_path: Path) -> None:
    content = "text,label\na,10\nb,9\nc,9\n"
    task = task_of("classify")
    train = task.read(files(tmp_path, ".csv", train=content, dev=content))["train"]
    assert task.labels(train) == ["9", "10"]
    assert task.options(["9", "10"]) == {"n_labels": 2, "kind": "classification"}
    assert task_of("classify", labels=[10, 9, True]).labels(train) == ["10", "9", "true"]
    assert list(task.texts(train)) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ('["pos"]', "neither a text nor a number"),
        ('{"a": 1}', "neither a text nor a number"),
        ("NaN", "it has no label"),
    ],
)
def test_invalid_labels(tmp_path: Path, label: str, expected: str) -> None:
    lines = f'{{"text": "a", "label": {label}}}\n{{"text": "b", "label": "neg"}}\n'
    message = read_error(task_of("classify"), files(tmp_path, ".jsonl", train=lines, dev=lines))
    assert expected in message and "line 1" in message


@pytest.mark.parametrize("expected", BAD_FILES)
def test_bad_input_is_reported_in_one_sentence(tmp_path: Path, expected: str) -> None:
    message = read_error(
        task_of("classify"), files(tmp_path, ".csv", **{"train": GOOD, "dev": GOOD} | BAD_FILES[expected])
    )
    assert message.startswith((str(tmp_path), "The ", "All "))
    assert expected in message


def test_invalid_numbers(tmp_path: Path) -> None:
    for value in ("high", "nan", "inf", "1_000"):
        content = f"text,label\na,1.5\nb,{value}\n"
        message = read_error(task_of("regress"), files(tmp_path, ".csv", train=content, dev=content))
        assert f"train.csv, line 3: '{value}' in the column label is not a number." in message


def test_broken_lines_of_published_files_are_left_out_and_counted(tmp_path: Path) -> None:
    """Only in labelled splits: each line of the test file needs a prediction."""
    good = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n1\t1\t2\tA?\tB?\t0\n"
    broken = good + "2\t1\t2\tA? and\n3\t1\t2\tA?\t\t1\n4\t1\t2\tC?\tD?\t1\n"
    test = "id\tquestion1\tquestion2\n0\tA?\tB?\n1\tA?\n"
    found = task_of("glue/qqp").read(files(tmp_path, ".tsv", train=broken, dev=good))
    assert [example.id for example in found["train"]] == ["1", "4"]
    (message,) = found["train"].warnings
    assert message.startswith("2 record(s) left out: ")
    assert "train.tsv, line 3: 4 fields instead of 6" in message
    assert "line 4: there is no text in the column question2" in message
    assert task_of("glue/qqp").rows(found["train"], template(), ["0", "1"], True).warnings == (message,)
    assert "test.tsv, line 3" in read_error(
        task_of("glue/qqp"), files(tmp_path, ".tsv", train=good, dev=good, test=test)
    )


def test_surrogates_in_labels_and_options_are_replaced(tmp_path: Path) -> None:
    lines = '{"text": "a", "label": "x\\ud800"}\n{"text": "b", "label": "y"}\n'
    found = task_of("classify").read(files(tmp_path, ".jsonl", train=lines, dev=lines))
    assert [example.label for example in found["train"]] == ["x\ufffd", "y"]
    line = '{"text": "a", "options": ["x\\ud800", "b"], "label": 0}'
    (example,) = task_of("multiple_choice").read(files(tmp_path, ".jsonl", train=line, dev=line))["dev"]
    assert example.options == ("x\ufffd", "b")
    line = '{"text": "a", "options": [" ", "b"], "label": 0}'
    assert "must hold a list of at least two texts" in read_error(
        task_of("multiple_choice"), files(tmp_path, ".jsonl", train=line, dev=line)
    )


def test_labels_that_look_like_numbers(tmp_path: Path) -> None:
    lines = "text\tlabel\na\t--1\nb\t2\nc\t" + "9" * 5000 + "\n"
    task = task_of("classify")
    train = task.read(files(tmp_path, ".tsv", train=lines, dev=lines))["train"]
    assert task.labels(train) == ["--1", "2", "9" * 5000]
