"""Batches of pairs of a source and a target without padding: several pairs in a row, attention kept within each pair.

A row has two sides, one for the encoder and one for the decoder; a pair stands in the same row of both, under the same
`document`.
"""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ssl_cli.data.batches import ArrayDataset, InfiniteSampler
from ssl_cli.data.labelled.packed_examples import (
    IGNORE_INDEX,
    MAX_SEARCHED_SEQUENCES,
    MIN_ROW_TOKENS,
    ROW_STEP_TOKENS,
)
from ssl_cli.data.labelled.pair_template import PairTemplate

EVAL_BATCH_PAIRS = 128  # the more are written together, the fewer lengths are padded
MAX_ROW_TOKENS = 512  # of a row with several texts: attention within longer ones costs more than empty positions
NO_DOCUMENT = -1  # of the empty positions of a source: nothing sees them
MEASURED_BATCHES = 20  # by which the share of used positions is measured


@dataclass(frozen=True)
class TokenSequences:
    """Sequences of tokens, one after another: `ids` (N,) of all of them, `length` (P,) and `start` (P,) of each."""

    ids: np.ndarray
    length: np.ndarray
    start: np.ndarray

    @classmethod
    def from_lists(cls, sequences: Sequence[Sequence[int]]) -> "TokenSequences":
        """Build from a list of tokens for each sequence."""
        length = np.array([len(ids) for ids in sequences], np.int64)
        ids = np.fromiter((token for ids in sequences for token in ids), np.int32, int(length.sum()))
        return cls(ids, length, np.cumsum(length) - length)


class Packing(NamedTuple):
    """Where pairs stand: the row of each (P,), where its source and its target begin in the row (P,), and the shape."""

    row: np.ndarray
    source_begin: np.ndarray
    target_begin: np.ndarray
    n_rows: int
    source_tokens: int  # positions of a row, for the encoder
    target_tokens: int  # the same, for the decoder

    @property
    def size(self) -> int:
        """The number of positions, of both sides together."""
        return self.n_rows * (self.source_tokens + self.target_tokens)


class PackedPairs(ArrayDataset):
    """Pairs of texts for an encoder-decoder, with special tokens. A batch of P pairs, packed into R rows, has:

    - `source` (R, S) and `source_document`, what the encoder reads: the pair's number in the batch, -1 where it is
      empty;
    - `inputs` (R, T), `document` and `targets`, what the decoder reads and is to write: IGNORE_INDEX where it is empty,
      which is at the end of a row, as part of the last pair's document;
    - `begin` and `length` (P,): where each source stands in the R * S tokens.

    A target that is unknown is None: the decoder reads its first token alone, and nothing is to be written. `warnings`:
    one message for each kind of thing that had to be cut or left out.
    """

    split = "dev"
    throughput_unit = "examples"
    row_name = "examples"

    def __init__(
        self,
        sources: Sequence[Sequence[int]],
        targets: Sequence[Sequence[int] | None],
        template: PairTemplate,
        warnings: Iterable[str] = (),
    ):
        """Take the tokens of each pair, and put the template's special tokens around them; longer ones are cut."""
        self.template, special = template, template.special
        self.source = TokenSequences.from_lists([special.source(ids, template.max_source) for ids in sources])
        written = [ids and special.target(ids, template.max_target) for ids in targets]
        self.inputs = TokenSequences.from_lists([special.decoder_inputs(ids or [0]) for ids in written])
        self.targets = TokenSequences.from_lists([ids or [IGNORE_INDEX] for ids in written])
        self.row_ids, self.warnings = np.arange(len(sources)), tuple(warnings)
        self.source_row, self.target_row = (
            min(_row_tokens(side.length), template.row_tokens) for side in (self.source, self.inputs)
        )
        self.tokens = {
            name: torch.from_numpy(side.ids)
            for name, side in (("source", self.source), ("inputs", self.inputs), ("targets", self.targets))
        }

    def __len__(self) -> int:
        return len(self.row_ids)

    @property
    def device(self) -> torch.device:
        """The device that holds the tokens."""
        return self.tokens["source"].device

    @property
    def eval_batch_size(self) -> int:
        """The number of pairs in a validation batch."""
        return EVAL_BATCH_PAIRS

    def on(self, device: torch.device) -> "PackedPairs":
        """Return a copy whose tokens are on a device."""
        moved = copy.copy(self)
        moved.tokens = {name: values.to(device) for name, values in self.tokens.items()}
        return moved

    def take(self, which: np.ndarray) -> "PackedPairs":
        """Not supported: no verb takes a subset of labelled examples."""
        raise NotImplementedError("no verb takes a subset of labelled examples")

    def __getitem__(self, which: tuple[int, Tensor | np.ndarray | slice, float]) -> dict[str, Any]:
        k, index, weight = which
        chosen = np.arange(len(self))[index if isinstance(index, slice) else torch.as_tensor(index).cpu().numpy()]
        packing = self.packing(chosen)
        n_rows, source_tokens, target_tokens = packing[3:]
        begin = packing.row * source_tokens + packing.source_begin
        position, token, pair = _places(begin, self.source, chosen)
        source_document = np.full(n_rows * source_tokens, NO_DOCUMENT)
        source_document[position] = pair
        batch: dict[str, Any] = {"source": self._gathered("source", n_rows, source_tokens, position, token, 0)}

        position, token, pair = _places(packing.row * target_tokens + packing.target_begin, self.inputs, chosen)
        document = np.repeat(_last_pairs(packing), target_tokens)
        document[position] = pair
        fills = {"inputs": 0, "targets": IGNORE_INDEX}
        for name, fill in fills.items():
            batch[name] = self._gathered(name, n_rows, target_tokens, position, token, fill)
        placed = {
            "source_document": source_document.reshape(n_rows, -1),
            "document": document.reshape(n_rows, -1),
            "begin": begin,
            "length": self.source.length[chosen],
        }
        batch |= {name: torch.from_numpy(array).to(self.device) for name, array in placed.items()}
        return batch | {"k": k, "weight": weight}

    def _gathered(
        self, name: str, n_rows: int, row_tokens: int, position: np.ndarray, token: np.ndarray, fill: int
    ) -> Tensor:
        """Return rows (n_rows, row_tokens) int64 with the tokens at `token` put to `position`, all else `fill`."""
        rows = torch.full((n_rows * row_tokens,), fill, dtype=torch.int64, device=self.device)
        to, of = (torch.from_numpy(places).to(self.device) for places in (position, token))
        return rows.index_copy_(0, to, self.tokens[name][of].long()).view(n_rows, row_tokens)

    def packing(self, chosen: np.ndarray) -> Packing:
        """Return how the chosen pairs (P,) are packed."""
        return pack_pairs(self.source.length[chosen], self.inputs.length[chosen], self.source_row, self.target_row)

    def used_share(self, batch_size: int, seed: int) -> float:
        """Return the share of a batch's positions that hold a token, on average over the first batches of a run."""
        sampler = InfiniteSampler(len(self), batch_size, seed)
        used = size = 0
        for k in range(min(MEASURED_BATCHES, sampler.batches_per_epoch)):
            chosen = sampler.batch(k).numpy()
            used += int(self.source.length[chosen].sum() + self.inputs.length[chosen].sum())
            size += self.packing(chosen).size
        return used / size


