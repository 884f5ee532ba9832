"""Stretches: the optimizer steps that one Lightning batch stands for.

Lightning's loop costs more time than a step of a small network. So `training_step` takes several steps at once: as
many as fit into TARGET_S, and none beyond a step at which something is due (a validation, a checkpoint, the end).
What a step computes does not depend on how many share its stretch.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

TARGET_S = 0.05  # a signal, a loss that is NaN and the time limit are looked at between stretches
GROWTH = 4  # at most, from one stretch to the next: the first steps of a run are slower than the others


@dataclass(frozen=True)
class StepSettings:
    """What a step is made of, and after which steps something is due; `max_steps` is -1 if only time ends the run."""

    batch_size: int  # rows, over all devices
    batches_per_epoch: int
    accumulate_grad_batches: int
    gradient_clip_val: float | None
    validate_every_n_steps: int
    checkpoint_every_n_steps: int
    max_steps: int
    seed: int
    max_s: float = math.inf  # seconds after which the run ends


class StretchLength:
    """Chooses the number of steps of the next stretch from the time that those of the last one took."""

    proposed = 1  # steps, unless something is due before

    def __init__(self, intervals: Sequence[int], max_steps: int):
        """Something is due at every multiple of `intervals`, in steps, and at `max_steps`, unless that is -1."""
        self.intervals, self.max_steps = intervals, max_steps

    def choose(self, step: int, world: int, device: torch.device) -> int:
        """Return the number of steps to take after `step`; the first of `world` processes decides for all."""
        n = min(self.proposed, self._until_due(step))
        if world > 1:
            shared = torch.tensor(n, device=device)
            torch.distributed.broadcast(shared, 0)
            n = int(shared)
        return n

    def _until_due(self, step: int) -> int:
        left = [interval - step % interval for interval in self.intervals]
        return min(left + ([self.max_steps - step] if self.max_steps > 0 else []))

    def observe(self, n_steps: int, elapsed_s: float) -> None:
        """Record how long a stretch took, and propose the length of the next."""
        fits = int(TARGET_S * n_steps / max(elapsed_s, 1e-9))
        self.proposed = max(1, min(fits, GROWTH * self.proposed))
