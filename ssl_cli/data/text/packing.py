"""A stream of tokens -> rows without padding: runs of documents that follow each other, gathered a batch at a time."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ssl_cli.data.batches import MAX_BYTES_ON_DEVICE, ArrayDataset
from ssl_cli.data.tokenizers.tokenizer import Tokenizer

TOKENS_AT_ONCE = 8192  # of a validation batch
SHIFT = 9  # the stream of random numbers that shifts are drawn from
SCATTER = 10  # and what is watched its order


class ReadsText(Protocol):
    """What an objective says of the text that it reads.

    `row_length` tokens a row and `looks_ahead` more after it; `within_documents`: no row begins in one document and
    ends in another that is long enough for a row; `reads`: names of the arrays that it needs.
    """

    row_length: int
    target_offset: int
    split_at_documents: bool
    reads: Sequence[str]


@dataclass(frozen=True)
class TokenArrays:
    """A stream of tokens and what is known of each, on one device.

    `ids` (N,), without their sign; `bits` of the tokens that begin a unit, where units were looked for. By token (V,):
    whether it `begins` a word, `ends` one, `ends_sentence`. `end` follows each document.
    """

    ids: Tensor
    bits: Tensor | None
    begins: Tensor
    ends: Tensor
    ends_sentence: Tensor
    end: int

    @classmethod
    def of(cls, ids: np.ndarray, bits: np.ndarray | None, tokenizer: Tokenizer) -> "TokenArrays":
        # torch can't gather numbers without a sign on every device: the same bytes go as numbers that have one.
        signed = torch.from_numpy(ids.view(np.int16 if ids.dtype.itemsize == 2 else np.int32))
        kinds = (tokenizer.word_starts, tokenizer.word_ends, tokenizer.sentence_ends)
        begins, ends, ends_sentence = map(torch.from_numpy, kinds)
        units = None if bits is None else torch.from_numpy(bits)
        return cls(signed, units, begins, ends, ends_sentence, tokenizer.specials["end"])

    def on(self, device: torch.device) -> "TokenArrays":
        there: dict[str, Any] = {name: one.to(device) for name, one in vars(self).items() if isinstance(one, Tensor)}
        return replace(self, **there)

    def at(self, place: Tensor) -> Tensor:
        """The tokens at places of the stream, int64"""
        return self.ids[place].long() & (0xFFFF if self.ids.dtype == torch.int16 else 0xFFFFFFFF)

    def starts(self, place: Tensor) -> Tensor:
        """(B, L) bool: begins a unit, or where none were looked for, a word. `place` (B, 1 + L), one more in front"""
        if self.bits is not None:
            place = place[:, 1:]
            return (self.bits[place >> 3] >> (7 - (place & 7))) & 1 == 1
        ids = self.at(place)
        return self.begins[ids[:, 1:]] | self.ends[ids[:, :-1]]


class PackedTokenDataset(ArrayDataset):
    """Rows of a circular stream of tokens; `rows[k, index, weight]` is a batch, which follows from (seed, k).

    In an epoch each token comes once, but for a rest shorter than a row: the stream is turned by a shift that follows
    from (seed, epoch), or stays (`seed` None). With `runs`, (start, document), the rows lie where those say, always.
    A batch has, of `ids` (B, L), `starts` (B, L), `document` (B, L), `sentence_ends` (B, L) and `document_id` (B,),
    those that the model reads; and `document` where documents are to be isolated.
    """

    throughput_unit = "tokens"
    row_name = "rows of this epoch's text"

    def __init__(
        self,
        text: TokenArrays,
        model: ReadsText,
        isolate_documents: bool,
        runs: tuple[np.ndarray, np.ndarray] | None,
        seed: int | None,
        batch_size: int,
    ):
        self.text, self.seed, self.batch_size = text, seed, batch_size
        self.reads = {*model.reads, *(["document"] if isolate_documents else [])}
        self.tokens_per_row = self.units_per_row = model.row_length
        n_rows = len(text.ids) // model.row_length
        self._is_turned = seed is not None and runs is None
        # Rows that follow each other need no list of where they begin: 16 bytes a row, of a long text gigabytes.
        self._start: Tensor | None = None
        self._document: Tensor | None = None
        if runs is not None:
            self._start, self._document = (torch.from_numpy(part).to(text.ids.device) for part in runs)
        self.row_ids = np.arange(n_rows if runs is None else len(runs[0]))
        self._along = torch.arange(-1, model.row_length + model.target_offset, device=text.ids.device)
        self._last_shift = (-1, 0)  # of the last epoch asked for

    def __len__(self) -> int:
        return len(self.row_ids)

    @property
    def device(self) -> torch.device:
        return self.text.ids.device

    @property
    def n_documents(self) -> int:
        """That the rows are of, joined ones counted once: as `document_id` has them"""
        return 1 if self._document is None else len(self._document.unique())

    @property
    def eval_batch_size(self) -> int:
        return max(1, TOKENS_AT_ONCE // self.tokens_per_row)

    def on(self, device: torch.device) -> "PackedTokenDataset":
        """The same rows on a device; as they are, where the text is too long for that."""
        if device == self.device or self.text.ids.nbytes > MAX_BYTES_ON_DEVICE:
            return self
        there = copy.copy(self)
        there.text = self.text.on(device)
        there._along = self._along.to(device)
        there._start, there._document = (
            None if part is None else part.to(device) for part in (self._start, self._document)
        )
        return there

    def take(self, which: np.ndarray) -> "PackedTokenDataset":
        """Some of the rows, by index or by truth (N,)"""
        some, index = copy.copy(self), torch.from_numpy(np.arange(len(self))[which]).to(self.device)
        some._start, some.row_ids = self._begins(index), self.row_ids[which]
        some._document = None if self._document is None else self._document[index]
        return some

    def shift(self, k: int) -> int:
        """By how many tokens the stream is turned in the epoch of batch k"""
        if not self._is_turned:
            return 0
        epoch = k // -(-len(self) // min(self.batch_size, len(self)))
        if epoch != self._last_shift[0]:
            turned = np.random.default_rng([self.seed or 0, SHIFT, epoch]).integers(len(self.text.ids))
            self._last_shift = epoch, int(turned)
        return self._last_shift[1]

    def _begins(self, index: Tensor | slice) -> Tensor:
        """(B,) int64: where rows begin in the stream as it lies"""
        if self._start is not None:
            return self._start[index]
        if isinstance(index, slice):
            index = torch.arange(len(self), device=self.device)[index]
        return index * self.tokens_per_row

    def __getitem__(self, which: tuple[int, Tensor | np.ndarray | slice, float]) -> dict[str, Any]:
        k, index, weight = which
        index = index if isinstance(index, slice) else torch.as_tensor(index, device=self.device)
        first = self._begins(index) + self.shift(k)  # (B,)
        place = (first[:, None] + self._along) % len(self.text.ids)  # (B, 1 + L), the token before the row in front
        ids = self.text.at(place[:, 1:])
        batch: dict[str, Any] = {"ids": ids}
        if "starts" in self.reads:
            batch["starts"] = self.text.starts(place)
        if "document" in self.reads:
            is_end = ids == self.text.end
            batch["document"] = is_end.cumsum(1) - is_end.long()
        if "document_id" in self.reads:
            batch["document_id"] = torch.zeros_like(first) if self._document is None else self._document[index]
        if "sentence_ends" in self.reads:
            batch["sentence_ends"] = self.text.ends_sentence[ids]
        return batch | {"k": k, "weight": weight}


def document_chunks(ends: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Where rows begin, and of which document each is, (R,) int64 each: no row leaves its document.

    A document shorter than a row is joined with those that follow it. A longer one is cut into as few rows as cover
    it, evenly spread, which may overlap a little. `ends` (D,) are the documents'; the token that marks an end is in no
    row's last place, where it would tell a pair's second part from its first.
    """
    # The first document whose text ends a row's length or more after document i begins.
    reaches = np.searchsorted(ends - 1, np.r_[0, ends[:-1]] + length).tolist()
    last = []
    document = 0
    while document < len(ends) and reaches[document] < len(ends):
        last.append(reaches[document])
        document = reaches[document] + 1
    stop = ends[last]
    stop[-1] = ends[-1]  # what is left over goes with the last one
    start = np.r_[0, stop[:-1]]
    size = stop - 1 - start
    n_runs = -(-size // length)
    document_of = np.repeat(np.arange(len(start)), n_runs)  # (R,)
    nth = np.arange(len(document_of)) - np.repeat(np.cumsum(n_runs) - n_runs, n_runs)
    room = (size - length)[document_of]
    return start[document_of] + nth * room // np.maximum(1, n_runs - 1)[document_of], document_of


def fixed_shuffle(start: np.ndarray, document: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same runs in a disorder that is always the same: so that each batch of what is watched, row after row, is of
    many documents, as batches are that are learned."""
    order = np.random.default_rng(SCATTER).permutation(len(start))
    return start[order], document[order]