def _row_tokens(length: np.ndarray) -> int:
    """Return the longest row for texts of these lengths: two of the longest, so that little stays empty."""
    longest = int(length.max(initial=0))
    return max(MIN_ROW_TOKENS, longest, min(2 * longest, MAX_ROW_TOKENS))


def _places(begin: np.ndarray, side: TokenSequences, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return for each token of the chosen pairs where it goes, which token of the data set it is, and its pair."""
    length = side.length[chosen]
    within = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    places = (np.repeat(first, length) + within for first in (begin, side.start[chosen]))
    position, token = places
    return position, token, np.repeat(np.arange(len(chosen)), length)


def _last_pairs(packing: Packing) -> np.ndarray:
    """Return the pair whose target is the last of each row, (R,)."""
    order = np.lexsort((packing.target_begin, packing.row))
    last = np.zeros(packing.n_rows, np.int64)
    last[packing.row[order]] = order  # of several pairs of a row the last one stays
    return last


def pack_pairs(source: np.ndarray, target: np.ndarray, max_source: int, max_target: int) -> Packing:
    """Return the packing of pairs with these lengths (P,) that leaves the fewest positions empty.

    A row holds at most `max_source` and `max_target` tokens. Of few pairs, several lengths of a row are tried.
    """
    if len(source) > MAX_SEARCHED_SEQUENCES:
        return first_fit_pairs(source, target, max_source, max_target)
    shortest = -(-int(source.max(initial=1)) // ROW_STEP_TOKENS) * ROW_STEP_TOKENS
    sizes = dict.fromkeys([*range(shortest, max_source, ROW_STEP_TOKENS), max_source])
    return min((first_fit_pairs(source, target, size, max_target) for size in sizes), key=lambda packing: packing.size)


def first_fit_pairs(source: np.ndarray, target: np.ndarray, max_source: int, max_target: int) -> Packing:
    """Return the packing of pairs by first fit, the longest source first, into rows that have room for both sides.

    Rows have `max_source` positions for the encoder, and for the decoder as many as the fullest row needs.
    """
    row, source_begin, target_begin = (np.zeros(len(source), np.int64) for _ in range(3))
    used: list[list[int]] = []  # tokens of each row so far, for the encoder and for the decoder
    for pair in np.argsort(-source, kind="stable").tolist():
        n_source, n_target = int(source[pair]), int(target[pair])
        rooms = enumerate(used)
        at = next((k for k, (a, b) in rooms if a + n_source <= max_source and b + n_target <= max_target), len(used))
        if at == len(used):
            used.append([0, 0])
        row[pair], source_begin[pair], target_begin[pair] = at, *used[at]
        used[at][0] += n_source
        used[at][1] += n_target
    return Packing(row, source_begin, target_begin, len(used), max_source, max((b for _, b in used), default=1))
