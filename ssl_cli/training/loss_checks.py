"""Checks of a method's losses: that they are scalars, and the first batch in which one is NaN or infinite."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ssl_cli import console
from ssl_cli.errors import InputError

MAX_SHOWN_ROWS = 10  # that a message names
NO_BATCH = 2**62  # larger than any batch number


class NonFiniteLoss:
    """The number of the first batch with a NaN or infinite loss, if there is one; known to every process."""

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


def nonfinite_error(what: str, step: int, row_ids: np.ndarray, row_name: str, saved_step: int) -> InputError:
    """Return the error on a loss or weight (`what`) that became NaN or infinite in a step, with the rows of its batch.

    All rows go to the log.
    """
    console.note(f"rows of the batch that broke: {' '.join(str(row) for row in row_ids.tolist())}")
    shown = ", ".join(str(row) for row in row_ids[:MAX_SHOWN_ROWS].tolist())
    shown += " and others" if len(row_ids) > MAX_SHOWN_ROWS else ""
    last = f"The last good checkpoint is of step {saved_step}." if saved_step else "No checkpoint was written yet."
    return InputError(
        f"{what} became NaN or infinite in step {step}, with the batch of these {len(row_ids)} {row_name} "
        f"(the first is 0; log.txt has them all): {shown}. {last} "
        "Try a smaller optim.lr, or trainer.gradient_clip_val=1: both may change in a resumed run."
    )


def check_losses(method: nn.Module, losses: Any) -> None:
    """Raise InputError if a method, which may be the user's own, returns anything but a dict of scalar losses."""
    if not isinstance(losses, dict):
        returned = f"a {type(losses).__name__}"
    elif "loss" not in losses:
        returned = f"one with {', '.join(map(str, losses)) or 'nothing in it'}"
    elif wrong := [name for name, value in losses.items() if not isinstance(value, Tensor) or value.ndim]:
        value = losses[wrong[0]]
        kind = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        returned = f"one whose {wrong[0]} is {kind}"
    else:
        return
    raise InputError(
        f"{type(method).__name__}.forward must return a dict of scalar tensors, one of them called loss; "
        f"it returns {returned}."
    )
