"""How rare each value of a row is within its own column, whatever the other columns say."""

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ssl_cli.config.types import Count
from ssl_cli.methods.columns import Categories, rank_categories
from ssl_cli.methods.detectors.saved_arrays import WEIGHTS, check_shapes

TAIL_STEP = 1.5  # ratio of the numbers of rows beyond two neighbouring bins of a tail
UNSEEN = 0.5  # rows added to each bin, so that a bin without training rows has a finite surprisal
SHAPES = {"edges": "C E", "surprisal": "C F", "tail": "C F"}  # of the saved arrays; F = E + 1


class Margins:
    """The surprisal of each value under its column's histogram, and how far out in the column's tail it lies.

    Both are minus the logarithm of a probability, estimated by counting training rows:

    - the probability of the value's bin. A column of at most `bins` values, or a category, has a bin for each value,
      and what lies between them was never seen; any other column has `bins` bins of equally many rows (as in HBOS,
      Goldstein and Dengel, 2012).
    - the smaller of the probabilities of a value at most and at least as large (as in ECOD, Li et al., arXiv
      2201.00382). Categories have no tail.

    Of a row only the largest of each counts: in a sum, one odd value would drown among many usual ones.
    """

    def __init__(
        self,
        bins: Annotated[Count, "bins of a column with more values"] = 32,
        categories: Categories | None = None,
    ):
        self.bins, self.categories = bins, categories or []

    def fit(self, x: np.ndarray, seed: int) -> None:
        """Count the training rows (N, D) in the bins of each column; nothing is random."""
        values = rank_categories(x, self.categories)  # (N, C)
        n_numbers = values.shape[1] - len(self.categories)
        tables = [_count(column, self.bins, has_tail=j < n_numbers) for j, column in enumerate(values.T)]
        edges, in_bin, beyond = (torch.from_numpy(_pad(arrays)) for arrays in list(zip(*tables, strict=True))[:3])
        n_rows, n_bins = len(x), torch.tensor([n_bins for *_, n_bins in tables])[:, None]

        def surprisal(n_left_out: int) -> Tensor:
            counts = (in_bin - n_left_out).clamp(min=0) + UNSEEN
            return (-(counts / (n_rows - n_left_out + UNSEEN * n_bins)).log()).float()

        def tail(n_left_out: int) -> Tensor:
            counts = (beyond - n_left_out).clamp(min=0) + 1
            return (-(counts / (n_rows - n_left_out + 1)).log()).clamp(min=0).float()

        self.state = {"edges": edges.float(), "surprisal": surprisal(0), "tail": tail(0)}  # (C, E), 2 of (C, E + 1)
        # For a training row itself: as if only the other rows had been counted.
        self.left_out = surprisal(1), tail(1)

    @property
    def n_columns(self) -> int:
        """The number of columns, a category being one."""
        return len(self.state["edges"])

    def rarity(self, x: Tensor, left_out: bool = False) -> tuple[Tensor, Tensor]:
        """Return the surprisal and the tail of each column of rows (B, D): two of (B, C), numbers before categories.

        `left_out`: the rows are training rows, and don't count for themselves. Only after `fit`, not after `restore`.
        """
        values = torch.from_numpy(rank_categories(x.numpy(), self.categories)).T.contiguous()  # (C, B)
        bins = torch.searchsorted(self.state["edges"], values, right=True)  # (C, B)
        tables = self.left_out if left_out else (self.state["surprisal"], self.state["tail"])
        surprisal, tail = (table.gather(1, bins).T for table in tables)
        return surprisal, tail

    def rarity_by_column(self, x: Tensor, columns: list[slice]) -> tuple[Tensor, Tensor]:
        """Return the largest surprisal and tail of the features of each column of rows (B, D): two of (B, columns)."""
        in_block = [feature for start, end in self.categories for feature in range(start, end)]
        starts = [feature for feature in range(x.shape[1]) if feature not in set(in_block)]
        starts += [start for start, _ in self.categories]  # the feature at which each column of `rarity` starts
        members = [[j for j, start in enumerate(starts) if column.start <= start < column.stop] for column in columns]
        surprisal, tail = self.rarity(x)

        def largest(of_features: Tensor) -> Tensor:
            return torch.stack([of_features[:, own].amax(1) for own in members], dim=1)  # (B, columns)

        return largest(surprisal), largest(tail)

    def save(self, folder: Path) -> None:
        """Write the counts into a run folder."""
        save_file(self.state, folder / WEIGHTS)

    def restore(self, folder: Path) -> None:
        """Read the counts back."""
        state = load_file(folder / WEIGHTS)
        check_shapes(folder / WEIGHTS, state, SHAPES)
        self.state = state


