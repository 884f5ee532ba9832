"""Sequence classification: options, rows and targets, predictions and scores."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from ssl_cli.config.instantiate import read_yaml
from ssl_cli.data.labelled.packed_examples import IGNORE_INDEX
from ssl_cli.errors import InputError
from tests.helpers.classification import CONF, GOOD, files, read_error, task_of, template, text_of

ALL = [
    str(path.relative_to(CONF).with_suffix(""))
    for path in sorted(CONF.rglob("*.yaml"))
    if str(read_yaml(path).get("_target_")).endswith(".SequenceClassification")
]


@pytest.mark.parametrize("name", ALL)
def test_each_choice_makes_a_task(name: str) -> None:
    options = {"options": "options"} if name == "multiple_choice" else {}
    assert task_of(name, **options).monitor


def test_contradictions_in_the_options() -> None:
    for options, expected in (
        ({"metrics": ["pearson"], "monitor": "pearson"}, "task.metrics has pearson"),
        ({"monitor": "f1"}, "task.monitor=f1 is not one of task.metrics"),
        ({"kind": "multiple_choice", "metrics": ["accuracy"]}, "task.kind=multiple_choice needs task.options"),
        ({"blank": "_"}, "task.blank is a sign that options replace"),
    ):
        with pytest.raises(InputError, match=expected):
            task_of("classify", **options)


def test_a_blank_excludes_a_pair() -> None:
    with pytest.raises(InputError, match=r"needs task.kind=multiple_choice, and no task.pair"):
        task_of("multiple_choice", blank="_", pair="hint")


def test_f1_is_of_two_classes(tmp_path: Path) -> None:
    content = GOOD + "so so,2\n"
    task = task_of("classify", metrics=["f1", "accuracy"])
    assert "there are 3: use macro_f1" in read_error(task, files(tmp_path, ".csv", train=content, dev=content))


def test_rows_follow_the_template_and_cuts_are_counted(tmp_path: Path) -> None:
    content = "text,pair,label\nabcd,ef,1\n" + "bird " * 20 + ",fly,0\n"
    task = task_of("classify", pair="pair")
    train = task.read(files(tmp_path, ".csv", train=content, dev=content))["train"]
    rows = task.rows(train, template(16), ["0", "1"], True)
    assert rows.warnings == ("1 of 2 examples are longer than 16 tokens and were cut.",)
    assert rows.sequences.length.tolist() == [9, 16]
    assert text_of(rows, 0) == "[CLS]abcd[SEP]ef[SEP]"
    assert rows.tokens["segment"][:9].tolist() == [0] * 6 + [1] * 3
    assert text_of(rows, 1) == "[CLS]bird bird [SEP]fly[SEP]"
    assert rows.targets["label"].tolist() == [1, 0]
    assert (rows.tokens["ids"].dtype, rows.tokens["segment"].dtype) == (torch.int32, torch.int8)
    batch = rows[0, slice(0, 2), 1.0]
    assert (batch["ids"].dtype, batch["segment"].dtype) == (torch.int64, torch.int64)
    assert batch["label"].tolist() == [1, 0]
    assert batch["length"].tolist() == [9, 16]


def test_targets(tmp_path: Path) -> None:
    content = "text,label\na,0.5\nb,-2\n"
    task = task_of("regress")
    found = task.read(files(tmp_path, ".csv", train=content, dev=content, test="text\nc\n"))
    target = task.rows(found["train"], template(), [], True).targets["label"]
    assert (target.tolist(), str(target.dtype)) == ([0.5, -2.0], "torch.float32")
    rows = task.rows(found["test"], template(), [], False)
    assert (len(rows), rows.targets) == (1, {})
    half = "text,label\na,1\nb,\n"
    found = task_of("classify").read(files(tmp_path, ".csv", train=GOOD, dev=GOOD, test=half))
    assert task_of("classify").rows(found["test"], template(), ["0", "1"], False).targets["label"].tolist() == [
        1,
        IGNORE_INDEX,
    ]


def test_options_follow_the_text_or_replace_its_blank(tmp_path: Path) -> None:
    record = {"text": "a bird can", "options": ["fly", "sing a song"], "label": 1}
    content = json.dumps(record) + "\n" + json.dumps(record | {"options": ["x", "y", "z"], "label": "z"})
    task = task_of("multiple_choice")
    train = task.read(files(tmp_path, ".jsonl", train=content, dev=content))["train"]
    rows = task.rows(train, template(), [], True)
    assert (rows.example_offsets.tolist(), rows.targets["label"].tolist()) == ([0, 2, 5], [1, 2])
    assert text_of(rows, 1) == "[CLS]a bird can[SEP]sing a song[SEP]"

    record = {"id": 3, "content": "a" * 30 + "#idiom#" + "b" * 30, "candidates": ["fly", "run"], "answer": 0}
    content = json.dumps(record)
    task = task_of("fewclue/chid")
    train = task.read(files(tmp_path, ".json", train=content, dev=content))["train"]
    rows = task.rows(train, template(15), [], True)
    assert text_of(rows, 1) == "[CLS]aaaaarunbbbbb[SEP]"
    assert rows.warnings == ("1 of 1 examples are longer than 15 tokens and were cut.",)
    rows = task.rows(train, template(65), [], True)
    assert (rows.warnings, int(rows.sequences.length[0])) == ((), 65)
    content = json.dumps(record | {"answer": 2})
    assert "2 in the column answer is not one of its 2 options" in read_error(
        task, files(tmp_path, ".json", train=content, dev=content)
    )


def test_predictions_and_their_scores(tmp_path: Path) -> None:
    content = "".join(["text,pair,label\n", *(f"a{k},b{k},{k % 2}\n" for k in range(20))])
    task = task_of("classify", pair="pair", metrics=["accuracy", "f1"])
    dev = task.read(files(tmp_path, ".csv", train=content, dev=content))["dev"]
    rows = task.rows(dev, template(), ["0", "1"], False)
    raw_predictions = list(np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32))
    predictions = task.decode(dev, rows, raw_predictions, ["0", "1"])
    first, logits = predictions[0], raw_predictions[0]
    share = 1 / (1 + np.exp(logits[0] - logits[1]))
    assert {name: first[name] for name in ("id", "text", "pair", "label")} == {
        "id": 0,
        "text": "a0",
        "pair": "b0",
        "label": "0",
    }
    assert first["probabilities"] == pytest.approx({"0": 1 - share, "1": share}, abs=1e-6)
    assert first["probability"] == first["probabilities"][first["prediction"]] == max(first["probabilities"].values())
    json.dumps(predictions)
    predicted = [int(each["prediction"]) for each in predictions]
    true = [k % 2 for k in range(20)]
    scores = task.scores(predictions)
    assert scores.metrics() == pytest.approx(
        {"accuracy": np.mean(np.equal(predicted, true)), "f1": f1_score(true, predicted)}
    )
    assert set(scores.metrics(np.array([0, 0, 3]))) == {"accuracy", "f1"}
    assert task.scores([{name: one[name] for name in one if name != "label"} for one in predictions]) is None


def test_predictions_of_numbers_and_options(tmp_path: Path) -> None:
    content = "text,label\na,1.5\nb,2\nc,4\n"
    task = task_of("regress")
    dev = task.read(files(tmp_path, ".csv", train=content, dev=content))["dev"]
    rows = task.rows(dev, template(), [], False)
    predictions = task.decode(dev, rows, [np.array([value], np.float32) for value in (0, 0.5, 7)], [])
    assert predictions[1] == {"id": 1, "text": "b", "label": 2.0, "prediction": 0.5}
    assert task.scores(predictions).metrics()["spearman"] == pytest.approx(1)

    record = {"text": "t", "options": ["x", "y", "z"], "label": 1}
    content = json.dumps(record)
    task = task_of("multiple_choice")
    dev = task.read(files(tmp_path, ".jsonl", train=content, dev=content))["dev"]
    rows = task.rows(dev, template(), [], False)
    (prediction,) = task.decode(dev, rows, [np.array([0.0, 2.0, 1.0])], [])
    assert (prediction["prediction"], len(prediction["probabilities"]), prediction["options"]) == (
        1,
        3,
        ("x", "y", "z"),
    )
    assert task.scores([prediction]).metrics() == {"accuracy": 1}


def test_to_example() -> None:
    task = task_of("glue/mrpc")
    for record in ({"#1 String": "A.", "#2 String": "B."}, {"text": "A.", "pair": "B."}):
        example = task.to_example(record)
        assert (example.text, example.pair, example.label) == ("A.", "B.", None)
    with pytest.raises(
        InputError, match=r"^there is no column #2 String or sentence2 or pair \(task.pair\), only text\.$"
    ):
        task.to_example({"text": "A."})
    with pytest.raises(InputError, match="there is no text in the column text"):
        task_of("classify").to_example({"text": " "})
    assert task_of("clue/wsc").to_example({"text": "_小明_说[他]来"}).text == "_小明_说[他]来"
