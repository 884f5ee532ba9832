"""Span decoding, compared with a search over all spans."""

from collections.abc import Sequence

import numpy as np
import pytest

from ssl_cli.data.labelled.template import SequenceTemplate
from ssl_cli.tasks.passage_windows import PackedWindows
from ssl_cli.tasks.span_decoding import best_answers
from tests.helpers.questions import PASSAGE, logits_of, questions, task, tokenizer


def naive_answers(
    raw_predictions: Sequence[np.ndarray], rows: PackedWindows, contexts: Sequence[str], n_best: int, max_answer: int
) -> list[list[tuple[str, int, float]]]:
    """Score every span of every window, one by one."""
    out = []
    for question, context in enumerate(contexts):
        found: dict[tuple[int, int], float] = {}
        for k in np.flatnonzero(rows.row_ids == question):
            inside = range(rows.first[k], rows.first[k] + rows.count[k])
            for first in inside:
                for last in inside[first - inside.start :][:max_answer]:
                    begin = rows.spans[rows.sequence_starts[k] + first, 0]
                    text = context[begin : rows.spans[rows.sequence_starts[k] + last, 1]]
                    if text.strip():
                        begin += len(text) - len(text.lstrip())
                        score = float(raw_predictions[k][0, first] + raw_predictions[k][1, last])
                        place = (int(begin), int(begin) + len(text.strip()))
                        found[place] = max(score, found.get(place, -np.inf))
        best = sorted(found.items(), key=lambda one: -one[1])[:n_best]
        out.append([(context[begin:end], begin, score) for (begin, end), score in best])
    return out


@pytest.mark.parametrize("kind", ["wordpiece", "bpe"])
def test_the_n_best_are_the_best_of_all_spans(kind: str) -> None:
    examples = questions()[:4]
    rows = task(doc_stride=24).rows(
        examples, SequenceTemplate.for_tokenizer(tokenizer(kind), False, 96), [], training=False
    )
    raw_predictions = logits_of(rows, np.random.default_rng(0))
    contexts = [example.context for example in examples]
    expected = naive_answers(raw_predictions, rows, contexts, 5, 7)
    found = best_answers(raw_predictions, rows, contexts, 5, 7)
    for context, some, others in zip(contexts, found, expected, strict=True):
        assert [(context[one.start : one.end], one.start) for one in some] == [other[:2] for other in others]
        np.testing.assert_allclose([one.score for one in some], [other[2] for other in others], atol=2e-4)


def test_no_answer_is_longer_than_its_passage() -> None:
    """A huge max_answer takes no memory either: it may come from an untrusted run."""
    rows = task().rows(questions()[:2], SequenceTemplate.for_tokenizer(tokenizer(), False, 96), [], training=False)
    raw_predictions, contexts = logits_of(rows, np.random.default_rng(0)), [PASSAGE] * 2
    assert best_answers(raw_predictions, rows, contexts, 5, 10**12) == best_answers(
        raw_predictions, rows, contexts, 5, 96
    )
