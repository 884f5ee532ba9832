"""Batches are gathered, not collated: a data set is a few arrays, a batch one indexing by a list of rows.

Batch k is a function of (seed, k) alone. To resume is to start the stream at the checkpoint's step.
"""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler


class InfiniteSampler(Sampler[tuple[int, Tensor, float]]):
    """Endless batches `(k, rows, weight)`. Every row comes once an epoch, in an order that follows from (seed, epoch).

    An epoch's last batch is short where `batch_size` doesn't divide `n_rows`. Each of `world` processes takes
    its share of every batch; `weight` makes the mean of their losses the loss of the whole batch.
    `rows` lie on `device`: an epoch's order is sent there as a whole.
    """

    def __init__(
        self,
        n_rows: int,
        batch_size: int,
        seed: int,
        start: int = 0,
        rank: int = 0,
        world: int = 1,
        device: torch.device | str = "cpu",
    ):
        self.n_rows, self.batch_size, self.seed = n_rows, min(batch_size, n_rows), seed
        self.start, self.rank, self.world, self.device = start, rank, world, device
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.int64)

    @property
    def batches_per_epoch(self) -> int:
        return -(-self.n_rows // self.batch_size)

    def rows(self, k: int) -> Tensor:
        """(B,) int64, this process's rows of batch k; none, where the batch is smaller than `world`"""
        return self.batch(k)[self.rank :: self.world]

    def batch(self, k: int) -> Tensor:
        """(B,) int64, the rows of batch k, all processes' together"""
        epoch, position = divmod(k, self.batches_per_epoch)
        if epoch != self._epoch:
            order = np.random.default_rng([self.seed, 4, epoch]).permutation(self.n_rows)
            self._epoch, self._order = epoch, torch.from_numpy(order).to(self.device)
        start = position * self.batch_size
        return self._order[start : start + self.batch_size]

    def __iter__(self) -> Iterator[tuple[int, Tensor, float]]:
        for k in itertools.count(self.start):
            share, whole = self.rows(k), self.batch(k)
            # A process without a share computes on a row that counts for nothing: all must take the step together.
            yield k, share if len(share) else whole[:1], len(share) * self.world / len(whole)


MAX_BYTES_ON_DEVICE = 2**30  # bytes
EVAL_BATCH_ROWS = 4096  # of a table, in a validation batch
EVAL_BATCH_IMAGES = 256  # what convolutions make of more at once falls out of a CPU's cache: twice the time


class ArrayDataset(Dataset[dict[str, Any]]):
    """Named arrays of N rows each; `rows[k, index, weight]` is the batch of these rows, with its number and weight.

    `number` (N,) is what their owner calls the rows: where they lie in his file. Without it they are counted from 0.
    """

    split = "val"  # as which they are watched
    throughput_unit = ""  # what a pace is told in (tokens, examples); "": none is
    units_per_row: float = 1  # how many of those a row has
    row_name = "rows of the file"  # what `number` counts

    def __init__(self, arrays: Mapping[str, np.ndarray | Tensor], row_ids: np.ndarray | None = None):
        self.arrays = {name: torch.as_tensor(array) for name, array in arrays.items()}
        self.row_ids = np.arange(len(self)) if row_ids is None else row_ids

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    @property
    def eval_batch_size(self) -> int:
        """Rows of a validation batch"""
        holds_images = any(array.dim() > 2 for array in self.arrays.values())  # or grids of codes
        return EVAL_BATCH_IMAGES if holds_images else EVAL_BATCH_ROWS

    @property
    def device(self) -> torch.device:
        return next(iter(self.arrays.values())).device

    def on(self, device: torch.device) -> "ArrayDataset":
        """The same rows on a device, so that it needn't wait for each batch; as they are, where they are too many."""
        if sum(array.nbytes for array in self.arrays.values()) > MAX_BYTES_ON_DEVICE:
            return self
        return ArrayDataset({name: array.to(device) for name, array in self.arrays.items()}, self.row_ids)

    def take(self, which: np.ndarray) -> "ArrayDataset":
        """Some of the rows, by index or by truth (N,)"""
        return ArrayDataset(
            {name: array[torch.from_numpy(which)] for name, array in self.arrays.items()}, self.row_ids[which]
        )

    def __getitem__(self, which: tuple[int, Tensor | slice, float]) -> dict[str, Any]:
        k, index, weight = which
        return {name: array[index] for name, array in self.arrays.items()} | {"k": k, "weight": weight}


def endless_loader(rows: ArrayDataset, stream: InfiniteSampler) -> DataLoader:
    return DataLoader(rows, batch_size=None, sampler=stream, collate_fn=_as_it_is)


def ordered_loader(rows: ArrayDataset, batch_size: int) -> DataLoader:
    """All rows once, in order; a batch's weight is how many rows it has."""
    starts = range(0, len(rows), batch_size)
    slices = [
        (k, slice(start, start + batch_size), float(min(batch_size, len(rows) - start)))
        for k, start in enumerate(starts)
    ]
    return DataLoader(rows, batch_size=None, sampler=slices, collate_fn=_as_it_is)


def _as_it_is(batch: Any) -> Any:
    return batch
