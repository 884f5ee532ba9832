import gzip
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

from ssl_cli.config.choices import built_in_conf
from ssl_cli.config.instantiate import build
from ssl_cli.data.labelled.packed_examples import IGNORED
from ssl_cli.data.labelled.squad import Question
from ssl_cli.data.labelled.template import SequenceTemplate
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.data.tokenizers.trainers import ByteLevelBPE, CharLevel, TrainedTokenizer, Unigram, WordPiece
from ssl_cli.errors import InputError
from ssl_cli.tasks.passage_windows import PackedWindows, cuts
from ssl_cli.tasks.question_answering import QuestionAnswering
from ssl_cli.tasks.sources import TaskFiles
from ssl_cli.tasks.span_decoding import best_answers

SENTENCE = "The café “Über Zürich” opened in 1990, and Ｆｕｌｌ-width ％ signs cost $3.50 there. "
CHINESE = "鸟会飞，鱼会游泳。1962年以后，𫚭也会游泳？她说：「会」。 "
PASSAGE = SENTENCE * 3 + CHINESE * 3 + "Naïve EXAMPLES end here."
ANSWERS = ["café", "Zürich", "1990", "Ｆｕｌｌ", "Naïve EXAMPLES", "鱼会游泳", "1962年", "𫚭", "here"]
MAKERS: dict[str, TrainedTokenizer] = {
    "wordpiece": WordPiece(vocab_size=150, sample_bytes=10**6, lowercase=True),
    "bpe": ByteLevelBPE(vocab_size=280, sample_bytes=10**6),
    "unigram": Unigram(vocab_size=110, sample_bytes=10**6),
    "char": CharLevel(vocab_size=120, sample_bytes=10**6),
}
TASKS = ("squad", "squad2", "drcd", "cmrc2018", "question_answering")


def task(name: str = "question_answering", **options: Any) -> QuestionAnswering:
    """As its YAML has it"""
    return build(OmegaConf.merge(OmegaConf.load(built_in_conf() / "task" / f"{name}.yaml"), options))


def tokenizer(kind: str = "wordpiece") -> Tokenizer:
    """That has seen answers and single characters, so that no token reaches out of an answer"""
    return MAKERS[kind].train([" ".join(PASSAGE), *ANSWERS * 3])


def questions(answers: Sequence[str] = ANSWERS, passage: str = PASSAGE) -> list[Question]:
    """Each answer where it stands last"""
    return [
        Question(f"q{k}", f"Where is {k}?", passage, "T", ((text, passage.rindex(text)),))
        for k, text in enumerate(answers)
    ]


def scored(rows: PackedWindows, draw: np.random.Generator | None = None) -> list[np.ndarray]:
    """What a model would guess that has learned every target by heart, or one that guesses at random"""
    found = []
    for k, (begin, length) in enumerate(zip(rows.starts, rows.sequences.length, strict=True)):
        allowed = rows.sequences.tokens["allowed"][begin : begin + length] > 0
        guess = np.zeros((2, length), np.float32) if draw is None else draw.normal(size=(2, length)).astype(np.float32)
        for side, name in enumerate(("start", "end")):
            if draw is None and rows.targets[name][k] != IGNORED:
                is_null = rows.targets[name][k] == rows.null[k]
                guess[side, rows.targets[name][k]] = 1 if is_null else 9
        found.append(np.where(allowed, guess, -np.inf))
    return found


def squad_file(path: Path, titles: Sequence[str], **further: Any) -> Path:
    data = [
        {
            "title": title,
            "paragraphs": [
                {
                    "context": "The dog ran.",
                    "qas": [
                        {"id": title, "question": "Who?", "answers": [{"text": "dog", "answer_start": 4}]} | further
                    ],
                }
            ],
        }
        for title in titles
    ]
    path.write_text(json.dumps({"data": data}))
    return path


# --- windows ---


