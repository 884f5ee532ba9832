import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from ssl_cli.data.labelled.squad import NEAR, Question, Questions, located, questions_of_hub, read_squad
from ssl_cli.errors import InputError

PASSAGE = "The dog ran. The cat sat."


def asked(**changed: Any) -> dict[str, Any]:
    return {"id": "q1", "question": "Who sat?", "answers": [{"text": "cat", "answer_start": 17}]} | changed


def squad_file(path: Path, *questions: dict[str, Any], **paragraph: Any) -> Path:
    article = {"title": "Pets", "paragraphs": [{"context": PASSAGE, "qas": list(questions)} | paragraph]}
    path.write_text(json.dumps({"version": "1.1", "data": [article]}))
    return path


def read(path: Path, null_answers: bool = False, refuse_unfound: bool = True) -> Questions:
    return read_squad(path, null_answers, refuse_unfound)


def test_squad(tmp_path: Path) -> None:
    found = read(
        squad_file(tmp_path / "dev.json", asked(), asked(id="q2", answers=[{"text": "dog", "answer_start": 4}]))
    )
    assert found == [
        Question("q1", "Who sat?", PASSAGE, "Pets", (("cat", 17),)),
        Question("q2", "Who sat?", PASSAGE, "Pets", (("dog", 4),)),
    ]


def test_gzip_and_a_byte_order_mark(tmp_path: Path) -> None:
    plain = squad_file(tmp_path / "dev.json", asked())
    packed, marked = tmp_path / "dev.json.gz", tmp_path / "bom.json"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    marked.write_bytes(b"\xef\xbb\xbf" + plain.read_bytes())
    assert read(packed) == read(plain) == read(marked)


def test_halves_of_characters_are_replaced_and_counted(tmp_path: Path) -> None:
    """JSON can spell them, UTF-8 can't."""
    context = "The \ud83d dog \U0001f415 ran."
    changed = asked(id="q\udc00", question="Who?\ud800", answers=[{"text": "\ud83d dog", "answer_start": 4}])
    found = read(squad_file(tmp_path / "dev.json", changed, context=context))
    answers = (("\ufffd dog", 4),)
    assert found == [Question("q\ufffd", "Who?\ufffd", "The \ufffd dog \U0001f415 ran.", "Pets", answers)]
    [told] = found.warnings
    assert told.startswith("4 fault(s) of UTF-8 replaced") and "dev.json" in told
    path = tmp_path / "cmrc.json"
    qas = [{"query_id": "D_0", "query_text": "谁？", "answers": ["鸟\ud800"]}]
    path.write_text(json.dumps([{"context_id": "D", "title": "鸟", "context_text": "鸟\ud800", "qas": qas}]))
    assert read(path)[0].answers == (("鸟\ufffd", 0),)


def test_squad2_says_which_questions_have_no_answer(tmp_path: Path) -> None:
    path = squad_file(
        tmp_path / "dev.json",
        asked(is_impossible=False),
        asked(id="q2", is_impossible=True, answers=[], plausible_answers=[{"text": "dog", "answer_start": 4}]),
        {"id": "q3", "question": "Unpublished?"},
    )
    found = read(path, null_answers=True)
    assert [question.answers for question in found] == [(("cat", 17),), (), None]
    assert [question.is_impossible for question in found] == [False, True, False]
    with pytest.raises(InputError, match=r"id q2.*it has no answer \(is_impossible\); say task.null_answers=true"):
        read(path)


def test_cmrc2018_in_its_own_layout(tmp_path: Path) -> None:
    path = tmp_path / "cmrc2018_dev.json"
    qas = [
        {"query_id": "D_0", "query_text": "谁？", "answers": ["鸟", "会飞的鸟"]},
        {"query_id": "D_1", "query_text": "几？", "answers": [3.0]},
    ]
    path.write_text(json.dumps([{"context_id": "D", "title": "鸟", "context_text": "会飞的鸟和鸟。", "qas": qas}]))
    first, second = read(path, refuse_unfound=False)
    assert first == Question("D_0", "谁？", "会飞的鸟和鸟。", "鸟", (("鸟", 3), ("会飞的鸟", 0)))
    assert second.answers == (("3.0", None),)
    with pytest.raises(InputError, match=r"id D_1.*its answer '3.0' isn't in the passage"):
        read(path)


