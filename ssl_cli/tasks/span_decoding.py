"""Decoding of answer spans: start and end logits of all windows -> the best spans of each question."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ssl_cli.tasks.passage_windows import PackedWindows

WINDOW_BATCH = 128  # windows, so that the table of all their spans takes some 10 MB


class ScoredSpan(NamedTuple):
    """A span of the passage: its characters `start`..`end`, and its logits."""

    start: int
    end: int
    start_logit: float
    end_logit: float

    @property
    def score(self) -> float:
        """The sum of both logits."""
        return self.start_logit + self.end_logit


@dataclass(frozen=True)
class SpanCandidates:
    """The best spans of all windows, (K,) each: the window, its first and last token in it, and their logits."""

    window: np.ndarray
    first: np.ndarray
    last: np.ndarray
    start_logit: np.ndarray
    end_logit: np.ndarray


def best_answers(
    raw_predictions: Sequence[np.ndarray],
    rows: PackedWindows,
    contexts: Sequence[str],
    n_best: int,
    max_answer: int,
) -> list[list[ScoredSpan]]:
    """Return for each question the `n_best` spans of at most `max_answer` tokens in all its windows, best first.

    The score of a span is the sum of its start and end logits. White space around a span is removed, and of spans with
    the same characters only the best is kept.
    """
    spans = best_spans(raw_predictions, rows, n_best, max_answer)
    offset = rows.sequence_starts[spans.window]
    start, end = rows.spans[offset + spans.first, 0], rows.spans[offset + spans.last, 1]
    example_id = rows.row_ids[spans.window]
    order = np.lexsort((-(spans.start_logit + spans.end_logit), example_id))
    columns = (example_id, start, end, spans.start_logit, spans.end_logit)
    answers: list[dict[tuple[int, int], ScoredSpan]] = [{} for _ in contexts]
    for k, *span, start_logit, end_logit in zip(*(column[order].tolist() for column in columns), strict=True):
        if len(answers[k]) < n_best:
            begin, stop = _stripped(contexts[k], *span)
            if begin < stop:
                scored = ScoredSpan(begin, stop, round(start_logit, 4), round(end_logit, 4))
                answers[k].setdefault((begin, stop), scored)
    return [list(spans.values()) for spans in answers]


def null_scores(raw_predictions: Sequence[np.ndarray], rows: PackedWindows, n_questions: int) -> np.ndarray:
    """Return the score of no answer by question, (Q,): the minimum over its windows, as one window has the answer."""
    by_window = np.array(
        [logits[:, null].sum() for logits, null in zip(raw_predictions, rows.null, strict=True)], np.float64
    )
    lowest = np.full(n_questions, np.inf)
    np.minimum.at(lowest, rows.row_ids, by_window)
    return lowest.round(4)


def best_spans(
    raw_predictions: Sequence[np.ndarray], rows: PackedWindows, n_best: int, max_answer: int
) -> SpanCandidates:
    """Return the `n_best` of all spans of each window.

    The search is exact: combining only the best starts with the best ends can miss spans.
    """
    parts = list(_best_by_window(raw_predictions, rows, n_best, max_answer))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return SpanCandidates(*columns) if columns else SpanCandidates(*(np.zeros(0, np.int64) for _ in range(5)))


def _best_by_window(
    raw_predictions: Sequence[np.ndarray], rows: PackedWindows, n_best: int, max_answer: int
) -> Iterator[tuple[np.ndarray, ...]]:
    for begin in range(0, len(raw_predictions), WINDOW_BATCH):
        batch = slice(begin, begin + WINDOW_BATCH)
        first, count = rows.first[batch], rows.count[batch]
        n_tokens = int(count.max())
        n_lengths = max(1, min(max_answer, n_tokens))
        logits = np.full((len(count), 2, n_tokens + n_lengths), -np.inf, np.float32)  # (w, 2, P + A), of the passage
        for k, window_logits in enumerate(raw_predictions[batch]):
            logits[k, :, : count[k]] = window_logits[:, first[k] : first[k] + count[k]]
        start = logits[:, 0, :n_tokens]  # (w, P)
        ends = sliding_window_view(logits[:, 1], n_lengths, axis=1)[:, :n_tokens]  # (w, P, A): from each token on
        # Each of the n best spans starts at one of the n tokens with the best spans.
        tokens = _top_indices(start + ends.max(2), n_best)  # (w, n)
        window = np.arange(len(count))[:, None]
        scores = start[window, tokens][:, :, None] + ends[window, tokens]  # (w, n, A)
        chosen = _top_indices(scores.reshape(len(count), -1), n_best)  # (w, n)
        token, extra = tokens[window, chosen // n_lengths], chosen % n_lengths
        start_logit, end_logit = start[window, token], logits[window, 1, token + extra]
        is_span = start_logit + end_logit > -np.inf
        row = np.broadcast_to(window, is_span.shape)[is_span]
        last = (token + extra)[is_span]
        yield begin + row, first[row] + token[is_span], first[row] + last, start_logit[is_span], end_logit[is_span]


def _top_indices(scores: np.ndarray, n: int) -> np.ndarray:
    """(w, N) -> (w, at most n): the indices of each row's n highest scores, in no order."""
    if scores.shape[1] <= n:
        return np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    return np.argpartition(-scores, n - 1, axis=1)[:, :n]


def _stripped(context: str, start: int, end: int) -> tuple[int, int]:
    """Return the start and end of a span without white space around it."""
    text = context[start:end]
    return start + len(text) - len(text.lstrip()), end - (len(text) - len(text.rstrip()))
