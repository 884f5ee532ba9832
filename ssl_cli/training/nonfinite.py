"""The first batch whose loss is NaN or infinite: noted without stopping a GPU, made known to every process."""

import math

import torch
from torch import Tensor

FINE = 2**62  # no batch has this number


class NonFiniteLoss:
    def __init__(self) -> None:
        self._first: Tensor | None = None  # the number of the first batch, or FINE

    def note(self, k: int, loss: Tensor) -> None:
        """Remember batch `k` where it is the first. A GPU is asked nothing: an answer would stop it."""
        if loss.device.type == "cpu":
            if not (self.is_there() or math.isfinite(loss)):
                self._first = torch.tensor(k)
            return
        first = torch.full((), k, dtype=torch.int64, device=loss.device)
        if self._first is None:
            self._first = torch.full_like(first, FINE)
        self._first = torch.where(torch.isfinite(loss), self._first, torch.minimum(self._first, first))

    def is_there(self) -> bool:
        return self._first is not None and int(self._first) < FINE

    @property
    def batch(self) -> int:
        """Its number, where it is there"""
        assert self._first is not None
        return int(self._first)

    def share(self, device: torch.device) -> None:
        """Every process of a distributed run learns the batch."""
        if self._first is None:  # this one has taken no step yet
            self._first = torch.full((), FINE, dtype=torch.int64, device=device)
        torch.distributed.all_reduce(self._first, torch.distributed.ReduceOp.MIN)