def test_an_answer_is_found_near_its_place_and_counted(tmp_path: Path) -> None:
    [question] = read(squad_file(tmp_path / "dev.json", asked(answers=[{"text": " cat ", "answer_start": 14}])))
    assert (question.answers, question.moved) == ((("cat", 17),), 1)
    [exact] = read(squad_file(tmp_path / "dev.json", asked(answers=[{"text": " cat ", "answer_start": 16}])))
    assert (exact.answers, exact.moved) == ((("cat", 17),), 0)


def test_located() -> None:
    text = "a" * 50 + "b" + "a" * 100 + "b"
    assert located(text, "b", 50) == 50
    assert located(text, "b", 50 + NEAR) == located(text, "b", 50 - NEAR) == 50
    assert located(text, "b", 51 + NEAR) is None
    assert located(text, "b", 140) == 151
    assert located("b..b....b", "b", 2) == 3, "the nearest"
    assert located(text, "b", None) == located(text, "b", -1) == 50, "the first, where no place is said"
    assert located(text, "c", None) is None


def test_hidden_answers_of_clue(tmp_path: Path) -> None:
    fake = [{"text": f"FAKE_ANSWER_{k}", "answer_start": -1} for k in (1, 2, 3)]
    assert read(squad_file(tmp_path / "test.json", asked(answers=fake)))[0].answers is None


def test_hub() -> None:
    record = {"id": "q1", "title": "Pets", "context": PASSAGE, "question": "Who sat?"}
    answers = {"text": ["cat", "The cat"], "answer_start": [17, 13]}
    nothing = {"text": [], "answer_start": []}
    records = [{**record, "answers": answers}, {**record, "id": "q2", "answers": nothing}]
    found = questions_of_hub(records, "hub, dev", null_answers=True, refuse_unfound=True)
    assert [question.answers for question in found] == [(("cat", 17), ("The cat", 13)), ()]
    assert questions_of_hub(records, "hub, dev", False, True)[1].answers is None


@pytest.mark.parametrize(
    ("questions", "paragraph", "sentence"),
    [
        (
            [asked(answers=[{"text": "cow", "answer_start": 4}])],
            {},
            r"\(id q1\): its answer 'cow' isn't in the passage",
        ),
        ([asked(answers=[{"text": " ", "answer_start": 4}])], {}, r"\(id q1\): an answer of it has no text"),
        (
            [asked(answers=[{"text": "cat", "answer_start": "x"}])],
            {},
            r"\(id q1\): the answer_start of 'cat' is no whole",
        ),
        ([asked(answers=[{"text": "cat", "answer_start": -5}])], {}, r"of 'cat' is -5: it counts from 0"),
        ([asked(answers={"text": ["cat"]})], {}, r"\(id q1\): its answers are no list"),
        ([asked(question=" ")], {}, r"question 1 \(id q1\): its question is empty"),
        ([asked()], {"context": ""}, r"\(id q1\): its context is empty"),
        ([{"question": "Who?"}], {}, r"article 1, paragraph 1, question 1: it has no id"),
        ([asked(), asked()], {}, r"question 2: its id q1 comes twice"),
        ([asked(), 3], {}, r"question 2: it is no JSON object"),
        ([asked()], {"qas": None}, r"article 1, paragraph 1: it has no list called qas"),
        ([], {}, r"holds no questions"),
    ],
)
def test_faults(tmp_path: Path, questions: list[Any], paragraph: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        read(squad_file(tmp_path / "dev.json", *questions, **paragraph))


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("dev.json", b'{"data": [\n}', r"dev.json, line 2: it is no JSON"),
        ("dev.json", b'{"rows": []}', r"is no file of questions"),
        ("dev.json", b'{"data": ' + b"9" * 5000 + b"}", r"dev.json can't be read: Exceeds the limit"),
        ("dev.json", b"[" * 100_000, r"dev.json can't be read: .*recursion"),
        ("dev.json", '{"data": []}'.encode("utf-16"), r"dev.json is no text in UTF-8: it begins as UTF-16 does"),
        ("dev.json.gz", gzip.compress(b"{}" * 1000, mtime=0)[:-9], r"dev.json.gz is cut off"),
        ("dev.json.gz", b"{}", r"dev.json.gz can't be read"),
    ],
)
def test_broken_files(tmp_path: Path, name: str, content: bytes, sentence: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        read(path)


def test_real_files(shared: Path) -> None:
    counts = {"squad_v1.1/dev-v1.1.json": (10_570, 34_726, 48), "drcd/DRCD_test.json": (3493, 6986, 378)}
    for name, expected in counts.items():
        found = read(shared / name)
        n_answers = sum(len(question.answers or ()) for question in found)
        assert (len(found), n_answers, len({question.article for question in found})) == expected
        assert not sum(question.moved for question in found)