@pytest.mark.parametrize(("n", "room", "overlap"), [(0, 10, 4), (10, 10, 4), (11, 10, 4), (37, 10, 4), (37, 10, 0)])
def test_windows_cover_the_passage_and_share_the_overlap(n: int, room: int, overlap: int) -> None:
    found = cuts(n, room, overlap)
    assert (found[0][0], found[-1][1]) == (0, n)
    assert all(end - begin == room for begin, end in found[:-1])
    assert all(first[1] - second[0] == overlap for first, second in pairwise(found))


def test_rows_are_those_of_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    words = tokenizer()
    names = {"cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]", "pad_token": "[PAD]"}
    theirs = transformers.PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_json(words.to_json()).library, **names
    )
    examples = questions()
    rows = task(doc_stride=16).rows(examples, SequenceTemplate.of(words, False, 64), [], training=False)
    expected = theirs(
        [example.question for example in examples],
        [example.context for example in examples],
        truncation="only_second",
        max_length=64,
        stride=16,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        return_token_type_ids=True,
    )
    assert rows.row_ids.tolist() == expected["overflow_to_sample_mapping"]
    parted = [np.split(rows.sequences.tokens[name], rows.starts[1:]) for name in ("ids", "segment", "allowed")]
    spans = np.split(rows.spans, rows.starts[1:])
    for k, (ids, segment, allowed) in enumerate(zip(*parted, strict=True)):
        assert ids.tolist() == expected["input_ids"][k]
        assert segment.tolist() == expected["token_type_ids"][k]
        of = expected.sequence_ids(k)
        assert allowed.tolist() == [1, *(int(which == 1) for which in of[1:])], "the passage's tokens, and [CLS]"
        is_passage = np.array(of) == 1
        assert spans[k][is_passage].tolist() == [
            list(pair) for pair in np.array(expected["offset_mapping"][k])[is_passage]
        ]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", MAKERS)
def test_each_answer_is_given_by_its_own_targets(kind: str, causal: bool) -> None:
    words = tokenizer(kind)
    if causal and "end" not in words.specials:
        pytest.skip("it has no token that ends a text")
    examples, made = questions(), task(doc_stride=24, max_answer=60)
    rows = made.rows(examples, SequenceTemplate.of(words, causal, 96), [], training=True)
    assert rows.warnings == () and len(rows) > 2 * len(examples)
    answers = made.decode(examples, rows, scored(rows), [])
    assert [(answer["answer"], answer["start"]) for answer in answers] == [
        example.answers[0] for example in examples if example.answers
    ]
    tally = made.scores(answers)
    assert tally is not None and tally.metrics() == {"exact_match": 1, "f1": 1}
    assert set(rows.null.tolist()) == {0} or causal


def test_windows_without_the_answer_point_at_the_null_token() -> None:
    words, [example] = tokenizer("char"), questions(["here"])
    rows = task(doc_stride=0).rows([example], SequenceTemplate.of(words, False, 100), [], training=True)
    assert rows.targets["start"].tolist()[:-1] == [0] * (len(rows) - 1) == rows.targets["end"].tolist()[:-1]
    first, last = int(rows.targets["start"][-1]), int(rows.targets["end"][-1])
    ids = rows.sequences.tokens["ids"][rows.starts[-1] :]
    assert words.decode(ids[first : last + 1]) == "here"


