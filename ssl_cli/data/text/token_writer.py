"""Token files: documents -> files of tokens, streamed, so that only a few batches of text are in memory."""

import hashlib
import os
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ssl_cli.data.text.encode import BATCH_CHARS, EncodedTexts, encode_texts
from ssl_cli.data.text.phrases import PhraseMatcher
from ssl_cli.data.tokenizers.fast_encode import cut_between_words
from ssl_cli.data.tokenizers.tokenizer import Tokenizer

LIMITED_PART_CHARS = 1 << 14  # characters of a part of a document in a limited split: the most that exceeds the limit


class TokenWriter:
    """The growing files of one split, up to a `limit` of tokens if there is one."""

    def __init__(self, folder: Path, split: str, tokenizer: Tokenizer, has_word_starts: bool, limit: int | None):
        self.limit = limit
        self.dtype = token_dtype(tokenizer.vocab_size)
        self.end = tokenizer.specials["end"]
        self.ids = (folder / f"{split}.bin").open("wb")
        self.word_starts = (folder / f"{split}.starts.bin").open("wb") if has_word_starts else None
        self.digest = hashlib.sha256()
        self.n_tokens = self.n_bytes = 0
        self._pending = np.zeros(0, bool)  # word starts that don't fill a byte yet

    @property
    def is_full(self) -> bool:
        """Return whether the limit is reached."""
        return self.limit is not None and self.n_tokens >= self.limit

    def write(self, ids: np.ndarray, word_starts: np.ndarray | None, n_bytes: int) -> None:
        """Append tokens (N,), whether each begins a word or phrase (N,) bool, and the bytes of their text."""
        content = ids.astype(self.dtype, copy=False).tobytes()
        self.digest.update(content)
        self.ids.write(content)
        self.n_tokens += len(ids)
        self.n_bytes += n_bytes
        if self.word_starts and word_starts is not None:
            self.digest.update(word_starts.tobytes())
            bits = np.r_[self._pending, word_starts]
            whole = len(bits) // 8 * 8
            self.word_starts.write(np.packbits(bits[:whole]).tobytes())
            self._pending = bits[whole:]

    def close(self) -> None:
        """Write what is pending, flush the files to disk and close them."""
        if self.word_starts:
            self.word_starts.write(np.packbits(self._pending).tobytes())
            self._pending = self._pending[:0]
        for file in (self.ids, self.word_starts):
            if file and not file.closed:
                file.flush()
                os.fsync(file.fileno())
                file.close()

    def sizes(self) -> dict[str, int]:
        """Return the number of tokens, and of bytes of text."""
        return {"tokens": self.n_tokens, "bytes": self.n_bytes}


@dataclass
class _TextPart:
    """Part of a document; the last one is followed by the token `end`."""

    split: str
    text: str
    is_last: bool


def write_documents(
    writers: dict[str, TokenWriter],
    documents: Iterator[tuple[str, str]],
    tokenizer: Tokenizer,
    phrases: PhraseMatcher | None,
) -> None:
    """Encode and write documents, each with its split, until none is left or every limit is reached."""
    limited = [writer for writer in writers.values() if writer.limit is not None]
    in_progress: deque[list[_TextPart]] = deque()

    def batches() -> Iterator[list[str]]:
        for batch in _batch_parts(documents, writers):
            in_progress.append(batch)
            yield [part.text for part in batch]

    with closing(encode_texts(batches(), tokenizer, phrases)) as results:
        for encoded in results:
            parts = in_progress.popleft()
            for split, writer in writers.items():
                _write_parts(writer, parts, encoded, np.array([part.split == split for part in parts]))
            if limited and all(writer.is_full for writer in limited):
                break


def _batch_parts(documents: Iterator[tuple[str, str]], writers: dict[str, TokenWriter]) -> Iterator[list[_TextPart]]:
    """Yield batches of about the same amount of text, counting text that a full split no longer takes."""
    batch: list[_TextPart] = []
    size = 0
    for split, text in documents:
        for part in _split_document(split, text, writers[split].limit is not None):
            size += len(part.text)
            if not writers[split].is_full:
                batch.append(part)
            if batch and size >= BATCH_CHARS:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch


def _split_document(split: str, text: str, is_limited: bool) -> Iterator[_TextPart]:
    *others, last = cut_between_words(text, LIMITED_PART_CHARS) if is_limited else cut_between_words(text)
    yield from (_TextPart(split, other, False) for other in others)
    yield _TextPart(split, last, True)


def _write_parts(writer: TokenWriter, parts: list[_TextPart], encoded: EncodedTexts, selected: np.ndarray) -> None:
    """Write the `selected` parts, (T,) bool, until the limit is reached; the document at the limit ends there."""
    if writer.is_full or not selected.any():
        return
    is_last = np.array([part.is_last for part in parts])
    index = np.flatnonzero(selected)
    if writer.limit is not None:
        n_written = writer.n_tokens + np.cumsum((encoded.lengths + is_last)[selected])  # with an `end` per document
        reached_by = int(np.searchsorted(n_written, writer.limit))
        is_last[index[reached_by : reached_by + 1]] = True
        selected[index[reached_by + 1 :]] = False
    is_token = np.repeat(selected, encoded.lengths)
    end_positions = np.cumsum(encoded.lengths[selected])[is_last[selected]]  # an `end` is inserted before these
    ids = np.insert(encoded.ids[is_token], end_positions, writer.end)
    starts = None if encoded.word_starts is None else np.insert(encoded.word_starts[is_token], end_positions, True)
    writer.write(ids, starts, int(encoded.n_bytes[selected].sum()))


def token_dtype(vocab_size: int) -> np.dtype:
    """Return the smallest unsigned type that holds every token."""
    return np.dtype("<u2" if vocab_size < 1 << 16 else "<u4")
