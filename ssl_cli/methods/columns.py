"""Features of a table's columns: a category is one column, and must weigh as one, however many features it has.

A category is a block of one-hot features. The feature of a rare value has a tiny variance, so once it is standardised,
a row with that value lies far from all others. A detector that standardises therefore scales the block as a whole.
"""

from typing import Annotated, TypeVar

import numpy as np
import torch
from torch import Tensor

from ssl_cli.config.types import Natural
from ssl_cli.errors import InputError

Categories = Annotated[list[list[Natural]], "first and end feature of each category's block, [] if there are none"]
USUAL_ROWS = 512  # training rows that show how much a column usually contributes
Array = TypeVar("Array", np.ndarray, Tensor)


def pool_by_category(variance: Array, categories: Categories) -> Array:
    """Return the variances (D,) with that of each of a category's features replaced by their sum.

    The sum is the variance of the category as a whole: half the mean squared distance of two rows in it.
    """
    pooled = variance + 0  # a copy, of either library
    for start, end in categories:
        pooled[start:end] = variance[start:end].sum()
    return pooled


def rank_categories(x: np.ndarray, categories: Categories) -> np.ndarray:
    """Return rows (N, D) with each category as one last feature: 0 for its most frequent value, 1 for the next, ...

    Raises InputError if a block does not lie within the features.
    """
    is_number, ranks = np.ones(x.shape[1], dtype=bool), []
    for block in categories:
        if len(block) != 2 or not block[0] < block[1] <= x.shape[1]:
            raise InputError(f"facts.categories has {block}, which is no block of the {x.shape[1]} features.")
        is_number[slice(*block)] = False
        ranks.append(x[:, slice(*block)].argmax(1))
    return np.column_stack([x[:, is_number], *ranks]).astype(x.dtype)


def sum_by_column(contributions: Tensor, columns: list[slice]) -> Tensor:
    """Return the sum over the features of each column, (B, D) -> (B, columns)."""
    return torch.stack([contributions[:, column].sum(1) for column in columns], dim=1)


def beyond_usual(contributions: Tensor, usual: Tensor) -> Tensor:
    """Return by how much each column's contribution exceeds its usual one, (B, columns) and (columns,).

    In a row where no column exceeds it, the contributions themselves are returned; negative ones are 0.
    """
    excess = (contributions - usual).clamp(min=0)
    return torch.where(excess.sum(1, keepdim=True) > 0, excess, contributions.clamp(min=0))


def spread_over(n_rows: int, n_chosen: int) -> np.ndarray:
    """Return the indices of at most `n_chosen` of N rows, evenly spaced."""
    return np.unique(np.linspace(0, n_rows - 1, min(n_rows, n_chosen)).astype(np.int64))