def test_what_is_lost_is_left_out_and_counted() -> None:
    frame, asked = SequenceTemplate.of(tokenizer("char"), False, 60), "Where?"
    room = frame.room(pair=True) - len(asked)
    answers = [[("café", 4)], [(PASSAGE[:room], 0)], [(PASSAGE[1 : room + 1], 1)], [("cow", None)], None]
    examples = [
        Question(f"q{k}", asked, PASSAGE, "", None if given is None else tuple(given))
        for k, given in enumerate(answers)
    ]
    made = task(doc_stride=0, max_answer=20)
    rows = made.rows(examples, frame, [], training=True)
    assert set(rows.row_ids.tolist()) == {0, 1}
    out = "left out of training."
    assert rows.warnings == (
        f"1 of 5 questions have an answer that isn't in the passage: {out}",
        f"1 of 5 questions have an answer that no window holds whole (max_length, task.doc_stride): {out}",
        f"1 of 5 questions have no published answer: {out}",
        "2 of 5 questions have an answer of more than task.max_answer=20 tokens, which is never given whole.",
    )
    every = made.rows(examples, frame, [], training=False)
    assert set(every.row_ids.tolist()) == set(range(5))
    is_lost = np.isin(every.row_ids, [2, 3, 4])
    assert (every.targets["start"].numpy()[is_lost] == IGNORED).all()
    assert (every.targets["end"].numpy()[~is_lost] != IGNORED).all()


@pytest.mark.parametrize("causal", [False, True])
def test_all_may_be_lost(causal: bool) -> None:
    examples = [Question("q0", "Where?", PASSAGE, "", (("cow", None),))]
    rows = task().rows(examples, SequenceTemplate.of(tokenizer("bpe"), causal, 64), [], training=True)
    assert len(rows.with_row_length(64)) == 0
    assert rows.warnings == ("1 of 1 questions have an answer that isn't in the passage: left out of training.",)


def test_an_answer_within_a_token_is_lost_but_a_second_one_may_do() -> None:
    words, passage = tokenizer(), "In 1990 the café opened."
    place = passage.index("1990")
    within = Question("q0", "When?", passage, "", (("99", place + 1),))
    second = Question("q1", "When?", passage, "", (("99", place + 1), ("1990", place)))
    assert words.encode("1990") == [words.library.token_to_id("1990")]
    rows = task().rows([within, second], SequenceTemplate.of(words, False, 64), [], training=True)
    assert rows.row_ids.tolist() == [1]
    assert rows.warnings == (
        "1 of 2 questions have an answer that begins or ends within a token: left out of training.",
    )
    [start] = rows.targets["start"].tolist()
    assert rows.sequences.tokens["ids"][start] == words.library.token_to_id("1990")


def test_long_questions_are_cut_and_counted() -> None:
    example = Question("q0", "Where? " * 30, PASSAGE, "", (("café", PASSAGE.index("café")),))
    rows = task(max_question=8).rows([example], SequenceTemplate.of(tokenizer("char"), False, 64), [], training=True)
    assert set(rows.first.tolist()) == {8 + 2}
    assert "1 of 1 questions are cut at their end (task.max_question)." in rows.warnings


# --- answers ---


def naive_answers(
    guesses: Sequence[np.ndarray], rows: PackedWindows, contexts: Sequence[str], n_best: int, max_answer: int
) -> list[list[tuple[str, int, float]]]:
    """Every span of every window, one by one"""
    out = []
    for question, context in enumerate(contexts):
        found: dict[tuple[int, int], float] = {}
        for k in np.flatnonzero(rows.row_ids == question):
            inside = range(rows.first[k], rows.first[k] + rows.count[k])
            for first in inside:
                for last in inside[first - inside.start :][:max_answer]:
                    begin = rows.spans[rows.starts[k] + first, 0]
                    text = context[begin : rows.spans[rows.starts[k] + last, 1]]
                    if text.strip():
                        begin += len(text) - len(text.lstrip())
                        score = float(guesses[k][0, first] + guesses[k][1, last])
                        place = (int(begin), int(begin) + len(text.strip()))
                        found[place] = max(score, found.get(place, -np.inf))
        best = sorted(found.items(), key=lambda one: -one[1])[:n_best]
        out.append([(context[begin:end], begin, score) for (begin, end), score in best])
    return out