def _count(values: np.ndarray, max_bins: int, has_tail: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Return edges (E,) of a column's values (N,); the rows in the bin, and beyond it, (E + 1,) each; and the bins.

    Bin i has the values that i edges are at most as large as. The last number counts the bins that share probability.
    """
    distinct, counts = np.unique(values, return_counts=True)
    ordered = np.sort(values)
    if len(distinct) <= max_bins:
        edges, in_bin = _bin_each_value(distinct, counts)
        n_bins = len(distinct) + 1
    else:
        edges, in_bin = _bin_ranges(ordered, max_bins)
        n_bins = max_bins + 1
    if not has_tail:
        return edges, in_bin, np.full(len(edges) + 1, len(values)), n_bins
    at_most = np.searchsorted(ordered, np.append(edges, np.float32(np.inf)), side="left")  # below the bin's end
    at_least = len(values) - np.append(0, np.searchsorted(ordered, edges, side="left"))  # from the bin's start
    return edges, in_bin, np.minimum(at_most, at_least), n_bins


def _bin_each_value(distinct: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return edges (2 V,) around each of V values, and the rows in each bin (2 V + 1,): none between the values."""
    tolerance = np.float32(1e-3) * (np.diff(distinct).min() if len(distinct) > 1 else np.float32(1))
    low = np.minimum(distinct, distinct - tolerance)
    high = np.maximum(np.nextafter(distinct, np.float32(np.inf)), distinct + tolerance)
    in_bin = np.zeros(2 * len(distinct) + 1, dtype=np.int64)
    in_bin[1::2] = counts
    return np.stack([low, high], axis=1).ravel(), in_bin


def _bin_ranges(ordered: np.ndarray, n_bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Return edges (E,) and, for each bin, the rows (E + 1,) in the range, of equally many rows, that it is part of.

    Ranges are divided at ranks that grow by half from both ends, so that tails are resolved.
    """
    n_rows = len(ordered)
    inner = np.unique(np.quantile(ordered, np.linspace(0, 1, n_bins + 1)[1:-1], method="nearest"))
    n_steps = int(np.log(n_rows / 2) / np.log(TAIL_STEP)) + 1
    ranks = np.unique(np.floor(TAIL_STEP ** np.arange(n_steps)).astype(np.int64)) - 1  # 0, 1, 2, 4, 6, ...
    beyond_all = np.nextafter(ordered[-1], np.float32(np.inf))
    edges = np.unique(np.concatenate([inner, ordered[ranks], ordered[n_rows - 1 - ranks], [beyond_all]]))
    rows_of_range = np.bincount(np.searchsorted(inner, ordered, side="right"), minlength=len(inner) + 1)
    range_of_bin = np.append(0, np.searchsorted(inner, edges, side="right"))  # (E + 1,)
    return edges, rows_of_range[range_of_bin]


def _pad(arrays: tuple[np.ndarray, ...]) -> np.ndarray:
    """Return arrays of different lengths as rows: edges padded with infinity, counts with their last one."""
    width = max(map(len, arrays))
    by = {"constant_values": np.inf} if arrays[0].dtype.kind == "f" else {"mode": "edge"}
    return np.stack([np.pad(array, (0, width - len(array)), **by) for array in arrays])
