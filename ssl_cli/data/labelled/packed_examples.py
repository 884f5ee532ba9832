"""Batches of examples of different lengths without padding: packed into a few rows, attention kept within each example.

A batch has as many rows as its examples need, with several examples in a row; `document` keeps attention within each.
What other tools fill with padding (SST-2: nine tenths of a batch padded to 128) is never computed.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from ssl_cli.data.batches import ArrayDataset

IGNORE_INDEX = -100  # a token without a target
MIN_ROW_TOKENS = 128  # of a row in a large batch: shorter rows are not faster, and leave more tokens empty
EVAL_BATCH_EXAMPLES = 64  # examples of a validation batch
ROW_STEP_TOKENS = 8  # difference between the row lengths that are tried
MAX_SEARCHED_SEQUENCES = 64  # a batch of more sequences has rows of the full length


@dataclass(frozen=True)
class TokenizedSequences:
    """Tokens of all sequences, one after another.

    `length` (S,); `tokens`: arrays (N,) of `ids`, `segment` (0 or 1), and others, in the smallest integer type that
    holds them (a batch has them as int64). `fill_values`: the value of an empty position in a row, if it is not 0.
    """

    length: np.ndarray
    tokens: Mapping[str, np.ndarray]
    fill_values: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def from_lists(
        cls, lists: Mapping[str, Sequence[Sequence[int]]], fill_values: Mapping[str, int] | None = None
    ) -> "TokenizedSequences":
        """Build from lists: `lists[name][s]` are the values of sequence s, one per token."""
        length = np.array([len(ids) for ids in lists["ids"]], np.int64)
        tokens = {
            name: np.fromiter((value for row in rows for value in row), np.int32, int(length.sum()))
            for name, rows in lists.items()
        }
        return cls(length, tokens, fill_values or {})


class PackedExamples(ArrayDataset):
    """Labelled examples of one sequence each; or, with `example_offsets` (E + 1,), of several.

    An example of several sequences is, for instance, a question with each of its options. A batch of B examples with S
    sequences (S = B without `example_offsets`), packed into R rows of L tokens, has:

    - per token, (R, L): all of `sequences.tokens`, and `document`, which differs between sequences;
    - per sequence, (S,): `begin`, its first position in the R * L tokens; `length`; with `example_offsets` also
      `example`, the index of its example in the batch;
    - per example, (B, ...): all of `targets`.

    `warnings`: one message for each kind of thing that had to be cut or left out.
    """

    split = "dev"
    throughput_unit = "examples"
    row_name = "examples"

    def __init__(
        self,
        sequences: TokenizedSequences,
        targets: Mapping[str, np.ndarray],
        row_ids: np.ndarray,
        example_offsets: np.ndarray | None = None,
        warnings: Sequence[str] = (),
    ):
        self.sequences, self.example_offsets, self.warnings = sequences, example_offsets, tuple(warnings)
        self.row_ids = row_ids
        self.units_per_row = len(np.unique(row_ids)) / max(len(row_ids), 1)  # a long example has several rows
        self.sequence_starts = np.r_[0, np.cumsum(sequences.length)][:-1]  # (S,)
        self.row_length = max(MIN_ROW_TOKENS, int(sequences.length.max(initial=0)))
        self.tokens = {name: torch.from_numpy(values) for name, values in sequences.tokens.items()}
        self.targets = {name: torch.as_tensor(values) for name, values in targets.items()}

    def with_row_length(self, context: int) -> Self:
        """Return a copy whose rows fit a network of a short context. No example may be longer than the context."""
        same = copy.copy(self)
        same.row_length = min(self.row_length, context)
        assert same.row_length >= self.sequences.length.max(initial=0), "an example is longer than the context"
        return same

    def __len__(self) -> int:
        return len(self.row_ids)

    @property
    def device(self) -> torch.device:
        """The device that holds the tokens."""
        return self.tokens["ids"].device

    @property
    def eval_batch_size(self) -> int:
        """The number of examples in a validation batch."""
        return EVAL_BATCH_EXAMPLES

    def on(self, device: torch.device) -> "PackedExamples":
        """Return a copy whose tokens and targets are on a device."""
        moved = copy.copy(self)
        moved.tokens = {name: values.to(device) for name, values in self.tokens.items()}
        moved.targets = {name: values.to(device) for name, values in self.targets.items()}
        return moved

    def take(self, which: np.ndarray) -> "PackedExamples":
        """Not supported: no verb takes a subset of labelled examples."""
        raise NotImplementedError("no verb takes a subset of labelled examples")

    def __getitem__(self, which: tuple[int, Tensor | np.ndarray | slice, float]) -> dict[str, Any]:
        k, index, weight = which
        chosen = np.arange(len(self))[index if isinstance(index, slice) else torch.as_tensor(index).cpu().numpy()]
        sequence, example = self._sequences_of(chosen)
        length = self.sequences.length[sequence]
        row_length, begin = choose_row_length(length, self.row_length)
        n_rows = int(begin.max(initial=0)) // row_length + 1
        size, total = n_rows * row_length, int(length.sum())
        # Token t of the batch is token `source[t]` of the data set, and goes to `position[t]` of the rows.
        within = np.arange(total) - np.repeat(np.cumsum(length) - length, length)
        source = torch.from_numpy(np.repeat(self.sequence_starts[sequence], length) + within).to(self.device)
        position = torch.from_numpy(np.repeat(begin, length) + within).to(self.device)
        document = np.full(size, len(sequence), np.int64)  # the empty positions are a document of their own
        document[np.repeat(begin, length) + within] = np.repeat(np.arange(len(sequence)), length)

        batch: dict[str, Any] = {}
        for name, values in self.tokens.items():
            row = torch.full((size,), self.sequences.fill_values.get(name, 0), dtype=torch.int64, device=self.device)
            batch[name] = row.index_copy_(0, position, values[source].long()).view(n_rows, -1)
        batch["document"] = torch.from_numpy(document).to(self.device).view(n_rows, -1)
        batch["begin"] = torch.from_numpy(begin).to(self.device)
        batch["length"] = torch.from_numpy(length).to(self.device)
        if self.example_offsets is not None:
            batch["example"] = torch.from_numpy(example).to(self.device)
        at = torch.from_numpy(chosen).to(self.device)
        return batch | {name: values[at] for name, values in self.targets.items()} | {"k": k, "weight": weight}

    def _sequences_of(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the sequences of the chosen examples (S,), and the position of each one's example in `chosen` (S,)."""
        if self.example_offsets is None:
            return chosen, np.arange(len(chosen))
        counts = np.diff(self.example_offsets)[chosen]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.repeat(self.example_offsets[:-1][chosen], counts) + within, np.repeat(np.arange(len(chosen)), counts)


