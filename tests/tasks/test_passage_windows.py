"""Windows of a passage, and the alignment of answers with their tokens."""

from itertools import pairwise

import numpy as np
import pytest

from ssl_cli.data.labelled.packed_examples import IGNORE_INDEX
from ssl_cli.data.labelled.squad import Question
from ssl_cli.data.labelled.template import SequenceTemplate
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.tasks.passage_windows import window_bounds
from tests.helpers.questions import PASSAGE, TRAINERS, logits_of, questions, task, tokenizer


@pytest.mark.parametrize(("n", "room", "overlap"), [(0, 10, 4), (10, 10, 4), (11, 10, 4), (37, 10, 4), (37, 10, 0)])
def test_windows_cover_the_passage_and_share_the_overlap(n: int, room: int, overlap: int) -> None:
    found = window_bounds(n, room, overlap)
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
    rows = task(doc_stride=16).rows(examples, SequenceTemplate.for_tokenizer(words, False, 64), [], training=False)
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
    by_window = [
        np.split(rows.sequences.tokens[name], rows.sequence_starts[1:]) for name in ("ids", "segment", "allowed")
    ]
    spans = np.split(rows.spans, rows.sequence_starts[1:])
    for k, (ids, segment, allowed) in enumerate(zip(*by_window, strict=True)):
        assert ids.tolist() == expected["input_ids"][k]
        assert segment.tolist() == expected["token_type_ids"][k]
        of = expected.sequence_ids(k)
        assert allowed.tolist() == [1, *(int(which == 1) for which in of[1:])], "the passage's tokens, and [CLS]"
        is_passage = np.array(of) == 1
        assert spans[k][is_passage].tolist() == [
            list(pair) for pair in np.array(expected["offset_mapping"][k])[is_passage]
        ]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", TRAINERS)
def test_each_answer_is_decoded_from_its_targets(kind: str, causal: bool) -> None:
    words = tokenizer(kind)
    if causal and "end" not in words.specials:
        pytest.skip("it has no token that ends a text")
    examples, the_task = questions(), task(doc_stride=24, max_answer=60)
    rows = the_task.rows(examples, SequenceTemplate.for_tokenizer(words, causal, 96), [], training=True)
    assert rows.warnings == () and len(rows) > 2 * len(examples)
    predictions = the_task.decode(examples, rows, logits_of(rows), [])
    assert [(answer["prediction"], answer["start"]) for answer in predictions] == [
        example.answers[0] for example in examples if example.answers
    ]
    scores = the_task.scores(predictions)
    assert scores is not None and scores.metrics() == {"exact_match": 1, "f1": 1}
    assert set(rows.null.tolist()) == {0} or causal


def test_windows_without_the_answer_point_at_the_null_token() -> None:
    words, [example] = tokenizer("char"), questions(["here"])
    rows = task(doc_stride=0).rows([example], SequenceTemplate.for_tokenizer(words, False, 100), [], training=True)
    assert rows.targets["start"].tolist()[:-1] == [0] * (len(rows) - 1) == rows.targets["end"].tolist()[:-1]
    first, last = int(rows.targets["start"][-1]), int(rows.targets["end"][-1])
    ids = rows.sequences.tokens["ids"][rows.sequence_starts[-1] :]
    assert words.decode(ids[first : last + 1]) == "here"


def test_unalignable_answers_are_left_out_and_counted() -> None:
    template, question = SequenceTemplate.for_tokenizer(tokenizer("char"), False, 60), "Where?"
    room = template.max_text_tokens(pair=True) - len(question)
    answers = [[("café", 4)], [(PASSAGE[:room], 0)], [(PASSAGE[1 : room + 1], 1)], [("cow", None)], None]
    examples = [
        Question(f"q{k}", question, PASSAGE, "", None if given is None else tuple(given))
        for k, given in enumerate(answers)
    ]
    the_task = task(doc_stride=0, max_answer=20)
    rows = the_task.rows(examples, template, [], training=True)
    assert set(rows.row_ids.tolist()) == {0, 1}
    out = "left out of training."
    assert rows.warnings == (
        f"1 of 5 questions have an answer that isn't in the passage: {out}",
        f"1 of 5 questions have an answer that no window contains completely (max_length, task.doc_stride): {out}",
        f"1 of 5 questions have no published answer: {out}",
        "2 of 5 questions have an answer of more than task.max_answer=20 tokens, which is never predicted completely.",
    )
    every = the_task.rows(examples, template, [], training=False)
    assert set(every.row_ids.tolist()) == set(range(5))
    is_lost = np.isin(every.row_ids, [2, 3, 4])
    assert (every.targets["start"].numpy()[is_lost] == IGNORE_INDEX).all()
    assert (every.targets["end"].numpy()[~is_lost] != IGNORE_INDEX).all()


@pytest.mark.parametrize("causal", [False, True])
def test_all_answers_may_be_unalignable(causal: bool) -> None:
    examples = [Question("q0", "Where?", PASSAGE, "", (("cow", None),))]
    rows = task().rows(examples, SequenceTemplate.for_tokenizer(tokenizer("bpe"), causal, 64), [], training=True)
    assert len(rows.with_row_length(64)) == 0
    assert rows.warnings == ("1 of 1 questions have an answer that isn't in the passage: left out of training.",)


def test_an_answer_within_a_token_is_left_out_unless_a_second_one_fits() -> None:
    words, passage = tokenizer(), "In 1990 the café opened."
    place = passage.index("1990")
    within = Question("q0", "When?", passage, "", (("99", place + 1),))
    second = Question("q1", "When?", passage, "", (("99", place + 1), ("1990", place)))
    assert words.encode("1990") == [words.library.token_to_id("1990")]
    rows = task().rows([within, second], SequenceTemplate.for_tokenizer(words, False, 64), [], training=True)
    assert rows.row_ids.tolist() == [1]
    assert rows.warnings == (
        "1 of 2 questions have an answer that begins or ends within a token: left out of training.",
    )
    [start] = rows.targets["start"].tolist()
    assert rows.sequences.tokens["ids"][start] == words.library.token_to_id("1990")


def test_long_questions_are_cut_and_counted() -> None:
    example = Question("q0", "Where? " * 30, PASSAGE, "", (("café", PASSAGE.index("café")),))
    rows = task(max_question=8).rows(
        [example], SequenceTemplate.for_tokenizer(tokenizer("char"), False, 64), [], training=True
    )
    assert set(rows.first.tolist()) == {8 + 2}
    assert "1 of 1 questions are cut at their end (task.max_question)." in rows.warnings
