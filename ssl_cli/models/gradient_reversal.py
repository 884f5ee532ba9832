"""Gradient reversal: what is below learns to hide what is above learns to find (Ganin et al., arXiv 1505.07818)."""

from typing import Any

import torch
from torch import Tensor


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return -gradient


def reverse_gradient(x: Tensor) -> Tensor:
    """Return x as it is; its gradient has the opposite sign."""
    return _Reversal.apply(x)
