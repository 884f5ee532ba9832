"""Exact search for the nearest of some ten thousand rows: a product of matrices, and a selection in two stages."""

import torch
from torch import Tensor
from torch.nn.functional import pad

from ssl_cli.models.cpu import inference_linear

CHUNK_ROWS = 128  # points at a time: their distances to all rows then stay in the processor's cache
GROUP_ROWS = 16
NEVER = torch.finfo(torch.float32).max  # squared distance of a row that fills up a group
INDEX_BITS = 29  # by which a float64 is longer than a float32
ROUNDING = 2**-22  # error of a squared distance by the product, relative to the square of the sum of both norms
PRECISION, LEAST_DISTANCE = 5e-6, 0.01  # relative error of a distance, or of LEAST_DISTANCE if that is larger


class NearestRows:
    """Search among `rows` (N, W) float32 for the k nearest to each point, by Euclidean distance.

    To select k of N distances takes longer than to compute them. So the rows are divided into groups, and the k nearest
    rows are looked for in the k groups with the nearest rows: none of them can be in another group.

    The product gives squared distances in float32. Where its rounding may have mistaken a row that is not among the
    nearest for one that is, and this matters, the point is searched for once more in float64.
    """

    def __init__(self, rows: Tensor):
        self.rows = rows  # (N, W)
        self.n_groups = -(-len(rows) // GROUP_ROWS)
        n_missing = self.n_groups * GROUP_ROWS - len(rows)
        self.minus_twice = pad(-2 * rows, (0, 0, 0, n_missing)).contiguous()  # (M, W), with rows that are never near
        self.squared_norms = pad(rows.square().sum(1), (0, n_missing), value=NEVER)  # (M,)
        # Row m is in group m % G.
        self.groups = torch.arange(self.n_groups)  # (G,)
        self.of_group = torch.arange(GROUP_ROWS)[:, None] * self.n_groups  # (GROUP_ROWS, 1)

    def __call__(self, points: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Return the distances (P, min(k, N)) from points (P, W) to the nearest rows, and the indices of these rows.

        They are in no particular order.
        """
        k = min(k, len(self.rows))
        parts = [self._search(part, k) for part in points.split(CHUNK_ROWS)]
        nearest, gap = (torch.cat(part) for part in zip(*parts, strict=True))
        distances = self._distances(points, nearest)
        if len(unsure := self._is_unsure(points, distances, gap).nonzero()[:, 0]):
            nearest[unsure] = self._search_in_float64(points[unsure], k)
            distances[unsure] = self._distances(points[unsure], nearest[unsure])
        return distances, nearest

    def _search(self, points: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Return the indices (P, k) of the rows nearest by the product, and the gap (P,) to the next squared one."""
        # Without the squared norm of each point, which does not affect the order: (P, M).
        squared = inference_linear(points, self.minus_twice, self.squared_norms)
        if self.n_groups <= k + 1:
            return _smallest(squared, torch.arange(squared.shape[1]), k)
        minima = squared.unflatten(1, (GROUP_ROWS, self.n_groups)).amin(1)  # (P, G)
        groups, _ = _smallest(minima, self.groups, k + 1)  # one group more than k, for the next nearest row
        candidates = (groups[:, None] + self.of_group).flatten(1)  # (P, 16 (k + 1))
        return _smallest(squared.gather(1, candidates), candidates, k)

    def _distances(self, points: Tensor, nearest: Tensor) -> Tensor:
        """Return the distances (P, k) of points to rows, from differences.

        Norms minus a product would lose the distance of a near copy to rounding.
        """
        rows = self.rows.index_select(0, nearest.flatten()).unflatten(0, nearest.shape)  # (P, k, W)
        return torch.linalg.vector_norm(rows.sub_(points[:, None]), dim=2)

    def _is_unsure(self, points: Tensor, distances: Tensor, gap: Tensor) -> Tensor:
        """Return for which points (P,) another row may be nearer, given the gap (P,) to the next squared distance.

        A row that is mistaken for another is about as far away; where the difference is below PRECISION, it may be.
        """
        farthest = distances.amax(1)
        error = ROUNDING * (torch.linalg.vector_norm(points, dim=1) * 2 + farthest).square()
        matters = error > PRECISION * farthest * (farthest + LEAST_DISTANCE)
        return matters & (gap < 2 * error) & (farthest > 0)

    def _search_in_float64(self, points: Tensor, k: int) -> Tensor:
        """Return the indices (P, k) of the rows nearest to points (P, W)."""
        rows = self.rows.double()
        squared = torch.addmm(rows.square().sum(1), points.double(), rows.T, alpha=-2)  # (P, N)
        return squared.topk(k, dim=1, largest=False, sorted=False).indices


def _smallest(values: Tensor, indices: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the indices (P, k) of the k smallest of values (P, C) float32, and the gap to the next one, (P,).

    `indices` are (C,) or (P, C), below 2^29. An index takes the bits that the value, as float64, leaves free; then
    numbers are sorted, which processors do ten times as fast as torch's `topk` of values with their indices.
    """
    keys = values.double().view(torch.int64).bitwise_or_(indices).view(torch.float64)
    keys.numpy().sort(axis=1)
    following = keys[:, k] if k < keys.shape[1] else keys.new_tensor(torch.inf)
    return keys[:, :k].view(torch.int64) & ((1 << INDEX_BITS) - 1), following - keys[:, k - 1]
