"""The first batch whose loss is NaN or infinite, recorded without making a GPU wait, and known to every process."""

import math

import torch
from torch import Tensor

NO_BATCH = 2**62  # larger than any batch number


class NonFiniteLoss:
    """The number of the first batch with a NaN or infinite loss, if there is one."""

    def __init__(self) -> None:
        self._first: Tensor | None = None  # number of the first batch, or NO_BATCH; None before the first step

    def record(self, k: int, loss: Tensor) -> None:
        """Record batch `k` if it is the first. On a GPU nothing is read back, because reading would make it wait."""
        if loss.device.type == "cpu":
            if not (self.occurred() or math.isfinite(loss)):
                self._first = torch.tensor(k)
            return
        this = torch.full((), k, dtype=torch.int64, device=loss.device)
        if self._first is None:
            self._first = torch.full_like(this, NO_BATCH)
        self._first = torch.where(torch.isfinite(loss), self._first, torch.minimum(self._first, this))

    def occurred(self) -> bool:
        """Return whether a batch has been recorded."""
        return self._first is not None and int(self._first) < NO_BATCH

    @property
    def batch(self) -> int:
        """The number of the recorded batch."""
        assert self._first is not None
        return int(self._first)

    def synchronize(self, device: torch.device) -> None:
        """Give every process of a distributed run the first batch that any of them has recorded."""
        if self._first is None:  # this process has taken no step yet
            self._first = torch.full((), NO_BATCH, dtype=torch.int64, device=device)
        torch.distributed.all_reduce(self._first, torch.distributed.ReduceOp.MIN)
