"""A question with as much of its passage as fits, again and again along the passage: what a model reads of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ssl_cli.data.labelled.packed_examples import IGNORED, PackedExamples, TokenizedSequences
from ssl_cli.data.labelled.template import SequenceTemplate
from ssl_cli.data.tokenizers.tokenizer import Tokenizer

AT_ONCE = 1024  # texts that are encoded together


class EncodedPassage(NamedTuple):
    """A text's tokens: `ids` (T,), and the characters of the text that each is of, `spans` (T, 2)"""

    ids: np.ndarray
    spans: np.ndarray

    def tokens_of(self, start: int, end: int) -> tuple[int, int] | None:
        """The first and the last token that have to do with characters start..end; None where no token has."""
        first = int(np.searchsorted(self.spans[:, 1], start, side="right"))
        last = int(np.searchsorted(self.spans[:, 0], end, side="left")) - 1
        return (first, last) if first <= last else None

    def said_by(self, tokens: tuple[int, int], text: str) -> str:
        """What these tokens and those between them are of"""
        return text[self.spans[tokens[0], 0] : self.spans[tokens[1], 1]].strip()


class Window(NamedTuple):
    """The tokens begin..end of a passage, after its question. `answer`: its first and last token of the passage, or
    none; `is_known`: whether that can be learned."""

    number: int  # of the example
    question: np.ndarray
    passage: EncodedPassage
    begin: int
    end: int
    answer: tuple[int, int] | None
    is_known: bool

    @property
    def inside(self) -> tuple[int, int] | None:
        """The answer's tokens counted from `begin`, where it lies in the window whole"""
        if self.answer is None or self.answer[0] < self.begin or self.answer[1] >= self.end:
            return None
        return self.answer[0] - self.begin, self.answer[1] - self.begin


class PackedWindows(PackedExamples):
    """Rows of which each is a window. `spans` (N, 2): the characters of the passage that each token is of.

    By window, (W,): `first`, where in it the passage begins, `count`, how many tokens of it there are, and `null`, the
    token that stands for no answer. Targets are `start` and `end`, tokens of the window, IGNORED where not known.
    """

    def __init__(self, windows: Sequence[Window], frame: SequenceTemplate, lost: Iterable[str]):
        number = np.array([window.number for window in windows], np.int64)
        n_question = np.array([len(window.question) for window in windows], np.int64)
        self.count = np.array([window.end - window.begin for window in windows], np.int64)
        self.first = n_question + len(frame.prefix) + len(frame.separator)
        length = self.first + self.count + len(frame.suffix)
        # [CLS]; or where tokens only see those before them, and nothing comes first, the last one.
        self.null = np.zeros_like(length) if frame.prefix else length - 1
        ids = _laid([_ids(window, frame) for window in windows])
        starts = np.cumsum(length) - length
        of_passage = _places(starts + self.first, self.count)
        segment, allowed = np.zeros(len(ids), np.int8), np.zeros(len(ids), np.int8)
        segment[_places(starts + self.first, length - self.first)] = 1
        allowed[of_passage] = allowed[starts + self.null] = 1
        self.spans = np.zeros((len(ids), 2), np.int32)
        self.spans[of_passage] = _laid([window.passage.spans[window.begin : window.end] for window in windows], 2)
        tokens = {"ids": ids, "segment": segment, "allowed": allowed}
        super().__init__(TokenizedSequences(length, tokens), self._targets(windows), number, warnings=tuple(lost))

    def _targets(self, windows: Sequence[Window]) -> dict[str, np.ndarray]:
        inside = [window.inside for window in windows]
        found = np.array([place or (0, 0) for place in inside], np.int64).reshape(-1, 2) + self.first[:, None]
        has_answer = np.array([place is not None for place in inside], bool)
        known = np.array([window.is_known for window in windows], bool)
        target = np.where(has_answer[:, None], found, self.null[:, None])
        target[~known] = IGNORED
        return {"start": target[:, 0], "end": target[:, 1]}


def encoded(tokenizer: Tokenizer, texts: Iterable[str]) -> dict[str, EncodedPassage]:
    """Each text once."""
    found, listed = dict[str, EncodedPassage](), list(dict.fromkeys(texts))
    for start in range(0, len(listed), AT_ONCE):
        some = listed[start : start + AT_ONCE]
        for text, made in zip(some, tokenizer.library.encode_batch(some, add_special_tokens=False), strict=True):
            spans = np.array(made.offsets, np.int32).reshape(-1, 2)
            found[text] = EncodedPassage(np.array(made.ids, np.int32), spans)
    return found


def cuts(n_tokens: int, room: int, overlap: int) -> list[tuple[int, int]]:
    """Begin and end of each window of a passage: all are full but the last, and `overlap` tokens are in two of them,
    as transformers' run_qa has it by its doc_stride."""
    begins = range(0, max(1, n_tokens - overlap), room - overlap)
    return [(begin, min(begin + room, n_tokens)) for begin in begins]


@dataclass(frozen=True)
class Cutting:
    """How passages are cut: at most `max_question` tokens of a question, and `doc_stride` tokens in two windows; at
    most half of the room for each of these."""

    doc_stride: int
    max_question: int

    def question(self, ids: np.ndarray, frame: SequenceTemplate) -> np.ndarray:
        return ids[: min(self.max_question, frame.room(pair=True) // 2)]

    def windows(
        self,
        number: int,
        question: np.ndarray,
        passage: EncodedPassage,
        answer: tuple[int, int] | None,
        frame: SequenceTemplate,
    ) -> list[Window]:
        """Of an example by its number; `question` as it was cut."""
        room = frame.room(pair=True) - len(question)
        parts = cuts(len(passage.ids), room, min(self.doc_stride, room // 2))
        return [Window(number, question, passage, begin, end, answer, True) for begin, end in parts]


def _ids(window: Window, frame: SequenceTemplate) -> np.ndarray:
    passage = window.passage.ids[window.begin : window.end]
    parts = (frame.prefix, window.question, frame.separator, passage, frame.suffix)
    return np.concatenate([np.asarray(part, np.int32) for part in parts])


def _laid(parts: list[np.ndarray], width: int | None = None) -> np.ndarray:
    """One after another; of none, nothing"""
    return np.concatenate(parts) if parts else np.zeros(0 if width is None else (0, width), np.int32)


def _places(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """start, start + 1, ... for each, so many as its count"""
    return np.arange(counts.sum()) + np.repeat(starts - (np.cumsum(counts) - counts), counts)
