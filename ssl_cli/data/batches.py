"""Batches gathered rather than collated: a dataset is a few arrays, and a batch is one indexing by a list of rows.

Batch k is a function of (seed, k) alone. To resume a run, start the stream at the checkpoint's step.
"""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler


class InfiniteSampler(Sampler[tuple[int, Tensor, float]]):
    """Endless batches `(k, rows, weight)`. Each epoch has every row once, in an order that follows from (seed, epoch).

    The last batch of an epoch is short if `batch_size` does not divide `n_rows`. With `limit_batches` an epoch ends
    after so many batches: the next one begins with others, in its own order. Each of `world` processes takes its
    share of every batch; `weight` makes the mean of their losses equal to the loss of the whole batch.
    `rows` are on `device`: the order of an epoch is sent there as a whole.
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
        limit_batches: int | None = None,
    ):
        self.n_rows, self.batch_size, self.seed = n_rows, min(batch_size, n_rows), seed
        self.limit_batches = limit_batches
        self.start, self.rank, self.world, self.device = start, rank, world, device
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.int64)

    @property
    def batches_per_epoch(self) -> int:
        """Return the number of batches in an epoch, a short last one included."""
        n_batches = -(-self.n_rows // self.batch_size)
        return n_batches if self.limit_batches is None else min(n_batches, self.limit_batches)

    def rows(self, k: int) -> Tensor:
        """Return this process's rows of batch k, (B,) int64; possibly none if the batch is smaller than `world`."""
        return self.batch(k)[self.rank :: self.world]

    def batch(self, k: int) -> Tensor:
        """Return the rows of batch k of all processes together, (B,) int64."""
        epoch, position = divmod(k, self.batches_per_epoch)
        if epoch != self._epoch:
            order = np.random.default_rng([self.seed, 4, epoch]).permutation(self.n_rows)
            self._epoch, self._order = epoch, torch.from_numpy(order).to(self.device)
        start = position * self.batch_size
        return self._order[start : start + self.batch_size]

    def __iter__(self) -> Iterator[tuple[int, Tensor, float]]:
        for k in itertools.count(self.start):
            whole = self.batch(k)
            share = self.rows(k) if self.world > 1 else whole
            # All processes must take the step together: one without rows computes on a row of weight 0.
            yield k, share if len(share) else whole[:1], len(share) * self.world / len(whole)


MAX_BYTES_ON_DEVICE = 2**30  # bytes
EVAL_BATCH_ROWS = 4096  # rows of a table in a validation batch
EVAL_BATCH_TOKEN_ROWS = 128
EVAL_BATCH_IMAGES = 256  # with more, the activations of convolutions no longer fit a CPU's cache: twice the time


class ArrayDataset(Dataset[dict[str, Any]]):
    """Named arrays of N rows each; `dataset[k, index, weight]` is the batch of these rows, with its number and weight.

    `row_ids` (N,) are the numbers by which the user knows the rows, such as their position in the file. By default,
    rows are numbered from 0.
    """

    split = "val"  # the split's name when it is evaluated during training
    throughput_unit = ""  # the unit of throughput (tokens, examples); "" if none is reported
    units_per_row: float = 1  # how many of these units a row has
    row_name = "rows of the file"  # what `row_ids` number

    def __init__(self, arrays: Mapping[str, np.ndarray | Tensor], row_ids: np.ndarray | None = None):
        self.arrays = {name: torch.as_tensor(array) for name, array in arrays.items()}
        self.row_ids = np.arange(len(self)) if row_ids is None else row_ids

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def __deepcopy__(self, _: dict[int, Any]) -> "ArrayDataset":
        return self  # an average of the weights copies the module that holds the rows, which nothing changes

    @property
    def eval_batch_size(self) -> int:
        """Return the number of rows of a validation batch."""
        holds_images = any(array.dim() > 2 for array in self.arrays.values())  # or grids of codes
        return EVAL_BATCH_IMAGES if holds_images else EVAL_BATCH_ROWS

    @property
    def device(self) -> torch.device:
        """Return the device that holds the arrays."""
        return next(iter(self.arrays.values())).device

    def on(self, device: torch.device) -> "ArrayDataset":
        """Return the same rows on a device, so that no batch has to be copied; unchanged if they are too large."""
        if sum(array.nbytes for array in self.arrays.values()) > MAX_BYTES_ON_DEVICE:
            return self
        return ArrayDataset({name: array.to(device) for name, array in self.arrays.items()}, self.row_ids)

    def whole(self) -> "ArrayDataset":
        """Return the rows as they are outside of training, each whole: a subclass may crop them at random."""
        return self

    def take(self, selection: np.ndarray) -> "ArrayDataset":
        """Return a subset of the rows, selected by indices or by a boolean mask (N,)."""
        return ArrayDataset(
            {name: array[torch.from_numpy(selection)] for name, array in self.arrays.items()}, self.row_ids[selection]
        )

    def __getitem__(self, item: tuple[int, Tensor | slice, float]) -> dict[str, Any]:
        k, index, weight = item
        return {name: array[index] for name, array in self.arrays.items()} | {"k": k, "weight": weight}


class TokenRows(ArrayDataset):
    """Rows of padded tokens, of which a network predicts each from its whole vocabulary."""

    @property
    def eval_batch_size(self) -> int:
        """Return the number of rows of a validation batch: their logits are in memory together."""
        return EVAL_BATCH_TOKEN_ROWS

    def on(self, device: torch.device) -> Self:
        """Return the same rows on a device."""
        return type(self)({name: array.to(device) for name, array in self.arrays.items()}, self.row_ids)

    def take(self, selection: np.ndarray) -> Self:
        """Return some of the rows."""
        chosen = torch.from_numpy(selection)
        return type(self)({name: array[chosen] for name, array in self.arrays.items()}, self.row_ids[selection])


def batch_stream(dataset: ArrayDataset, sampler: InfiniteSampler) -> Iterator[dict[str, Any]]:
    """Return the endless training batches."""
    return map(dataset.__getitem__, sampler)


def ordered_loader(dataset: ArrayDataset, batch_size: int) -> DataLoader:
    """Return a loader of all rows once, in order; the weight of a batch is its number of rows."""
    starts = range(0, len(dataset), batch_size)
    slices = [
        (k, slice(start, start + batch_size), float(min(batch_size, len(dataset) - start)))
        for k, start in enumerate(starts)
    ]
    return DataLoader(dataset, batch_size=None, sampler=slices, collate_fn=_identity)


def _identity(batch: Any) -> Any:
    return batch
