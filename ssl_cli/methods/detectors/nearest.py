"""Exact search for the nearest of some ten thousand rows: a product of matrices, and a selection in two stages."""

import torch
from torch import Tensor
from torch.nn.functional import pad

CHUNK_ROWS = 64  # points at a time: their distances to all rows then stay in the processor's cache
GROUP_ROWS = 16


class NearestRows:
    """Search among `rows` (N, W) float32 for the k nearest to each point, by Euclidean distance.

    To select k of N distances takes longer than to compute them. So the rows are divided into groups, and the k nearest
    rows are looked for in the k groups with the nearest rows: none of them can be in another group.
    """

    def __init__(self, rows: Tensor):
        self.rows = rows  # (N, W)
        self.n_groups = -(-len(rows) // GROUP_ROWS)
        n_missing = self.n_groups * GROUP_ROWS - len(rows)
        self.minus_twice = pad(-2 * rows, (0, 0, 0, n_missing)).T.contiguous()  # (W, M), with rows that are never near
        self.squared_norms = pad(rows.square().sum(1), (0, n_missing), value=torch.inf)  # (M,)

    def __call__(self, points: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Return the distances (P, min(k, N)) from points (P, W) to the nearest rows, and the indices of these rows.

        They are in no particular order.
        """
        k = min(k, len(self.rows))
        parts = [self._search(part, k) for part in points.split(CHUNK_ROWS)]
        return torch.cat([distances for distances, _ in parts]), torch.cat([indices for _, indices in parts])

    def _search(self, points: Tensor, k: int) -> tuple[Tensor, Tensor]:
        # Without the squared norm of each point, which does not affect the order: (P, M). Row m is in group m % G.
        squared = torch.addmm(self.squared_norms, points, self.minus_twice)
        if self.n_groups > k:
            by_group = squared.unflatten(1, (GROUP_ROWS, self.n_groups))
            groups = by_group.amin(1).topk(k, dim=1, largest=False, sorted=False).indices  # (P, k)
            candidates = by_group.gather(2, groups[:, None].expand(-1, GROUP_ROWS, -1)).flatten(1)  # (P, 16 k)
            chosen = candidates.topk(k, dim=1, largest=False, sorted=False).indices
            nearest = chosen // k * self.n_groups + groups.gather(1, chosen % k)
        else:
            nearest = squared.topk(k, dim=1, largest=False, sorted=False).indices
        # From differences: norms minus a product would lose the distance of a near copy to rounding.
        return (points[:, None] - self.rows[nearest]).square().sum(2).sqrt(), nearest