@pytest.mark.parametrize("kind", ["wordpiece", "bpe"])
def test_the_n_best_are_the_best_of_all_spans(kind: str) -> None:
    examples = questions()[:4]
    rows = task(doc_stride=24).rows(examples, SequenceTemplate.of(tokenizer(kind), False, 96), [], training=False)
    guesses = scored(rows, np.random.default_rng(0))
    contexts = [example.context for example in examples]
    expected = naive_answers(guesses, rows, contexts, 5, 7)
    found = best_answers(guesses, rows, contexts, 5, 7)
    for context, some, others in zip(contexts, found, expected, strict=True):
        assert [(context[one.start : one.end], one.start) for one in some] == [other[:2] for other in others]
        np.testing.assert_allclose([one.score for one in some], [other[2] for other in others], atol=2e-4)


def test_no_answer_is_longer_than_its_passage() -> None:
    """Nor takes memory: the number may be a stranger's."""
    rows = task().rows(questions()[:2], SequenceTemplate.of(tokenizer(), False, 96), [], training=False)
    guesses, contexts = scored(rows, np.random.default_rng(0)), [PASSAGE] * 2
    assert best_answers(guesses, rows, contexts, 5, 10**12) == best_answers(guesses, rows, contexts, 5, 96)


def no_answers() -> tuple[QuestionAnswering, list[Question], list[dict[str, Any]]]:
    """Four questions, two of which have no answer, by a model that guesses at random"""
    made = task("squad2", doc_stride=24)
    examples = [*questions()[:2], *(Question(f"n{k}", "Who?", PASSAGE, "T", ()) for k in range(2))]
    rows = made.rows(examples, SequenceTemplate.of(tokenizer(), False, 96), [], training=True)
    assert (rows.targets["start"].numpy()[rows.row_ids > 1] == 0).all()
    guesses = scored(rows, np.random.default_rng(1))
    answers = made.decode(examples, rows, guesses, [])
    for number, answer in enumerate(answers):
        null = min(guesses[k][:, 0].sum() for k in np.flatnonzero(rows.row_ids == number))
        best = answer["n_best"][0]["score"]
        assert answer["null_odds"] == pytest.approx(null - best, abs=1e-3)
        scores = np.array([one["score"] for one in answer["n_best"]])
        share = np.exp(scores) / np.exp(scores).sum()
        np.testing.assert_allclose([one["probability"] for one in answer["n_best"]], share, atol=1e-5)
        assert answer["n_best"][-1] == {"text": "", "start": None, "score": pytest.approx(null, abs=1e-3)} | {
            "probability": answer["n_best"][-1]["probability"]
        }
    return made, examples, answers


def test_no_answer_where_the_null_odds_are_above_the_threshold() -> None:
    made, _, answers = no_answers()
    for threshold in (-100.0, *(answer["null_odds"] for answer in answers), 100.0):
        made.restore({"null_threshold": threshold})
        for answer, decided in zip(answers, made.decided(answers), strict=True):
            says_none = answer["null_odds"] > threshold
            assert decided["answer"] == ("" if says_none else answer["n_best"][0]["text"])
            assert (decided["start"] is None) == says_none


def test_the_threshold_is_tuned_where_it_is_asked_for_only() -> None:
    made, _, answers = no_answers()
    f1_at = {}
    for threshold in [-100.0, *(answer["null_odds"] for answer in answers)]:
        made.restore({"null_threshold": threshold})
        tally = made.scores(made.decided(answers))
        assert tally is not None
        f1_at[threshold] = tally.metrics()["f1"]
    made.restore({"null_threshold": 0.0})
    made.scores(answers)
    assert made.learned() == {"null_threshold": 0.0}
    tally = made.scores(made.tuned(answers))
    assert tally is not None and tally.metrics()["f1"] == pytest.approx(max(f1_at.values()))
    assert made.learned()["null_threshold"] != 0.0

    fixed = task("squad2", null_threshold=1.5)
    fixed.tuned(answers)
    assert (fixed.null_threshold, fixed.learned()) == (1.5, {})
    assert task("squad").learned() == {}
    with pytest.raises(InputError, match="null_threshold is no number"):
        made.restore({"null_threshold": "x"})


