"""Dynamic time warping of many pairs of sequences at once: mean cost along the cheapest path (Sakoe and Chiba, 1978).

The steps are (1, 1), (1, 0) and (0, 1), all of weight 1, and the mean is over the cells of the path. Among equally
cheap predecessors of a cell a diagonal step comes first, then one along the second sequence: fastabx's choice, on which
the length of the path depends.
"""

from collections.abc import Callable

import numpy as np

MAX_CELLS = 4_000_000  # of the cost matrices that are warped at once: 16 MB in float32
Distance = Callable[[np.ndarray, np.ndarray], np.ndarray]  # frames by index (P, N), (P, M) -> their distances (P, N, M)


def mean_path_cost(cost: np.ndarray, n: np.ndarray, m: np.ndarray) -> np.ndarray:
    """Return the mean cost along the cheapest path through each of the matrices (P, N, M), (P,).

    The path of pair p runs from cell (0, 0) to (n[p] - 1, m[p] - 1), with n and m (P,) at least 1. What lies beyond
    has no influence. All cells of an anti-diagonal are computed together, those of all pairs as well.
    """
    pairs, height, _ = cost.shape
    diagonals = _anti_diagonals(cost)  # (N + M - 1, N, P)
    last = np.full((2, height + 1, pairs), np.inf, cost.dtype)  # total cost on the two diagonals before, from row -1
    length = np.zeros((2, height + 1, pairs), np.int32)  # cells of the path so far
    result, end = np.empty(pairs, cost.dtype), n + m - 2
    for d, here in enumerate(diagonals):
        if d == 0:
            total, cells = here, np.ones((height, pairs), np.int32)
        else:
            left, up, diagonal = last[1, 1:], last[1, :-1], last[0, :-1]  # (i, j - 1), (i - 1, j), (i - 1, j - 1)
            best = np.minimum(np.minimum(left, up), diagonal)
            total = here + best
            is_diagonal, is_left = diagonal <= best, left <= up
            cells = 1 + np.where(is_diagonal, length[0, :-1], np.where(is_left, length[1, 1:], length[1, :-1]))
        ending = np.flatnonzero(end == d)
        result[ending] = total[n[ending] - 1, ending] / cells[n[ending] - 1, ending]
        last[0], length[0] = last[1], length[1]
        last[1, 1:], length[1, 1:] = total, cells
    return result


def _anti_diagonals(cost: np.ndarray) -> np.ndarray:
    """Return cell (i, d - i) of the matrices (P, N, M) at [d, i], (N + M - 1, N, P); infinity outside of them."""
    pairs, height, width = cost.shape
    wide = np.full((height, height + width, pairs), np.inf, cost.dtype)
    wide[:, :width] = cost.transpose(1, 2, 0)
    # Without its last N cells the flat matrix has rows that are shorter by one: each is shifted by one more.
    shifted = wide.reshape(-1, pairs)[: height * (height + width - 1)]
    return shifted.reshape(height, height + width - 1, pairs).transpose(1, 0, 2)


def warped_distances(
    distance: Distance, begin: np.ndarray, length: np.ndarray, pairs: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """Return the mean distance along the path of each pair of sequences, (P,).

    Sequence k is the frames from begin[k], length[k] of them; `pairs` are two arrays (P,) of sequences. `distance` maps
    positions of frames to their distances. Pairs of similar lengths are warped together.
    """
    first, second = pairs
    n, m = length[first], length[second]
    result = np.empty(len(first), np.float32)
    order = np.lexsort((m, n))
    begun = 0
    while begun < len(order):
        size = max(1, MAX_CELLS // int(n[order[begun]] * m[order[begun]] * 4))
        rows = order[begun : begun + size]
        if (cells := int(n[rows].max() * m[rows].max())) * len(rows) > MAX_CELLS:
            rows = rows[: max(1, MAX_CELLS // cells)]
        ahead = np.arange(n[rows].max()), np.arange(m[rows].max())
        # Positions beyond the end of a sequence repeat its last frame.
        x = begin[first[rows], None] + np.minimum(ahead[0], n[rows, None] - 1)
        y = begin[second[rows], None] + np.minimum(ahead[1], m[rows, None] - 1)
        result[rows] = mean_path_cost(distance(x, y), n[rows], m[rows])
        begun += len(rows)
    return result
