"""Explanation of a distance in features and their residuals: which column of a row is to blame.

Two views, and a column must stand out in both. Near: what the squared distance to the nearest training rows owes to the
column. Linear: how far the column is from its linear expectation, given the row's other columns. The first alone also
blames what the neighbours had to give up to be near, the second sees no rule but a linear one.
"""

import torch
from torch import Tensor

from ssl_cli.methods.columns import Categories


def distance_parts(difference: Tensor, residual: Tensor, residual_std: Tensor) -> Tensor:
    """Return each feature's part (..., D) of the squared length of `difference` (..., 2 D), of features and residuals.

    `residual` (D, D) makes features residuals, whose standard deviations are `residual_std` (D,). A feature that is off
    changes the residuals of others, too. Its part is what the length owes to it: its difference times half the
    derivative of the squared length. These products add up to the squared length.
    """
    value, of_residual = difference.chunk(2, dim=-1)
    return value * (value + ((of_residual.double() / residual_std) @ residual.T).float())


def mahalanobis_savings(z: Tensor, residual: Tensor, categories: Categories, columns: list[slice]) -> Tensor:
    """Return by how much the squared Mahalanobis distance would fall if a column were as the others predict it.

    `z` (B, D) -> (B, columns), each over the column's degrees of freedom: the number of its features, less one for a
    category. `residual` (D, D) is the precision matrix with each column divided by the root of its diagonal element.
    """
    precision = residual * residual.diagonal()  # (D, D)
    gradient = z @ precision  # (B, D), half the gradient of the squared distance
    savings = []
    for column in columns:
        n_free = column.stop - column.start - ([column.start, column.stop] in categories)
        excess = torch.linalg.solve(precision[column, column], gradient[:, column].T).T  # (B, W)
        savings.append((excess * gradient[:, column]).sum(1) / max(1, n_free))
    return torch.stack(savings, dim=1)


def in_both(near: Tensor, linear: Tensor) -> Tensor:
    """Return the geometric mean of each column's shares of two views, (B, columns) each.

    If no column stands out in both views, the first decides.
    """
    both = (shares(near) * shares(linear).to(near.dtype)).sqrt()
    return torch.where(both.sum(1, keepdim=True) > 0, both, near)


def shares(contributions: Tensor) -> Tensor:
    """Return contributions (B, columns) scaled so that each row adds up to 1."""
    return contributions / contributions.sum(1, keepdim=True).clamp(min=torch.finfo(contributions.dtype).tiny)
