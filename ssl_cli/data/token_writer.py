"""Documents -> files of tokens, while both stream by: no more than a few batches of text are in memory."""

import hashlib
import os
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from ssl_cli.data.pieces import cut
from ssl_cli.data.text_encoding import CHARACTERS, Encoded, encoded
from ssl_cli.data.tokenizer import Tokenizer
from ssl_cli.data.units import Units


class TokenWriter:
    """The files of one split, as they grow."""

    def __init__(self, folder: Path, split: str, tokenizer: Tokenizer, has_units: bool):
        self.type = token_type(tokenizer.vocab_size)
        self.end = tokenizer.specials["end"]
        self.ids = (folder / f"{split}.bin").open("wb")
        self.starts = (folder / f"{split}.starts.bin").open("wb") if has_units else None
        self.digest = hashlib.sha256()
        self.n_tokens = self.n_bytes = 0
        self._rest = np.zeros(0, bool)  # starts that don't fill a byte yet

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
    max_tokens: int | None,
    tokenizer: Tokenizer,
    units: Units | None,
) -> None:
    """Encode documents, each given with its split, until there are no more or `max_tokens` are had."""
    under_way: deque[list[_Part]] = deque()

    def batches() -> Iterator[list[str]]:
        for batch in _batched(documents):
            under_way.append(batch)
            yield [part.text for part in batch]

    left = max_tokens
    with closing(encoded(batches(), tokenizer, units)) as results:
        for found in results:
            n_written = _write_parts(writers, under_way.popleft(), found, left)
            if left is not None and (left := left - n_written) <= 0:
                break


def _batched(documents: Iterator[tuple[str, str]]) -> Iterator[list[_Part]]:
    batch: list[_Part] = []
    size = 0
    for split, text in documents:
        *others, last = cut(text)
        for part in chain((_Part(split, other, False) for other in others), [_Part(split, last, True)]):
            batch.append(part)
            size += len(part.text)
            if size >= CHARACTERS:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch


def _write_parts(writers: dict[str, TokenWriter], parts: list[_Part], found: Encoded, left: int | None) -> int:
    """Write them, as far as `left` tokens are had: there the document ends, too. Gives the number of tokens."""
    is_last = np.array([part.is_last for part in parts])
    written = np.cumsum(found.length + is_last)  # with the ends
    n_parts = len(parts) if left is None else min(len(parts), int(np.searchsorted(written, left)) + 1)
    is_last, length = np.r_[is_last[: n_parts - 1], True], found.length[:n_parts]
    stop = np.cumsum(length)
    closing_at = stop[is_last]  # an `end` comes before these
    of_split = np.array([part.split == "val" for part in parts[:n_parts]])
    ids = np.insert(found.ids[: stop[-1]], closing_at, writers["train"].end)
    starts = None if found.starts is None else np.insert(found.starts[: stop[-1]], closing_at, True)
    is_val = np.insert(np.repeat(of_split, length), closing_at, of_split[is_last])
    for writer, mine, parts_mine in ((writers["train"], ~is_val, ~of_split), (writers["val"], is_val, of_split)):
        n_bytes = int(found.n_bytes[:n_parts][parts_mine].sum())
        writer.write(ids[mine], None if starts is None else starts[mine], n_bytes)
    return len(ids)


def token_type(vocab_size: int) -> np.dtype:
    return np.dtype("<u2" if vocab_size < 1 << 16 else "<u4")
