"""Overlapping windows of a passage, each after its question: the rows that a question answering model reads."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ssl_cli.data.labelled.packed_examples import IGNORE_INDEX, PackedExamples, TokenizedSequences
from ssl_cli.data.labelled.template import SequenceTemplate
from ssl_cli.data.tokenizers.tokenizer import Tokenizer

ENCODE_BATCH = 1024  # texts a batch


class EncodedPassage(NamedTuple):
    """The tokens of a text: `ids` (T,), and `spans` (T, 2), the start and end of each token in characters."""

    ids: np.ndarray
    spans: np.ndarray

    def tokens_of(self, start: int, end: int) -> tuple[int, int] | None:
        """Return the first and last token that overlap the characters start..end, or None if no token does."""
        first = int(np.searchsorted(self.spans[:, 1], start, side="right"))
        last = int(np.searchsorted(self.spans[:, 0], end, side="left")) - 1
        return (first, last) if first <= last else None

    def text_of(self, tokens: tuple[int, int], text: str) -> str:
        """Return the part of `text` from the first to the last of these tokens."""
        return text[self.spans[tokens[0], 0] : self.spans[tokens[1], 1]].strip()


class Window(NamedTuple):
    """The tokens begin..end of a passage, after its question.

    `answer` is its first and last token of the passage, or None. `is_known` says whether it is a target.
    """

    example_id: int
    question: np.ndarray
    passage: EncodedPassage
    begin: int
    end: int
    answer: tuple[int, int] | None
    is_known: bool

    @property
    def answer_in_window(self) -> tuple[int, int] | None:
        """The tokens of the answer relative to `begin`, or None if the window doesn't contain all of it."""
        if self.answer is None or self.answer[0] < self.begin or self.answer[1] >= self.end:
            return None
        return self.answer[0] - self.begin, self.answer[1] - self.begin


class PackedWindows(PackedExamples):
    """Rows of one window each. `spans` (N, 2): the characters of the passage that each token covers.

    By window, (W,): `first`, where its part of the passage begins, `count`, the tokens of that part, and `null`, the
    token that stands for no answer. The targets are `start` and `end`, tokens of the window; IGNORE_INDEX if unknown.
    """

    def __init__(self, windows: Sequence[Window], template: SequenceTemplate, warnings: Iterable[str]):
        row_ids = np.array([window.example_id for window in windows], np.int64)
        n_question = np.array([len(window.question) for window in windows], np.int64)
        self.count = np.array([window.end - window.begin for window in windows], np.int64)
        self.first = n_question + len(template.prefix) + len(template.separator)
        length = self.first + self.count + len(template.suffix)
        # [CLS]; a causal model without a prefix uses its last token, the only one that sees the whole window.
        self.null = np.zeros_like(length) if template.prefix else length - 1
        ids = _concatenated([_ids(window, template) for window in windows])
        starts = np.cumsum(length) - length
        in_passage = _ranges(starts + self.first, self.count)
        segment, allowed = np.zeros(len(ids), np.int8), np.zeros(len(ids), np.int8)
        segment[_ranges(starts + self.first, length - self.first)] = 1
        allowed[in_passage] = allowed[starts + self.null] = 1
        self.spans = np.zeros((len(ids), 2), np.int32)
        self.spans[in_passage] = _concatenated(
            [window.passage.spans[window.begin : window.end] for window in windows], 2
        )
        tokens = {"ids": ids, "segment": segment, "allowed": allowed}
        super().__init__(TokenizedSequences(length, tokens), self._targets(windows), row_ids, warnings=tuple(warnings))

    def _targets(self, windows: Sequence[Window]) -> dict[str, np.ndarray]:
        answers = [window.answer_in_window for window in windows]
        positions = np.array([answer or (0, 0) for answer in answers], np.int64).reshape(-1, 2) + self.first[:, None]
        has_answer = np.array([answer is not None for answer in answers], bool)
        is_known = np.array([window.is_known for window in windows], bool)
        target = np.where(has_answer[:, None], positions, self.null[:, None])
        target[~is_known] = IGNORE_INDEX
        return {"start": target[:, 0], "end": target[:, 1]}


def encode_texts(tokenizer: Tokenizer, texts: Iterable[str]) -> dict[str, EncodedPassage]:
    """Encode each distinct text once."""
    encoded, distinct = dict[str, EncodedPassage](), list(dict.fromkeys(texts))
    for start in range(0, len(distinct), ENCODE_BATCH):
        batch = distinct[start : start + ENCODE_BATCH]
        encodings = tokenizer.library.encode_batch(batch, add_special_tokens=False)
        for text, encoding in zip(batch, encodings, strict=True):
            spans = np.array(encoding.offsets, np.int32).reshape(-1, 2)
            encoded[text] = EncodedPassage(np.array(encoding.ids, np.int32), spans)
    return encoded


def window_bounds(n_tokens: int, room: int, overlap: int) -> list[tuple[int, int]]:
    """Return the begin and end of each window of a passage.

    All windows but the last are full, and neighbours share `overlap` tokens, as doc_stride means in transformers'
    run_qa.
    """
    begins = range(0, max(1, n_tokens - overlap), room - overlap)
    return [(begin, min(begin + room, n_tokens)) for begin in begins]


@dataclass(frozen=True)
class WindowCutter:
    """Cuts questions to `max_question` tokens, and passages into windows that share `doc_stride` tokens.

    Each of the two gets at most half of the room there is.
    """

    doc_stride: int
    max_question: int

    def question(self, ids: np.ndarray, template: SequenceTemplate) -> np.ndarray:
        """Return the tokens of a question that are kept."""
        return ids[: min(self.max_question, template.max_text_tokens(pair=True) // 2)]

    def windows(
        self,
        example_id: int,
        question: np.ndarray,
        passage: EncodedPassage,
        answer: tuple[int, int] | None,
        template: SequenceTemplate,
    ) -> list[Window]:
        """Return the windows of an example. `question` is cut already."""
        room = template.max_text_tokens(pair=True) - len(question)
        bounds = window_bounds(len(passage.ids), room, min(self.doc_stride, room // 2))
        return [Window(example_id, question, passage, begin, end, answer, True) for begin, end in bounds]


def _ids(window: Window, template: SequenceTemplate) -> np.ndarray:
    passage = window.passage.ids[window.begin : window.end]
    parts = (template.prefix, window.question, template.separator, passage, template.suffix)
    return np.concatenate([np.asarray(part, np.int32) for part in parts])


def _concatenated(parts: list[np.ndarray], width: int | None = None) -> np.ndarray:
    """Concatenate arrays; no arrays give an empty one of the right shape."""
    return np.concatenate(parts) if parts else np.zeros(0 if width is None else (0, width), np.int32)


def _ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return start, start + 1, ... for each start, `count` numbers each, all concatenated."""
    return np.arange(counts.sum()) + np.repeat(starts - (np.cumsum(counts) - counts), counts)