def test_metrics_of_questions_with_and_without_an_answer() -> None:
    made, _, answers = no_answers()
    said = ["café", "in 1990", "", "café"]
    tally = made.scores([answer | {"answer": text} for answer, text in zip(answers, said, strict=True)])
    assert tally is not None
    assert tally.metrics() == {"exact_match": 0.5, "f1": 0.5, "has_answer_f1": 0.5, "no_answer_accuracy": 0.5}
    some = tally.metrics(np.array([0, 0, 1]))
    assert some["exact_match"] == pytest.approx(2 / 3) and np.isnan(some["no_answer_accuracy"])
    assert made.scores([{name: value for name, value in answers[0].items() if name != "labels"}]) is None


def test_chinese_is_measured_by_both_conventions() -> None:
    tally = task("drcd").scores([{"answer": "东京和京都", "labels": ["京都和东京"]}])
    assert tally is not None
    expected = {"exact_match": 0, "f1": 0.4, "exact_match_characters": 0, "f1_characters": 1}
    assert tally.metrics() == pytest.approx(expected)


def test_files_to_hand_in() -> None:
    made, examples, answers = no_answers()
    files = {name: json.loads(content) for name, content in made.submission("dev", answers).items()}
    assert set(files) == {"dev/predictions.json", "dev/n_best.json", "dev/null_odds.json"}
    assert files["dev/predictions.json"] == {answer["id"]: answer["answer"] for answer in answers}
    best = files["dev/n_best.json"]["q0"]
    assert {"text", "probability", "start_logit", "end_logit"} <= best[0].keys() and len(best) == 20 + 1
    assert files["dev/null_odds.json"] == {answer["id"]: answer["null_odds"] for answer in answers}
    assert list(files["dev/predictions.json"]) == [example.id for example in examples]
    assert set(task("cmrc2018").submission("test", [])) == {"test/cmrc2018_predict.json", "test/n_best.json"}


def test_a_passage_without_a_token_has_no_answer() -> None:
    example = Question("q0", "Who?", "\u200b", "", None)
    for name in ("squad", "squad2"):
        made = task(name)
        rows = made.rows([example], SequenceTemplate.of(tokenizer(), False, 64), [], training=False)
        assert rows.count.tolist() == [0]
        [answer] = made.decode([example], rows, scored(rows), [])
        assert (answer["answer"], answer["start"]) == ("", None) and "labels" not in answer
        assert json.dumps(answer, allow_nan=False)


# --- files and records ---


@pytest.mark.parametrize("name", TASKS)
def test_each_task_is_built(name: str) -> None:
    made = task(name)
    assert made.monitor == "f1" and made.labels([]) == [] and made.options([]) == {}


def test_dev_may_be_the_last_articles_of_the_train_file(tmp_path: Path) -> None:
    train = squad_file(tmp_path / "train.json", ["a", "b", "c", "d"])
    test = tmp_path / "test.json.gz"
    test.write_bytes(gzip.compress(squad_file(tmp_path / "test.json", ["e"]).read_bytes()))
    files = {"train": str(train), "test": str(test)}
    found = task(dev_articles=1).read(TaskFiles(None, files, tmp_path))
    assert {split: [one.id for one in some] for split, some in found.items()} == {
        "train": ["a", "b", "c"],
        "dev": ["d"],
        "test": ["e"],
    }
    task(dev_articles=1).read(TaskFiles(None, files | {"dev": str(train)}, tmp_path))
    with pytest.raises(InputError, match=r"dev_articles=4: the train file has only 4 articles"):
        task(dev_articles=4).read(TaskFiles(None, files, tmp_path))
    with pytest.raises(InputError, match=r"data.files.dev and task.dev_articles both say"):
        task(dev_articles=1).read(TaskFiles(None, files | {"dev": str(test)}, tmp_path))
    with pytest.raises(InputError, match=r"data.files.dev is missing"):
        task().read(TaskFiles(None, files, tmp_path))


