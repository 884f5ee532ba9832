"""Means of losses: over the training batches since the last validation, across processes; and over validation rows."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class LossMeans:
    """Sums of named losses and the numbers of their batches; each process adds its share, weighted by its part of one.

    On a GPU the sums stay there, because reading them would make it wait. The order of addition is that of the batches,
    so a resumed run has the same last digit.
    """

    def __init__(self) -> None:
        self._sums: dict[str, float | Tensor] = {}
        self._n_batches: dict[str, int] = {}  # a loss need not be there in each batch

    def add(self, losses: Mapping[str, Tensor], weight: float) -> None:
        """Add the losses of a batch; `weight` is this process's share of its rows."""
        for name, value in losses.items():
            number = value.item() if value.is_cpu else value.detach().float()
            self._sums[name] = self._sums.get(name, 0.0) + number * weight
            self._n_batches[name] = self._n_batches.get(name, 0) + 1

    def take(self, world: int, device: torch.device) -> dict[str, float]:
        """Return the means over all `world` processes, and begin anew."""
        shares = self._shares(world, device)
        means = {name: float(sum(each)) / self._n_batches[name] for name, each in shares.items()}
        self._sums, self._n_batches = {}, {}
        return means

    def _shares(self, world: int, device: torch.device) -> dict[str, list[float]]:
        """Return the sums of each process, by their `device`."""
        if world == 1 or not self._sums:
            return {name: [float(total)] for name, total in self._sums.items()}
        mine = torch.tensor([float(total) for total in self._sums.values()], dtype=torch.float64, device=device)
        shares = [torch.empty_like(mine) for _ in range(world)]
        torch.distributed.all_gather(shares, mine)
        return dict(zip(self._sums, torch.stack(shares, dim=1).tolist(), strict=True))

    def state(self, world: int, device: torch.device) -> dict[str, Any]:
        """Return the sums of all processes and the numbers of batches, for a checkpoint."""
        return {"sums": self._shares(world, device), "batches": dict(self._n_batches)}

    def restore(self, state: Mapping[str, Any], rank: int, world: int) -> None:
        """Restore this process's sums. On another number of processes, the first one has them all."""
        for name, shares in state["sums"].items():
            self._sums[name] = shares[rank] if len(shares) == world else sum(shares) * (rank == 0)
        self._n_batches = dict(state["batches"])


class ValidationMeans:
    """Sums of named losses over the rows of a validation, all of which each process has."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._n_rows = 0

    def add(self, losses: Mapping[str, Tensor], n_rows: int) -> None:
        """Add the mean losses of a batch of `n_rows` rows."""
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0) + value * n_rows
        self._n_rows += n_rows

    def take(self) -> dict[str, float]:
        """Return the means, and begin anew."""
        means = {name: float(total) / self._n_rows for name, total in self._sums.items()}
        self._sums, self._n_rows = {}, 0
        return means
