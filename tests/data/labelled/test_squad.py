"""Tests of reading questions in the layouts of SQuAD, CMRC 2018 and the hub."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from ssl_cli.data.labelled.squad import (
    MAX_OFFSET_CHARS,
    Question,
    Questions,
    locate_answer,
    questions_from_hub,
    read_squad,
)
from ssl_cli.errors import InputError

PASSAGE = "The dog ran. The cat sat."


def make_question(**changed: Any) -> dict[str, Any]:
    return {"id": "q1", "question": "Who sat?", "answers": [{"text": "cat", "answer_start": 17}]} | changed


def write_squad(path: Path, *questions: dict[str, Any], **paragraph: Any) -> Path:
    article = {"title": "Pets", "paragraphs": [{"context": PASSAGE, "qas": list(questions)} | paragraph]}
    path.write_text(json.dumps({"version": "1.1", "data": [article]}))
    return path


def read(path: Path, null_answers: bool = False, require_found: bool = True) -> Questions:
    return read_squad(path, null_answers, require_found)


def test_squad_questions(tmp_path: Path) -> None:
    questions = read(
        write_squad(
            tmp_path / "dev.json", make_question(), make_question(id="q2", answers=[{"text": "dog", "answer_start": 4}])
        )
    )
    assert questions == [
        Question("q1", "Who sat?", PASSAGE, "Pets", (("cat", 17),)),
        Question("q2", "Who sat?", PASSAGE, "Pets", (("dog", 4),)),
    ]


def test_gzip_and_byte_order_mark(tmp_path: Path) -> None:
    plain = write_squad(tmp_path / "dev.json", make_question())
    compressed, with_bom = tmp_path / "dev.json.gz", tmp_path / "bom.json"
    compressed.write_bytes(gzip.compress(plain.read_bytes()))
    with_bom.write_bytes(b"\xef\xbb\xbf" + plain.read_bytes())
    assert read(compressed) == read(plain) == read(with_bom)


def test_unpaired_surrogates_are_replaced_and_counted(tmp_path: Path) -> None:
    """JSON can spell them, but UTF-8 cannot."""
    context = "The \ud83d dog \U0001f415 ran."
    changed = make_question(id="q\udc00", question="Who?\ud800", answers=[{"text": "\ud83d dog", "answer_start": 4}])
    questions = read(write_squad(tmp_path / "dev.json", changed, context=context))
    answers = (("\ufffd dog", 4),)
    assert questions == [Question("q\ufffd", "Who?\ufffd", "The \ufffd dog \U0001f415 ran.", "Pets", answers)]
    [message] = questions.warnings
    assert message.startswith("4 invalid UTF-8 sequence(s) replaced") and "dev.json" in message
    path = tmp_path / "cmrc.json"
    qas = [{"query_id": "D_0", "query_text": "谁？", "answers": ["鸟\ud800"]}]
    path.write_text(json.dumps([{"context_id": "D", "title": "鸟", "context_text": "鸟\ud800", "qas": qas}]))
    assert read(path)[0].answers == (("鸟\ufffd", 0),)


def test_questions_without_a_word_are_left_out_and_counted(tmp_path: Path) -> None:
    questions = [make_question(), make_question(id="q2", question=" "), make_question(id="q3", question="")]
    found = read(write_squad(tmp_path / "dev.json", *questions))
    assert [question.id for question in found] == ["q1"]
    assert len(found.warnings) == 1 and found.warnings[0].startswith("2 record(s) left out: ")
    assert "paragraph 1, question 2 (id q2): its question is empty" in found.warnings[0]


def test_squad2_marks_questions_without_an_answer(tmp_path: Path) -> None:
    path = write_squad(
        tmp_path / "dev.json",
        make_question(is_impossible=False),
        make_question(id="q2", is_impossible=True, answers=[], plausible_answers=[{"text": "dog", "answer_start": 4}]),
        {"id": "q3", "question": "Unpublished?"},
    )
    questions = read(path, null_answers=True)
    assert [question.answers for question in questions] == [(("cat", 17),), (), None]
    assert [question.is_impossible for question in questions] == [False, True, False]
    with pytest.raises(InputError, match=r"id q2.*it has no answer \(is_impossible\); set task.null_answers=true"):
        read(path)


def test_cmrc2018_layout(tmp_path: Path) -> None:
    path = tmp_path / "cmrc2018_dev.json"
    qas = [
        {"query_id": "D_0", "query_text": "谁？", "answers": ["鸟", "会飞的鸟"]},
        {"query_id": "D_1", "query_text": "几？", "answers": [3.0]},
    ]
    path.write_text(json.dumps([{"context_id": "D", "title": "鸟", "context_text": "会飞的鸟和鸟。", "qas": qas}]))
    first, second = read(path, require_found=False)
    assert first == Question("D_0", "谁？", "会飞的鸟和鸟。", "鸟", (("鸟", 3), ("会飞的鸟", 0)))
    assert second.answers == (("3.0", None),)
    with pytest.raises(InputError, match=r"id D_1.*its answer '3.0' isn't in the passage"):
        read(path)


def test_answer_near_its_offset_is_found_and_counted(tmp_path: Path) -> None:
    [question] = read(
        write_squad(tmp_path / "dev.json", make_question(answers=[{"text": " cat ", "answer_start": 14}]))
    )
    assert (question.answers, question.n_moved) == ((("cat", 17),), 1)
    [exact] = read(write_squad(tmp_path / "dev.json", make_question(answers=[{"text": " cat ", "answer_start": 16}])))
    assert (exact.answers, exact.n_moved) == ((("cat", 17),), 0)


def test_locate_answer() -> None:
    text = "a" * 50 + "b" + "a" * 100 + "b"
    assert locate_answer(text, "b", 50) == 50
    assert locate_answer(text, "b", 50 + MAX_OFFSET_CHARS) == locate_answer(text, "b", 50 - MAX_OFFSET_CHARS) == 50
    assert locate_answer(text, "b", 51 + MAX_OFFSET_CHARS) is None
    assert locate_answer(text, "b", 140) == 151
    assert locate_answer("b..b....b", "b", 2) == 3, "the nearest"
    assert locate_answer(text, "b", None) == locate_answer(text, "b", -1) == 50, "the first, without an offset"
    assert locate_answer(text, "c", None) is None


def test_hidden_answers_of_clue_are_unpublished(tmp_path: Path) -> None:
    fake = [{"text": f"FAKE_ANSWER_{k}", "answer_start": -1} for k in (1, 2, 3)]
    assert read(write_squad(tmp_path / "test.json", make_question(answers=fake)))[0].answers is None


def test_questions_from_hub() -> None:
    record = {"id": "q1", "title": "Pets", "context": PASSAGE, "question": "Who sat?"}
    answers = {"text": ["cat", "The cat"], "answer_start": [17, 13]}
    no_answers = {"text": [], "answer_start": []}
    records = [{**record, "answers": answers}, {**record, "id": "q2", "answers": no_answers}]
    questions = questions_from_hub(records, "hub, dev", null_answers=True, require_found=True)
    assert [question.answers for question in questions] == [(("cat", 17), ("The cat", 13)), ()]
    assert questions_from_hub(records, "hub, dev", False, True)[1].answers is None


@pytest.mark.parametrize(
    ("questions", "paragraph", "message"),
    [
        (
            [make_question(answers=[{"text": "cow", "answer_start": 4}])],
            {},
            r"\(id q1\): its answer 'cow' isn't in the passage",
        ),
        ([make_question(answers=[{"text": " ", "answer_start": 4}])], {}, r"\(id q1\): one of its answers has no text"),
        (
            [make_question(answers=[{"text": "cat", "answer_start": "x"}])],
            {},
            r"\(id q1\): the answer_start of 'cat' is not an integer",
        ),
        ([make_question(answers=[{"text": "cat", "answer_start": -5}])], {}, r"of 'cat' is -5: it counts from 0"),
        ([make_question(answers={"text": ["cat"]})], {}, r"\(id q1\): its answers are not a list"),
        ([make_question(answers=[{"text": "cat", "answer_start": True}])], {}, r"of 'cat' is not an integer"),
        ([make_question(is_impossible="false")], {}, r"its is_impossible must be true or false, not 'false'"),
        ([make_question(question=" ")], {}, r"question 1 \(id q1\): its question is empty"),
        ([make_question()], {"context": ""}, r"\(id q1\): its context is empty"),
        ([{"question": "Who?"}], {}, r"article 1, paragraph 1, question 1: it has no id"),
        ([make_question(), make_question()], {}, r"question 2: its id q1 is used twice"),
        ([make_question(), 3], {}, r"question 2: it is not a JSON object"),
        ([make_question()], {"qas": None}, r"article 1, paragraph 1: it has no list called qas"),
        ([], {}, r"has no questions"),
    ],
)
def test_malformed_question_is_an_error(
    tmp_path: Path, questions: list[Any], paragraph: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read(write_squad(tmp_path / "dev.json", *questions, **paragraph))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("dev.json", b'{"data": [\n}', r"dev.json, line 2: it is not JSON"),
        ("dev.json", b'{"rows": []}', r"is not a file of questions"),
        ("dev.json", b'{"data": ' + b"9" * 5000 + b"}", r"dev.json can't be read: it has a number of too many digits"),
        ("dev.json", b"[" * 100_000, r"dev.json can't be read: its brackets are nested deeper"),
        ("dev.json", '{"data": []}'.encode("utf-32"), r"dev.json is in UTF-32, not UTF-8: convert it"),
        ("dev.json.gz", gzip.compress(b"{}" * 1000, mtime=0)[:-9], r"dev.json.gz is cut off"),
        ("dev.json.gz", b"{}", r"dev.json.gz can't be read"),
    ],
)
def test_unreadable_file_is_an_error(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read(path)


def test_published_counts(shared: Path) -> None:
    counts = {"squad_v1.1/dev-v1.1.json": (10_570, 34_726, 48), "drcd/DRCD_test.json": (3493, 6986, 378)}
    for name, expected in counts.items():
        questions = read(shared / name)
        n_answers = sum(len(question.answers or ()) for question in questions)
        assert (len(questions), n_answers, len({question.article for question in questions})) == expected
        assert not sum(question.n_moved for question in questions)
