"""Scores of an answer's first and last token, window by window -> the best answers to each question."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ssl_cli.tasks.passage_windows import PackedWindows

AT_ONCE = 128  # windows, so that the table of all their spans takes some 10 MB


class ScoredSpan(NamedTuple):
    """A piece of the passage: its characters `start`..`end`, and its scores."""

    start: int
    end: int
    start_logit: float
    end_logit: float

    @property
    def score(self) -> float:
        return self.start_logit + self.end_logit


@dataclass(frozen=True)
class SpanCandidates:
    """The best spans of all windows, (K,) each: which window, first and last token in it, and the scores of both."""

    window: np.ndarray
    first: np.ndarray
    last: np.ndarray
    start_logit: np.ndarray
    end_logit: np.ndarray


def best_answers(
    guesses: Sequence[np.ndarray], rows: PackedWindows, contexts: Sequence[str], n_best: int, max_answer: int
) -> list[list[ScoredSpan]]:
    """For each question the `n_best` spans of at most `max_answer` tokens in all its windows, the best first.

    The score is that of the first token and that of the last together. The same characters count once, and white space
    around them not at all.
    """
    spans = best_spans(guesses, rows, n_best, max_answer)
    at = rows.starts[spans.window]
    start, end = rows.spans[at + spans.first, 0], rows.spans[at + spans.last, 1]
    number = rows.row_ids[spans.window]
    order = np.lexsort((-(spans.start_logit + spans.end_logit), number))
    columns = (number, start, end, spans.start_logit, spans.end_logit)
    found: list[dict[tuple[int, int], ScoredSpan]] = [{} for _ in contexts]
    for which, *place, start_logit, end_logit in zip(*(column[order].tolist() for column in columns), strict=True):
        known = found[which]
        if len(known) < n_best:
            begin, stop = _stripped(contexts[which], *place)
            if begin < stop:
                known.setdefault((begin, stop), ScoredSpan(begin, stop, round(start_logit, 4), round(end_logit, 4)))
    return [list(known.values()) for known in found]


def null_scores(guesses: Sequence[np.ndarray], rows: PackedWindows, n_questions: int) -> np.ndarray:
    """(Q,): how much speaks for no answer: the least of the question's windows, since one that has it is enough"""
    by_window = np.array([guess[:, null].sum() for guess, null in zip(guesses, rows.null, strict=True)], np.float64)
    least = np.full(n_questions, np.inf)
    np.minimum.at(least, rows.row_ids, by_window)
    return least.round(4)


def best_spans(guesses: Sequence[np.ndarray], rows: PackedWindows, n_best: int, max_answer: int) -> SpanCandidates:
    """Of all spans of each window: no span is overlooked, as it would be among the best starts and best ends alone."""
    parts = list(_best_of_each(guesses, rows, n_best, max_answer))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return SpanCandidates(*columns) if columns else SpanCandidates(*(np.zeros(0, np.int64) for _ in range(5)))


def _best_of_each(
    guesses: Sequence[np.ndarray], rows: PackedWindows, n_best: int, max_answer: int
) -> Iterator[tuple[np.ndarray, ...]]:
    for begin in range(0, len(guesses), AT_ONCE):
        some = slice(begin, begin + AT_ONCE)
        first, count = rows.first[some], rows.count[some]
        longest = int(count.max())
        furthest = max(1, min(max_answer, longest))
        scores = np.full((len(count), 2, longest + furthest), -np.inf, np.float32)  # (w, 2, P + A), of the passage
        for k, guess in enumerate(guesses[some]):
            scores[k, :, : count[k]] = guess[:, first[k] : first[k] + count[k]]
        start = scores[:, 0, :longest]  # (w, P)
        ends = sliding_window_view(scores[:, 1], furthest, axis=1)[:, :longest]  # (w, P, A): from each token on
        # A span among the n best starts at one of the n tokens whose own best spans are the best.
        likely = _highest(start + ends.max(2), n_best)  # (w, n)
        window = np.arange(len(count))[:, None]
        together = start[window, likely][:, :, None] + ends[window, likely]  # (w, n, A)
        chosen = _highest(together.reshape(len(count), -1), n_best)  # (w, n)
        token, further = likely[window, chosen // furthest], chosen % furthest
        start_logit, end_logit = start[window, token], scores[window, 1, token + further]
        real = start_logit + end_logit > -np.inf
        where = np.broadcast_to(window, real.shape)[real]
        last = (token + further)[real]
        yield begin + where, first[where] + token[real], first[where] + last, start_logit[real], end_logit[real]


def _highest(scores: np.ndarray, n: int) -> np.ndarray:
    """(w, N) -> (w, n at most): where each row's n highest are, in no order"""
    if scores.shape[1] <= n:
        return np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    return np.argpartition(-scores, n - 1, axis=1)[:, :n]


def _stripped(context: str, start: int, end: int) -> tuple[int, int]:
    text = context[start:end]
    return start + len(text) - len(text.lstrip()), end - (len(text) - len(text.rstrip()))
