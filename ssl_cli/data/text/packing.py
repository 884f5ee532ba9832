"""Packed rows of tokens, without padding: consecutive documents share rows, and a batch is gathered at once."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ssl_cli.data.batches import MAX_BYTES_ON_DEVICE, ArrayDataset
from ssl_cli.data.tokenizers.tokenizer import Tokenizer

EVAL_BATCH_TOKENS = 8192  # tokens of a validation batch
SHIFT_STREAM = 9  # key of the random stream that shifts are drawn from
SHUFFLE_SEED = 10  # seed of the order of validation rows


class ReadsText(Protocol):
    """What a language model declares about the rows that it reads.

    `row_length`: tokens per row. `target_offset`: tokens that it needs after the row. `split_at_documents`: no row
    begins in one document and ends in another that is long enough for a row. `reads`: names of the arrays it needs.
    """

    row_length: int
    target_offset: int
    split_at_documents: bool
    reads: Sequence[str]


@dataclass(frozen=True)
class TokenArrays:
    """A stream of tokens and their properties, on one device.

    `ids` (N,) are unsigned numbers stored as signed ones. `word_start_bits` has a bit for each token that begins a word
    or phrase, if phrases were matched. For each token of the vocabulary, (V,) bool: `begins_word`, `ends_word` and
    `ends_sentence`. The token `end` follows each document.
    """

    ids: Tensor
    word_start_bits: Tensor | None
    begins_word: Tensor
    ends_word: Tensor
    ends_sentence: Tensor
    end: int

    @classmethod
    def from_numpy(cls, ids: np.ndarray, bits: np.ndarray | None, tokenizer: Tokenizer) -> "TokenArrays":
        """Wrap the arrays of a token stream without copying them."""
        # torch can't gather unsigned numbers on every device: the same bytes are viewed as signed ones.
        signed = torch.from_numpy(ids.view(np.int16 if ids.dtype.itemsize == 2 else np.int32))
        classes = (tokenizer.word_starts, tokenizer.word_ends, tokenizer.sentence_ends)
        begins_word, ends_word, ends_sentence = map(torch.from_numpy, classes)
        word_start_bits = None if bits is None else torch.from_numpy(bits)
        return cls(signed, word_start_bits, begins_word, ends_word, ends_sentence, tokenizer.specials["end"])

    def on(self, device: torch.device) -> "TokenArrays":
        """Return the same arrays on a device."""
        moved: dict[str, Any] = {
            name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **moved)

    def gather(self, positions: Tensor) -> Tensor:
        """Return the tokens at positions of the stream, int64."""
        return self.ids[positions].long() & (0xFFFF if self.ids.dtype == torch.int16 else 0xFFFFFFFF)

    def word_starts(self, positions: Tensor) -> Tensor:
        """Return whether each token begins a phrase or word, (B, L) bool.

        `positions` (B, 1 + L) include the one before each row.
        """
        if self.word_start_bits is not None:
            positions = positions[:, 1:]
            return (self.word_start_bits[positions >> 3] >> (7 - (positions & 7))) & 1 == 1
        ids = self.gather(positions)
        return self.begins_word[ids[:, 1:]] | self.ends_word[ids[:, :-1]]


class PackedTokenDataset(ArrayDataset):
    """Rows of a circular stream of tokens; `dataset[k, index, weight]` is a batch, a function of (seed, k).

    An epoch has each token once, except a remainder shorter than a row: the stream is rotated by a shift that follows
    from (seed, epoch), or not at all if `seed` is None. With `chunks`, (start, document), the rows are always those.
    A batch has those of `ids` (B, L), `starts` (B, L), `document` (B, L), `sentence_ends` (B, L) and `document_id`
    (B,) that the model reads, and `document` if documents are isolated.
    """

    throughput_unit = "tokens"
    row_name = "rows of this epoch's text"

    def __init__(
        self,
        text: TokenArrays,
        model: ReadsText,
        isolate_documents: bool,
        chunks: tuple[np.ndarray, np.ndarray] | None,
        seed: int | None,
        batch_size: int,
    ):
        self.text, self.seed, self.batch_size = text, seed, batch_size
        self.reads = {*model.reads, *(["document"] if isolate_documents else [])}
        self.tokens_per_row = self.units_per_row = model.row_length
        n_rows = len(text.ids) // model.row_length
        self._is_shifted = seed is not None and chunks is None
        # Consecutive rows need no list of their starts, which takes 16 bytes a row: gigabytes for a long text.
        self._starts: Tensor | None = None
        self._documents: Tensor | None = None
        if chunks is not None:
            self._starts, self._documents = (torch.from_numpy(part).to(text.ids.device) for part in chunks)
        self.row_ids = np.arange(n_rows if chunks is None else len(chunks[0]))
        self._offsets = torch.arange(-1, model.row_length + model.target_offset, device=text.ids.device)
        self._last_shift = (-1, 0)  # the epoch asked for last, and its shift

    def __len__(self) -> int:
        return len(self.row_ids)

    @property
    def device(self) -> torch.device:
        """Return the device that holds the tokens."""
        return self.text.ids.device

    @property
    def n_documents(self) -> int:
        """Return the number of documents that `document_id` distinguishes; joined ones count once."""
        return 1 if self._documents is None else len(self._documents.unique())

    @property
    def eval_batch_size(self) -> int:
        """Return the number of rows of a validation batch."""
        return max(1, EVAL_BATCH_TOKENS // self.tokens_per_row)

    def on(self, device: torch.device) -> "PackedTokenDataset":
        """Return the same rows on a device; unchanged if the text is too long for that."""
        if device == self.device or self.text.ids.nbytes > MAX_BYTES_ON_DEVICE:
            return self
        moved = copy.copy(self)
        moved.text = self.text.on(device)
        moved._offsets = self._offsets.to(device)
        moved._starts, moved._documents = (
            None if part is None else part.to(device) for part in (self._starts, self._documents)
        )
        return moved

    def take(self, selection: np.ndarray) -> "PackedTokenDataset":
        """Return a subset of the rows, selected by indices or by a boolean mask (N,)."""
        subset, index = copy.copy(self), torch.from_numpy(np.arange(len(self))[selection]).to(self.device)
        subset._starts, subset.row_ids = self._row_starts(index), self.row_ids[selection]
        subset._documents = None if self._documents is None else self._documents[index]
        return subset

    def shift(self, k: int) -> int:
        """Return the number of tokens by which the stream is rotated in the epoch of batch k."""
        if not self._is_shifted:
            return 0
        epoch = k // -(-len(self) // min(self.batch_size, len(self)))
        if epoch != self._last_shift[0]:
            shift = np.random.default_rng([self.seed or 0, SHIFT_STREAM, epoch]).integers(len(self.text.ids))
            self._last_shift = epoch, int(shift)
        return self._last_shift[1]

    def _row_starts(self, index: Tensor | slice) -> Tensor:
        """Return where rows begin in the unrotated stream, (B,) int64."""
        if self._starts is not None:
            return self._starts[index]
        if isinstance(index, slice):
            index = torch.arange(len(self), device=self.device)[index]
        return index * self.tokens_per_row

    def __getitem__(self, item: tuple[int, Tensor | np.ndarray | slice, float]) -> dict[str, Any]:
        k, index, weight = item
        index = index if isinstance(index, slice) else torch.as_tensor(index, device=self.device)
        first = self._row_starts(index) + self.shift(k)  # (B,)
        positions = (first[:, None] + self._offsets) % len(self.text.ids)  # (B, 1 + L): the token before each row, too
        ids = self.text.gather(positions[:, 1:])
        batch: dict[str, Any] = {"ids": ids}
        if "starts" in self.reads:
            batch["starts"] = self.text.word_starts(positions)
        if "document" in self.reads:
            is_end = ids == self.text.end
            batch["document"] = is_end.cumsum(1) - is_end.long()
        if "document_id" in self.reads:
            batch["document_id"] = torch.zeros_like(first) if self._documents is None else self._documents[index]
        if "sentence_ends" in self.reads:
            batch["sentence_ends"] = self.text.ends_sentence[ids]
        return batch | {"k": k, "weight": weight}


def document_chunks(ends: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where rows begin, and the document of each, (R,) int64 each, so that no row leaves its document.

    A document shorter than a row is joined with those that follow it. A longer one is split into as few rows as cover
    it, evenly spaced, which may overlap a little. `ends` (D,) are those of the documents. The token `end` is never in
    the last place of a row, where it would distinguish the second part of a sentence pair from the first.
    """
    # For document i: the first document whose text ends at least a row's length after i begins.
    reach = np.searchsorted(ends - 1, np.r_[0, ends[:-1]] + length).tolist()
    last = []
    document = 0
    while document < len(ends) and reach[document] < len(ends):
        last.append(reach[document])
        document = reach[document] + 1
    stop = ends[last]
    stop[-1] = ends[-1]  # a short remainder is joined with the last one
    start = np.r_[0, stop[:-1]]
    size = stop - 1 - start
    n_chunks = -(-size // length)
    document_of = np.repeat(np.arange(len(start)), n_chunks)  # (R,)
    nth = np.arange(len(document_of)) - np.repeat(np.cumsum(n_chunks) - n_chunks, n_chunks)
    slack = (size - length)[document_of]
    return start[document_of] + nth * slack // np.maximum(1, n_chunks - 1)[document_of], document_of


def fixed_shuffle(start: np.ndarray, document: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the same chunks in a random order that is always the same.

    Validation reads rows in order: shuffled, each of its batches has many documents, as training batches have.
    """
    order = np.random.default_rng(SHUFFLE_SEED).permutation(len(start))
    return start[order], document[order]
