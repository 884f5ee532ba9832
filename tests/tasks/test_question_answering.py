"""Question answering from files to predictions: null answers, metrics, submissions, records of a user."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssl_cli.data.labelled.sources import LabelledFiles
from ssl_cli.data.labelled.squad import Question
from ssl_cli.data.labelled.template import SequenceTemplate
from ssl_cli.data.tokenizers.trainers import CharLevel, WordPiece
from ssl_cli.errors import InputError
from ssl_cli.tasks.question_answering import QuestionAnswering
from tests.helpers.questions import PASSAGE, logits_of, questions, squad_file, task, tokenizer

TASKS = ("squad", "squad2", "drcd", "cmrc2018", "question_answering")


def null_answer_task() -> tuple[QuestionAnswering, list[Question], list[dict[str, Any]]]:
    """Return four questions, two without an answer, and their predictions from random logits."""
    the_task = task("squad2", doc_stride=24)
    examples = [*questions()[:2], *(Question(f"n{k}", "Who?", PASSAGE, "T", ()) for k in range(2))]
    rows = the_task.rows(examples, SequenceTemplate.for_tokenizer(tokenizer(), False, 96), [], training=True)
    assert (rows.targets["start"].numpy()[rows.row_ids > 1] == 0).all()
    raw_predictions = logits_of(rows, np.random.default_rng(1))
    predictions = the_task.decode(examples, rows, raw_predictions, [])
    for number, answer in enumerate(predictions):
        null = min(raw_predictions[k][:, 0].sum() for k in np.flatnonzero(rows.row_ids == number))
        best = answer["n_best"][0]["score"]
        assert answer["null_odds"] == pytest.approx(null - best, abs=1e-3)
        scores = np.array([one["score"] for one in answer["n_best"]])
        share = np.exp(scores) / np.exp(scores).sum()
        np.testing.assert_allclose([one["probability"] for one in answer["n_best"]], share, atol=1e-5)
        assert answer["n_best"][-1] == {"text": "", "start": None, "score": pytest.approx(null, abs=1e-3)} | {
            "probability": answer["n_best"][-1]["probability"]
        }
    return the_task, examples, predictions


def test_no_answer_if_the_null_odds_are_above_the_threshold() -> None:
    the_task, _, predictions = null_answer_task()
    for threshold in (-100.0, *(answer["null_odds"] for answer in predictions), 100.0):
        the_task.restore({"null_threshold": threshold})
        for answer, decided in zip(predictions, the_task.apply_threshold(predictions), strict=True):
            says_none = answer["null_odds"] > threshold
            assert decided["prediction"] == ("" if says_none else answer["n_best"][0]["text"])
            assert (decided["start"] is None) == says_none


def test_the_threshold_is_tuned_only_if_it_is_not_set() -> None:
    the_task, _, predictions = null_answer_task()
    f1_at = {}
    for threshold in [-100.0, *(answer["null_odds"] for answer in predictions)]:
        the_task.restore({"null_threshold": threshold})
        scores = the_task.scores(the_task.apply_threshold(predictions))
        assert scores is not None
        f1_at[threshold] = scores.metrics()["f1"]
    the_task.restore({"null_threshold": 0.0})
    the_task.scores(predictions)
    assert the_task.learned() == {"null_threshold": 0.0}
    scores = the_task.scores(the_task.tune(predictions))
    assert scores is not None and scores.metrics()["f1"] == pytest.approx(max(f1_at.values()))
    assert the_task.learned()["null_threshold"] != 0.0

    fixed = task("squad2", null_threshold=1.5)
    fixed.tune(predictions)
    assert (fixed.null_threshold, fixed.learned()) == (1.5, {})
    assert task("squad").learned() == {}
    with pytest.raises(InputError, match="null_threshold is not a number"):
        the_task.restore({"null_threshold": "x"})


def test_metrics_of_questions_with_and_without_an_answer() -> None:
    the_task, _, predictions = null_answer_task()
    said = ["café", "in 1990", "", "café"]
    scores = the_task.scores([answer | {"prediction": text} for answer, text in zip(predictions, said, strict=True)])
    assert scores is not None
    assert scores.metrics() == {"exact_match": 0.5, "f1": 0.5, "has_answer_f1": 0.5, "no_answer_accuracy": 0.5}
    some = scores.metrics(np.array([0, 0, 1]))
    assert some["exact_match"] == pytest.approx(2 / 3) and np.isnan(some["no_answer_accuracy"])
    assert the_task.scores([{name: value for name, value in predictions[0].items() if name != "labels"}]) is None


def test_chinese_is_scored_by_both_conventions() -> None:
    scores = task("drcd").scores([{"prediction": "东京和京都", "labels": ["京都和东京"]}])
    assert scores is not None
    expected = {"exact_match": 0, "f1": 0.4, "exact_match_characters": 0, "f1_characters": 1}
    assert scores.metrics() == pytest.approx(expected)


def test_submission_files() -> None:
    the_task, examples, predictions = null_answer_task()
    files = {name: json.loads(content) for name, content in the_task.submission("dev", predictions).items()}
    assert set(files) == {"dev/predictions.json", "dev/n_best.json", "dev/null_odds.json"}
    assert files["dev/predictions.json"] == {answer["id"]: answer["prediction"] for answer in predictions}
    best = files["dev/n_best.json"]["q0"]
    assert {"text", "probability", "start_logit", "end_logit"} <= best[0].keys() and len(best) == 20 + 1
    assert files["dev/null_odds.json"] == {answer["id"]: answer["null_odds"] for answer in predictions}
    assert list(files["dev/predictions.json"]) == [example.id for example in examples]
    assert set(task("cmrc2018").submission("test", [])) == {"test/cmrc2018_predict.json", "test/n_best.json"}


def test_a_passage_without_a_token_has_no_answer() -> None:
    example = Question("q0", "Who?", "\u200b", "", None)
    for name in ("squad", "squad2"):
        the_task = task(name)
        rows = the_task.rows([example], SequenceTemplate.for_tokenizer(tokenizer(), False, 64), [], training=False)
        assert rows.count.tolist() == [0]
        [answer] = the_task.decode([example], rows, logits_of(rows), [])
        assert (answer["prediction"], answer["start"]) == ("", None) and "labels" not in answer
        assert json.dumps(answer, allow_nan=False)


@pytest.mark.parametrize("name", TASKS)
def test_each_task_is_built(name: str) -> None:
    the_task = task(name)
    assert the_task.monitor == "f1" and the_task.labels([]) == [] and the_task.options([]) == {}


def test_dev_may_be_the_last_articles_of_the_train_file(tmp_path: Path) -> None:
    train = squad_file(tmp_path / "train.json", ["a", "b", "c", "d"])
    test = tmp_path / "test.json.gz"
    test.write_bytes(gzip.compress(squad_file(tmp_path / "test.json", ["e"]).read_bytes()))
    files = {"train": str(train), "test": str(test)}
    found = task(dev_articles=1).read(LabelledFiles(None, files, tmp_path))
    assert {split: [one.id for one in some] for split, some in found.items()} == {
        "train": ["a", "b", "c"],
        "dev": ["d"],
        "test": ["e"],
    }
    task(dev_articles=1).read(LabelledFiles(None, files | {"dev": str(train)}, tmp_path))
    with pytest.raises(InputError, match=r"dev_articles=4: the train file has only 4 articles"):
        task(dev_articles=4).read(LabelledFiles(None, files, tmp_path))
    with pytest.raises(InputError, match=r"data.files.dev and task.dev_articles both define"):
        task(dev_articles=1).read(LabelledFiles(None, files | {"dev": str(test)}, tmp_path))
    with pytest.raises(InputError, match=r"data.files.dev is missing"):
        task().read(LabelledFiles(None, files, tmp_path))


@pytest.mark.parametrize("split", ["train", "dev"])
def test_a_question_without_answers_is_rejected_or_left_out(tmp_path: Path, split: str) -> None:
    """Without answers dev can't be scored and train can't be learned; a test file may have none."""
    files = {name: str(squad_file(tmp_path / f"{name}.json", ["a", "b"])) for name in ("train", "dev")}
    published = LabelledFiles(None, files | {"test": files[split]}, tmp_path)
    content = json.loads(Path(files[split]).read_text())
    content["data"][1]["paragraphs"][0]["qas"][0]["answers"] = []
    Path(files[split]).write_text(json.dumps(content))
    with pytest.raises(InputError, match=rf"{split}.json: the question with id b has no answers: add them, set"):
        task().read(published)
    found = task(unfound="leave_out").read(published)
    assert {name: len(some) for name, some in found.items()} == {"train": 2, "dev": 2, "test": 2} | {split: 1}
    rows = task().rows(found[split], SequenceTemplate.for_tokenizer(tokenizer(), False, 64), [], training=False)
    assert rows.warnings == ("1 of 2 questions have no published answer: left out.",)
    assert task(null_answers=True).read(published)[split][1].is_impossible
    squad_file(Path(files[split]), ["a"], answers=[])
    with pytest.raises(InputError, match=rf"{split}.json has no question with an answer"):
        task(unfound="leave_out").read(published)


def test_folder_as_published(tmp_path: Path) -> None:
    (tmp_path / "squad_v2.0").mkdir()
    for split in ("train", "dev"):
        squad_file(tmp_path / "squad_v2.0" / f"{split}-v2.0.json", [split], is_impossible=False)
    found = task("squad2").read(LabelledFiles(None, {}, tmp_path))
    assert {split: some[0].id for split, some in found.items()} == {"train": "train", "dev": "dev"}


def test_to_example() -> None:
    assert task().to_example({"question": "Who?", "context": "The dog."}) == Question("", "Who?", "The dog.")
    assert task().to_example({"id": 0, "question": "Who?", "context": "The dog."}).id == "0"
    halved = {"question": "Who?\ud800", "context": "The \udc00dog."}
    assert task().to_example(halved) == Question("", "Who?\ufffd", "The \ufffddog.")
    for record, words in (
        ({"question": "Who?"}, "its context is missing"),
        ({"question": " "}, "its question is empty"),
    ):
        with pytest.raises(InputError, match=words):
            task().to_example(record)


@pytest.mark.parametrize(
    ("name", "file", "words"), [("squad", "xquad/xquad.en.json", "wordpiece"), ("drcd", "xquad/xquad.zh.json", "char")]
)
def test_real_answers_are_decoded_from_their_targets(shared: Path, name: str, file: str, words: str) -> None:
    """All answers but those that warnings count as lost are found."""
    the_task = task(name, dev_articles=40)
    examples = the_task.read(LabelledFiles(None, {"train": str(shared / file)}, shared))["train"]
    trainer = {"wordpiece": WordPiece(vocab_size=2000, sample_bytes=10**5, lowercase=True)}.get(words)
    chosen = (trainer or CharLevel(vocab_size=3000, sample_bytes=10**6)).train(the_task.texts(examples))
    rows = the_task.rows(examples, SequenceTemplate.for_tokenizer(chosen, False, 384), [], training=False)
    predictions = the_task.decode(examples, rows, logits_of(rows), [])
    scores = the_task.scores(predictions)
    assert scores is not None
    n_lost = sum(int(sentence.split()[0]) for sentence in rows.warnings if " an answer " in sentence)
    assert len(examples) > 100 and scores.metrics()["exact_match"] >= 1 - n_lost / len(examples) > 0.95