def choose_row_length(length: np.ndarray, max_length: int) -> tuple[int, np.ndarray]:
    """Return the row length that leaves the fewest tokens empty, and where each sequence begins (S,).

    In a batch of a few short texts, rows of 128 tokens leave an eighth empty. In a batch of many the row length makes
    no difference, and the search takes time.
    """
    if len(length) > MAX_SEARCHED_SEQUENCES:
        return max_length, pack_first_fit(length, max_length)
    shortest = -(-int(length.max(initial=1)) // ROW_STEP_TOKENS) * ROW_STEP_TOKENS
    sizes = dict.fromkeys([*range(shortest, max_length, ROW_STEP_TOKENS), max_length])
    packings = [(size, pack_first_fit(length, size)) for size in sizes]
    return min(packings, key=lambda packing: (packing[1].max(initial=0) // packing[0] + 1) * packing[0])


def pack_first_fit(length: np.ndarray, row_length: int) -> np.ndarray:
    """Return where each sequence begins, (S,) -> (S,), in rows packed by the first-fit-decreasing rule.

    A sequence is never split between rows.
    """
    begin = np.zeros(len(length), np.int64)
    free: list[int] = []  # tokens left in each row
    for index in np.argsort(-length, kind="stable").tolist():
        needed = int(length[index])
        row = next((row for row, room in enumerate(free) if room >= needed), len(free))
        if row == len(free):
            free.append(row_length)
        begin[index] = row * row_length + row_length - free[row]
        free[row] -= needed
    return begin
