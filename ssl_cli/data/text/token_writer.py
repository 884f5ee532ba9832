"""Documents -> files of tokens, while both stream by: no more than a few batches of text are in memory."""

import hashlib
import os
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ssl_cli.data.text.encode import CHARACTERS, EncodedTexts, encode_texts
from ssl_cli.data.text.phrases import PhraseMatcher
from ssl_cli.data.tokenizers.fast_encode import cut
from ssl_cli.data.tokenizers.tokenizer import Tokenizer

TO_BE_LIMITED = 1 << 14  # characters of a part: where there is a limit, it is passed by no more


class TokenWriter:
    """The files of one split, as they grow, up to a `limit` of tokens where there is one."""

    def __init__(self, folder: Path, split: str, tokenizer: Tokenizer, has_units: bool, limit: int | None):
        self.limit = limit
        self.type = token_type(tokenizer.vocab_size)
        self.end = tokenizer.specials["end"]
        self.ids = (folder / f"{split}.bin").open("wb")
        self.starts = (folder / f"{split}.starts.bin").open("wb") if has_units else None
        self.digest = hashlib.sha256()
        self.n_tokens = self.n_bytes = 0
        self._rest = np.zeros(0, bool)  # starts that don't fill a byte yet

    @property
    def is_full(self) -> bool:
        return self.limit is not None and self.n_tokens >= self.limit

    def write(self, ids: np.ndarray, starts: np.ndarray | None, n_bytes: int) -> None:
        content = ids.astype(self.type, copy=False).tobytes()
        self.digest.update(content)
        self.ids.write(content)
        self.n_tokens += len(ids)
        self.n_bytes += n_bytes
        if self.starts and starts is not None:
            self.digest.update(starts.tobytes())
            bits = np.r_[self._rest, starts]
            whole = len(bits) // 8 * 8
            self.starts.write(np.packbits(bits[:whole]).tobytes())
            self._rest = bits[whole:]

    def close(self) -> None:
        if self.starts:
            self.starts.write(np.packbits(self._rest).tobytes())
            self._rest = self._rest[:0]
        for file in (self.ids, self.starts):
            if file and not file.closed:
                file.flush()
                os.fsync(file.fileno())
                file.close()

    def sizes(self) -> dict[str, int]:
        return {"tokens": self.n_tokens, "bytes": self.n_bytes}


@dataclass
class _Part:
    """Of a document; the last one is followed by the token `end`."""

    split: str
    text: str
    is_last: bool


def fill(
    writers: dict[str, TokenWriter],
    documents: Iterator[tuple[str, str]],
    tokenizer: Tokenizer,
    phrases: PhraseMatcher | None,
) -> None:
    """Encode documents, each given with its split, until there are no more or every limit is reached."""
    limited = [writer for writer in writers.values() if writer.limit is not None]
    under_way: deque[list[_Part]] = deque()

    def batches() -> Iterator[list[str]]:
        for batch in _batched(documents, writers):
            under_way.append(batch)
            yield [part.text for part in batch]

    with closing(encode_texts(batches(), tokenizer, phrases)) as results:
        for found in results:
            parts = under_way.popleft()
            for split, writer in writers.items():
                _write_parts(writer, parts, found, np.array([part.split == split for part in parts]))
            if limited and all(writer.is_full for writer in limited):
                break


def _batched(documents: Iterator[tuple[str, str]], writers: dict[str, TokenWriter]) -> Iterator[list[_Part]]:
    """Some parts at a time, of about as much text: also of what is read and isn't wanted any more."""
    batch: list[_Part] = []
    size = 0
    for split, text in documents:
        for part in _parts(split, text, writers[split].limit is not None):
            size += len(part.text)
            if not writers[split].is_full:
                batch.append(part)
            if batch and size >= CHARACTERS:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch


def _parts(split: str, text: str, is_limited: bool) -> Iterator[_Part]:
    *others, last = cut(text, TO_BE_LIMITED) if is_limited else cut(text)
    yield from (_Part(split, other, False) for other in others)
    yield _Part(split, last, True)


def _write_parts(writer: TokenWriter, parts: list[_Part], found: EncodedTexts, mine: np.ndarray) -> None:
    """Write those that are `mine` (T,) as far as there is room: where the limit is reached, the document ends."""
    if writer.is_full or not mine.any():
        return
    is_last = np.array([part.is_last for part in parts])
    number = np.flatnonzero(mine)
    if writer.limit is not None:
        written = writer.n_tokens + np.cumsum((found.length + is_last)[mine])  # with the ends
        reached_by = int(np.searchsorted(written, writer.limit))
        is_last[number[reached_by : reached_by + 1]] = True
        mine[number[reached_by + 1 :]] = False
    is_token = np.repeat(mine, found.length)
    closing_at = np.cumsum(found.length[mine])[is_last[mine]]  # an `end` comes before these
    ids = np.insert(found.ids[is_token], closing_at, writer.end)
    starts = None if found.starts is None else np.insert(found.starts[is_token], closing_at, True)
    writer.write(ids, starts, int(found.n_bytes[mine].sum()))


def token_type(vocab_size: int) -> np.dtype:
    return np.dtype("<u2" if vocab_size < 1 << 16 else "<u4")
