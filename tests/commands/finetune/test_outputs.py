"""Outputs of a fine-tuning run for each kind of prediction: files, metrics with intervals, the report."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from ssl_cli.commands.finetune import outputs
from ssl_cli.errors import InputError
from ssl_cli.evaluation.metrics.classification import ClassScores, NumberScores
from ssl_cli.evaluation.metrics.token_classification import TagScores
from ssl_cli.runs.csv_files import write_csv
from ssl_cli.tasks.question_answering import AnswerScores
from tests.helpers.finetune_outputs import Predictions, Toy, written


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def is_drawn(path: Path) -> bool:
    return plt.imread(path)[..., :3].std() > 0.03


# --- classes ---


def of_classes(labels: Sequence[str]) -> Toy:
    index = {name: k for k, name in enumerate(labels)}

    def measure(predictions: Predictions) -> ClassScores:
        truth, predicted = (np.array([index[each[name]] for each in predictions]) for name in ("label", "prediction"))
        return ClassScores(truth, predicted, len(labels), ["accuracy"])

    return Toy(measure, {"TOY.tsv": "index\tprediction\n0\t负面\n"})


def classified(labels: Sequence[str], n: int, truth: bool = True) -> Predictions:
    """Return predictions. The last class has no example; a third is wrong, later ones with a higher probability."""
    some = labels[:-1] or labels
    found: Predictions = []
    for k in range(n):
        label, predicted = some[k % len(some)], some[(k + (k % 3 == 2)) % len(some)]
        share = 0.5 + 0.4 * k / n
        probabilities = dict.fromkeys(labels, (1 - share) / len(labels)) | {predicted: share}
        fields = {"id": k, "text": f"text {k} <b> 好", **({"label": label} if truth else {})}
        found.append(fields | {"prediction": predicted, "probability": share, "probabilities": probabilities})
    return found


@pytest.mark.parametrize("n", [1, 90])
@pytest.mark.parametrize("names", [["no", "yes", "rare"], ["体育", "文化", "财经"], [f"类{k}" for k in range(119)]])
def test_classes(tmp_path: Path, names: list[str], n: int) -> None:
    predictions = {"dev": classified(names, n), "test": classified(names, 5, truth=False)}
    metrics, page = written(tmp_path, of_classes(names), names, predictions)
    right = sum(each["label"] == each["prediction"] for each in predictions["dev"]) / n
    assert metrics["dev/accuracy"] == pytest.approx(right)
    ends = ["dev/accuracy_low", "dev/accuracy_high"] if n > 1 else []
    assert list(metrics) == ["dev/accuracy", *ends, "dev/calibration_error"]
    assert n == 1 or metrics["dev/accuracy_low"] <= right <= metrics["dev/accuracy_high"]
    by_class = table(tmp_path / "classes-dev.csv")
    assert [row["class"] for row in by_class] == names and by_class[-1]["support"] == "0"
    assert all(is_drawn(tmp_path / "figures" / f"{name}-dev.png") for name in ("confusion", "calibration"))
    assert all(name in page for name in names) and "text 2 <b>" not in page
    lines = (tmp_path / "predictions-test.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == predictions["test"] and "好" in lines[0]
    assert (tmp_path / "submission/test/TOY.tsv").read_text() == "index\tprediction\n0\t负面\n"
    assert not (tmp_path / "mistakes-test.csv").exists()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ([0.5, 0.75, 0.75], "kept step 20 of 30, chosen on dev by accuracy"),
        ([0.75, 0.7500000001, 0.5], "kept step 10 of 30, chosen on dev by accuracy"),  # equal in float32
        ([float("nan"), 0.2, 0.1], "kept step 20 of 30, chosen on dev by accuracy"),
        ([float("nan")], None),
    ],
)
def test_the_kept_step_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], values: list[float], sentence: str | None
) -> None:
    rows = [{"step": 10 * k, "dev/loss": 1.0, "dev/accuracy": value} for k, value in enumerate(values, 1)]
    write_csv(tmp_path / "history.csv", list(rows[0]), rows)
    _, page = written(tmp_path, of_classes(["a", "b"]), ["a", "b"], {"dev": classified(["a", "b"], 5)})
    out = capsys.readouterr().out
    assert (sentence in out and sentence in page) if sentence else "kept step" not in out + page


def test_the_most_confident_mistakes_come_first(tmp_path: Path) -> None:
    predictions = classified(["a", "b", "rare"], 90)
    _, page = written(tmp_path, of_classes(["a", "b", "rare"]), ["a", "b", "rare"], {"dev": predictions})
    rows = table(tmp_path / "mistakes-dev.csv")
    assert len(rows) == 20 and rows[0] == {
        **{"id": "89", "text": "text 89 <b> 好", "truth": "b", "prediction": "a"},
        "probability": f"{predictions[89]['probability']:.4f}",
    }
    shares = [float(row["probability"]) for row in rows]
    assert shares == sorted(shares, reverse=True) and all(row["truth"] != row["prediction"] for row in rows)
    assert "text 89 &lt;b&gt; 好" in page


def test_classes_that_no_font_can_draw_are_numbered_in_the_page(tmp_path: Path) -> None:
    names = ["a", "\U0010ffff"]
    _, page = written(tmp_path, of_classes(names), names, {"dev": classified(["a", "\U0010ffff", "a"], 9)})
    assert '<td class="number" dir="auto">2</td><td dir="auto">\U0010ffff</td>' in page
    assert "Most frequent confusions" in page


def test_options_have_no_classes(tmp_path: Path) -> None:
    predictions: Predictions = [
        {"id": k, "text": "_ barks", "options": ["cat", "dog"], "label": 1, "prediction": k % 2}
        | {"probability": 0.7, "probabilities": [0.7, 0.3]}
        for k in range(4)
    ]

    def measure(some: Predictions) -> ClassScores:
        truth, predicted = (np.array([each[name] for each in some]) for name in ("label", "prediction"))
        return ClassScores(truth, predicted, 2, ["accuracy"])

    metrics, page = written(tmp_path, Toy(measure), [], {"dev": predictions})
    assert metrics["dev/accuracy"] == 0.5 and metrics["dev/calibration_error"] == pytest.approx(0.2)
    assert table(tmp_path / "mistakes-dev.csv")[0]["options"] == "['cat', 'dog']" and "cat" in page


def test_the_train_split_has_only_metrics(tmp_path: Path) -> None:
    names = ["a", "b"]
    predictions = {"train": classified(names, 9), "dev": classified(names, 9)}
    metrics, page = written(tmp_path, of_classes(names), names, predictions, bootstrap_samples=0)
    assert set(metrics) == {"train/accuracy", "dev/accuracy", "dev/calibration_error"}
    assert "Predictions: dev" in page and "Predictions: train" not in page
    assert (tmp_path / "predictions-train.jsonl").is_file() and not (tmp_path / "mistakes-train.csv").exists()


def test_a_partly_labelled_split_gives_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["no", "yes", "rare"]
    test = [*classified(names, 2, truth=False), *classified(names, 3)]
    metrics, _ = written(tmp_path, of_classes(names), names, {"dev": classified(names, 9), "test": test})
    assert not any(name.startswith("test/") for name in metrics)
    assert "test has no metrics: 2 of 5 examples have no label." in capsys.readouterr().err
    written(tmp_path, of_classes(names), names, {"dev": classified(names, 9), "test": test[:2]})
    assert "has no metrics" not in capsys.readouterr().err


def test_two_splits_with_similar_names_are_separate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["a", "b", "c"]
    written(tmp_path, of_classes(names), names, {"dev": classified(names, 9), "dev_mismatched": classified(names, 30)})
    printed = capsys.readouterr().out
    assert printed.count("mistakes-dev.csv") == printed.count("mistakes-dev_mismatched.csv") == 1
    assert len(table(tmp_path / "mistakes-dev_mismatched.csv")) > len(table(tmp_path / "mistakes-dev.csv")) > 0
    assert "dev_mismatched/accuracy" in printed and "share of predictions that are right" in printed


@pytest.mark.parametrize(
    ("split", "name"),
    [
        ("dev", "../../../evil.sh"),
        ("dev", ".."),
        ("dev", "\0"),
        ("../dev", "a"),
        ("", "a"),
        ("d/ev", "a"),
    ],
)
def test_nothing_is_written_outside_the_run(tmp_path: Path, split: str, name: str) -> None:
    """An untrusted config may name splits and files."""
    task, folder = of_classes(["a", "b"]), tmp_path / "outer" / "run"
    task.submitted, before = {"a.tsv": "good", name: "evil"}, {folder / "config.yaml"}
    folder.mkdir(parents=True)
    with pytest.raises(InputError, match=r"must be inside|may only have letters"):
        written(folder, task, ["a", "b"], {"test": classified(["a", "b"], 3), split: classified(["a", "b"], 3)})
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == before
    with pytest.raises(InputError, match=r"must be inside"):
        outputs.write_predictions(folder, UnsafelyNamed(), "dev", [])  # type: ignore[arg-type]


class UnsafelyNamed(Toy):
    """A task whose file names change once there are predictions."""

    def __init__(self) -> None:
        super().__init__(None)

    def submission(self, split: str, predictions: Predictions) -> dict[str, str]:
        return {"/tmp/evil": ""}


def test_the_page_says_that_weights_were_chosen_on_dev(tmp_path: Path) -> None:
    names = ["a", "b"]
    for split in ("dev", "test"):
        _, page = written(tmp_path, of_classes(names), names, {split: classified(names, 9)})
        assert ("were chosen on dev" in page) == (split == "dev")


# --- numbers, tags, spans ---


@pytest.mark.parametrize("n", [1, 40])
def test_numbers(tmp_path: Path, n: int) -> None:
    predictions: Predictions = [
        {"id": k, "text": "a", "pair": "b", "label": 1.0 * k, "prediction": k + 0.1 * k} for k in range(n)
    ]

    def measure(some: Predictions) -> NumberScores:
        truth, predicted = (np.array([each[name] for each in some]) for name in ("label", "prediction"))
        return NumberScores(truth, predicted, ["pearson"])

    metrics, _ = written(tmp_path, Toy(measure), [], {"dev": predictions})
    assert set(metrics) == {"dev/pearson", *(["dev/pearson_low", "dev/pearson_high"] if n > 1 else [])}
    assert is_drawn(tmp_path / "figures" / "scatter-dev.png")
    if n > 1:  # a single prediction is right
        rows = table(tmp_path / "mistakes-dev.csv")
        assert len(rows) == 20 and rows[0]["error"] == "+3.9" and rows[0]["truth"] == "39" and rows[0]["pair"] == "b"


TAGGED: Predictions = [
    {"words": ["Ann", "saw", "<Rome>"], "labels": ["B-PER", "O", "B-LOC"], "predictions": ["B-PER", "O", "B-PER"]},
    {"words": ["in", "Paris"], "labels": ["O", "B-LOC"], "predictions": ["B-LOC", "B-LOC"]},
    {"words": ["no"], "labels": ["O"], "predictions": ["O"]},
]


@pytest.mark.parametrize("entities", [True, False])
def test_tags(tmp_path: Path, entities: bool) -> None:
    predictions = [
        {"id": k, **each, "probabilities": [0.9, 0.6, 0.8][: len(each["words"])]} for k, each in enumerate(TAGGED)
    ]

    def measure(some: Predictions) -> TagScores:
        truth, predicted = ([each[name] for each in some] for name in ("labels", "predictions"))
        return TagScores.from_tags(truth, predicted, entities)

    metrics, page = written(tmp_path, Toy(measure), ["O", "B-PER", "B-LOC"], {"dev": predictions})
    assert metrics["dev/accuracy"] == pytest.approx(4 / 6) and 0 < metrics["dev/calibration_error"] < 1
    by_class = {row["class"]: row for row in table(tmp_path / "classes-dev.csv")}
    assert set(by_class) == ({"PER", "LOC"} if entities else {"O", "B-PER", "B-LOC"})
    found = by_class["LOC" if entities else "B-LOC"]
    assert [found[name] for name in ("precision", "recall", "support")] == ["0.5000", "0.5000", "2"]
    rows = table(tmp_path / "mistakes-dev.csv")
    assert [(row["word"], row["truth"], row["prediction"]) for row in rows] == [
        ("in", "O", "B-LOC"),
        ("<Rome>", "B-LOC", "B-PER"),
    ]
    assert "&lt;Rome&gt;</mark><small>B-PER, not B-LOC</small>" in page
    assert is_drawn(tmp_path / "figures" / "confusion-dev.png")


def test_spans(tmp_path: Path) -> None:
    context = "台北在台灣 & Rome lies in Italy."
    cases = [("Rome", "Rome", 0.9), ("Italy", "Rome", 0.8), ("", "", 0.7), ("Rome", "", 0.99)]
    predictions: Predictions = [
        {"id": str(k), "question": f"Where <{k}>?", "context": context, "labels": [label] if label else []}
        | {"prediction": answer, "start": context.index(answer) if answer else None, "probability": share, "n_best": []}
        for k, (answer, label, share) in enumerate(cases)
    ]

    def measure(some: Predictions) -> AnswerScores:
        return AnswerScores(
            {"exact_match": np.array([float(each["prediction"] in (each["labels"] or [""])) for each in some])}
        )

    metrics, page = written(tmp_path, Toy(measure), [], {"dev": predictions})
    assert metrics["dev/exact_match"] == 0.5 and metrics["dev/exact_match_low"] < 0.5
    assert metrics["dev/calibration_error"] == pytest.approx((0.1 + 0.8 + 0.3 + 0.99) / 4)
    rows = table(tmp_path / "mistakes-dev.csv")
    assert [(row["id"], row["prediction"], row["truth"]) for row in rows] == [
        ("3", "Rome", "(no answer)"),
        ("1", "Italy", "Rome"),
    ]
    assert '台北在台灣 &amp; <mark class="right" title="90%">Rome</mark> lies in' in page
    assert "(no answer)" in page and "Where &lt;1&gt;?" in page


# --- curves ---


def test_curves_name_the_best_step(tmp_path: Path) -> None:
    history = "step,train/loss,dev/loss,dev/accuracy,lr\n10,0.7,0.6,0.7,0.01\n20,0.5,0.5,0.9,0.01\n30,0.4,0.6,0.8,0\n"
    (tmp_path / "history.csv").write_text(history)
    _, page = written(tmp_path, of_classes(["a", "b"]), ["a", "b"], {"dev": classified(["a", "b"], 9)})
    assert "step 20" in page and is_drawn(tmp_path / "figures" / "training.png")
