"""Examples of different lengths -> batches without padding: packed into a few rows, each example by itself in them.

A batch is as many rows as its examples need, several in a row, and `document` keeps attention within each. What a
usual tool fills up with padding (SST-2: nine tenths of a batch padded to 128) is never computed.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl_cli.data.batches import ArrayDataset

IGNORED = -100  # a token without a target
SHORTEST = 128  # tokens in a row, where no example is longer: shorter rows are no faster, and fill up less well
EVAL_BATCH_EXAMPLES = 64  # examples of a validation batch
STEP, MANY = 8, 64  # tokens by which rows differ that are tried; sequences of a batch for which none are


@dataclass(frozen=True)
class TokenizedSequences:
    """Framed texts one after another: `length` (S,), and by token, (N,): `ids`, `segment` (0 or 1), and others, whole
    numbers as small as will hold them: a batch has them as int64."""

    length: np.ndarray
    tokens: Mapping[str, np.ndarray]
    fill: Mapping[str, int] = field(default_factory=dict)  # of what isn't 0 where a row has room left

    @classmethod
    def of(
        cls, listed: Mapping[str, Sequence[Sequence[int]]], fill: Mapping[str, int] | None = None
    ) -> "TokenizedSequences":
        """Of lists: name -> for each sequence its tokens' values."""
        length = np.array([len(ids) for ids in listed["ids"]], np.int64)
        flat = {
            name: np.fromiter((value for one in lists for value in one), np.int32, int(length.sum()))
            for name, lists in listed.items()
        }
        return cls(length, flat, fill or {})


class PackedExamples(ArrayDataset):
    """Examples, each of one sequence; with `parts` (E + 1,), of several, such as a question with each of its options.

    A batch of B examples, which are S sequences (S = B without `parts`), has by token (R, L) all of `sequences.tokens`,
    and `document`, which differs between sequences; `begin` (S,): where each begins in the R * L tokens, `length` (S,);
    with `parts` also `example` (S,), which of the batch's examples a sequence is of; by example, (B, ...), all of
    `targets`. `lost`: what had to be cut off or left out, a sentence each.
    """

    split = "dev"
    throughput_unit = "examples"
    row_name = "examples"

    def __init__(
        self,
        sequences: TokenizedSequences,
        targets: Mapping[str, np.ndarray],
        row_ids: np.ndarray,
        parts: np.ndarray | None = None,
        warnings: Sequence[str] = (),
    ):
        self.sequences, self.parts, self.warnings = sequences, parts, tuple(warnings)
        self.row_ids = row_ids
        self.units_per_row = len(np.unique(row_ids)) / max(len(row_ids), 1)  # examples: long ones are several rows
        self.starts = np.r_[0, np.cumsum(sequences.length)][:-1]  # (S,)
        self.row_length = max(SHORTEST, int(sequences.length.max(initial=0)))
        self.tokens = {name: torch.from_numpy(values) for name, values in sequences.tokens.items()}
        self.targets = {name: torch.as_tensor(values) for name, values in targets.items()}

    def with_row_length(self, context: int) -> "PackedExamples":
        """The same in rows that a network of a short context can read; no example may be longer than that."""
        same = copy.copy(self)
        same.row_length = min(self.row_length, context)
        assert same.row_length >= self.sequences.length.max(initial=0), "an example is longer than the context"
        return same

    def __len__(self) -> int:
        return len(self.row_ids)

    @property
    def device(self) -> torch.device:
        return self.tokens["ids"].device

    @property
    def eval_batch_size(self) -> int:
        return EVAL_BATCH_EXAMPLES

    def on(self, device: torch.device) -> "PackedExamples":
        there = copy.copy(self)
        there.tokens = {name: values.to(device) for name, values in self.tokens.items()}
        there.targets = {name: values.to(device) for name, values in self.targets.items()}
        return there

    def take(self, which: np.ndarray) -> "PackedExamples":
        raise NotImplementedError("no verb takes a part of labelled examples")

    def __getitem__(self, which: tuple[int, Tensor | np.ndarray | slice, float]) -> dict[str, Any]:
        k, index, weight = which
        chosen = np.arange(len(self))[index if isinstance(index, slice) else torch.as_tensor(index).cpu().numpy()]
        sequence, example = self._sequences_of(chosen)
        length = self.sequences.length[sequence]
        row_length, begin = tightest(length, self.row_length)
        n_rows = int(begin.max(initial=0)) // row_length + 1
        size, total = n_rows * row_length, int(length.sum())
        # Token t of the batch is token `source[t]` of all, and stands at `place[t]` of the rows.
        along = np.arange(total) - np.repeat(np.cumsum(length) - length, length)
        source = torch.from_numpy(np.repeat(self.starts[sequence], length) + along).to(self.device)
        place = torch.from_numpy(np.repeat(begin, length) + along).to(self.device)
        document = np.full(size, len(sequence), np.int64)  # what is left over in a row is a document of its own
        document[np.repeat(begin, length) + along] = np.repeat(np.arange(len(sequence)), length)

        batch: dict[str, Any] = {}
        for name, values in self.tokens.items():
            row = torch.full((size,), self.sequences.fill.get(name, 0), dtype=torch.int64, device=self.device)
            batch[name] = row.index_copy_(0, place, values[source].long()).view(n_rows, -1)
        batch["document"] = torch.from_numpy(document).to(self.device).view(n_rows, -1)
        batch["begin"] = torch.from_numpy(begin).to(self.device)
        batch["length"] = torch.from_numpy(length).to(self.device)
        if self.parts is not None:
            batch["example"] = torch.from_numpy(example).to(self.device)
        at = torch.from_numpy(chosen).to(self.device)
        return batch | {name: values[at] for name, values in self.targets.items()} | {"k": k, "weight": weight}

    def _sequences_of(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(S,) each: the sequences of some examples, and which of these each is of"""
        if self.parts is None:
            return chosen, np.arange(len(chosen))
        n_parts = np.diff(self.parts)[chosen]
        nth = np.arange(n_parts.sum()) - np.repeat(np.cumsum(n_parts) - n_parts, n_parts)
        return np.repeat(self.parts[:-1][chosen], n_parts) + nth, np.repeat(np.arange(len(chosen)), n_parts)


def tightest(length: np.ndarray, most: int) -> tuple[int, np.ndarray]:
    """How long rows are and where each sequence begins (S,), so that few tokens are left over: of a few short texts
    an eighth, in rows of 128; of many it makes no difference, and trying takes its time."""
    if len(length) > MANY:
        return most, packed(length, most)
    longest = -(-int(length.max(initial=1)) // STEP) * STEP
    tried = [(size, packed(length, size)) for size in dict.fromkeys([*range(longest, most, STEP), most])]
    return min(tried, key=lambda one: (one[1].max(initial=0) // one[0] + 1) * one[0])


def packed(length: np.ndarray, row_length: int) -> np.ndarray:
    """(S,) -> (S,): where each sequence begins, in as few rows as the longest-first first-fit rule needs.

    A sequence is never parted between rows.
    """
    begin = np.zeros(len(length), np.int64)
    free: list[int] = []  # in each row so far
    for number in np.argsort(-length, kind="stable").tolist():
        needed = int(length[number])
        row = next((row for row, room in enumerate(free) if room >= needed), len(free))
        if row == len(free):
            free.append(row_length)
        begin[number] = row * row_length + row_length - free[row]
        free[row] -= needed
    return begin