@pytest.mark.parametrize("split", ["train", "dev"])
def test_a_question_without_answers_is_refused_or_left_out(tmp_path: Path, split: str) -> None:
    """Such a dev can't be measured, and such a train can't be learned from; a test file may be so."""
    files = {name: str(squad_file(tmp_path / f"{name}.json", ["a", "b"])) for name in ("train", "dev")}
    published = TaskFiles(None, files | {"test": files[split]}, tmp_path)
    content = json.loads(Path(files[split]).read_text())
    content["data"][1]["paragraphs"][0]["qas"][0]["answers"] = []
    Path(files[split]).write_text(json.dumps(content))
    with pytest.raises(InputError, match=rf"{split}.json: the question of id b has no answers: add them, say"):
        task().read(published)
    found = task(unfound="leave_out").read(published)
    assert {name: len(some) for name, some in found.items()} == {"train": 2, "dev": 2, "test": 2} | {split: 1}
    rows = task().rows(found[split], SequenceTemplate.of(tokenizer(), False, 64), [], training=False)
    assert rows.warnings == ("1 of 2 questions have no published answer: left out.",)
    assert task(null_answers=True).read(published)[split][1].is_impossible
    squad_file(Path(files[split]), ["a"], answers=[])
    with pytest.raises(InputError, match=rf"{split}.json has no question with an answer"):
        task(unfound="leave_out").read(published)


def test_folder_as_published(tmp_path: Path) -> None:
    (tmp_path / "squad_v2.0").mkdir()
    for split in ("train", "dev"):
        squad_file(tmp_path / "squad_v2.0" / f"{split}-v2.0.json", [split], is_impossible=False)
    found = task("squad2").read(TaskFiles(None, {}, tmp_path))
    assert {split: some[0].id for split, some in found.items()} == {"train": "train", "dev": "dev"}


def test_given() -> None:
    assert task().given({"question": "Who?", "context": "The dog."}) == Question("", "Who?", "The dog.")
    assert task().given({"id": 0, "question": "Who?", "context": "The dog."}).id == "0"
    halved = {"question": "Who?\ud800", "context": "The \udc00dog."}
    assert task().given(halved) == Question("", "Who?\ufffd", "The \ufffddog.")
    for record, words in (
        ({"question": "Who?"}, "its context is missing"),
        ({"question": " "}, "its question is empty"),
    ):
        with pytest.raises(InputError, match=words):
            task().given(record)


@pytest.mark.parametrize(
    ("name", "file", "words"), [("squad", "xquad/xquad.en.json", "wordpiece"), ("drcd", "xquad/xquad.zh.json", "char")]
)
def test_real_answers_are_found_by_their_targets(shared: Path, name: str, file: str, words: str) -> None:
    """All but those that are counted as lost"""
    made = task(name, dev_articles=40)
    examples = made.read(TaskFiles(None, {"train": str(shared / file)}, shared))["train"]
    maker = {"wordpiece": WordPiece(vocab_size=2000, sample_bytes=10**5, lowercase=True)}.get(words)
    chosen = (maker or CharLevel(vocab_size=3000, sample_bytes=10**6)).train(made.texts(examples))
    rows = made.rows(examples, SequenceTemplate.of(chosen, False, 384), [], training=False)
    answers = made.decode(examples, rows, scored(rows), [])
    tally = made.scores(answers)
    assert tally is not None
    n_lost = sum(int(sentence.split()[0]) for sentence in rows.warnings if " an answer " in sentence)
    assert len(examples) > 100 and tally.metrics()["exact_match"] >= 1 - n_lost / len(examples) > 0.95
