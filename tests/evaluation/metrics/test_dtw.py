"""Dynamic time warping, against a naive transcription with an explicit path."""

import numpy as np
import pytest

from ssl_cli.evaluation.metrics import dtw
from ssl_cli.evaluation.metrics.cepstra import euclidean


def naive_mean_path_cost(cost: np.ndarray) -> float:
    n, m = cost.shape
    total = np.full((n, m), np.inf)
    for i in range(n):
        for j in range(m):
            before = [total[i - a, j - b] for a, b in ((1, 1), (0, 1), (1, 0)) if i >= a and j >= b]
            total[i, j] = cost[i, j] + (min(before) if before else 0)
    i, j, path = n - 1, m - 1, [cost[n - 1, m - 1]]
    while i or j:
        before = [(a, b) for a, b in ((1, 1), (0, 1), (1, 0)) if i >= a and j >= b]
        steps = [(total[i - a, j - b], k, a, b) for k, (a, b) in enumerate(before)]
        _, _, a, b = min(steps)
        i, j = i - a, j - b
        path.append(cost[i, j])
    return sum(path) / len(path)


@pytest.mark.parametrize("values", ["numbers", "ties"])
def test_the_mean_along_the_path(values: str) -> None:
    rng = np.random.default_rng(0)
    cost = rng.integers(0, 3, (200, 7, 9)).astype(np.float64) if values == "ties" else rng.random((200, 7, 9))
    n, m = rng.integers(1, 8, 200), rng.integers(1, 10, 200)
    expected = [naive_mean_path_cost(each[:a, :b]) for each, a, b in zip(cost, n, m, strict=True)]
    np.testing.assert_allclose(dtw.mean_path_cost(cost, n, m), expected, rtol=1e-12)


def test_what_lies_beyond_the_end_has_no_influence() -> None:
    rng = np.random.default_rng(1)
    cost, n, m = rng.random((1, 6, 6)), np.array([4]), np.array([3])
    padded = cost.copy()
    padded[:, 4:], padded[:, :, 3:] = 0, 0
    assert dtw.mean_path_cost(cost, n, m) == dtw.mean_path_cost(padded, n, m)


@pytest.mark.parametrize("cells", [1, 60, 10**6])
def test_pairs_of_sequences_in_batches_of_any_size(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dtw, "MAX_CELLS", cells)
    rng = np.random.default_rng(2)
    length = rng.integers(1, 9, 12)
    begin = np.append(0, np.cumsum(length)[:-1])
    frames = rng.standard_normal((length.sum(), 3)).astype(np.float32)
    pairs = rng.integers(12, size=(2, 30))
    result = dtw.warped_distances(euclidean(frames), begin, length, (pairs[0], pairs[1]))
    for value, a, b in zip(result, *pairs, strict=True):
        x, y = (frames[begin[k] : begin[k] + length[k]].astype(np.float64) for k in (a, b))
        expected = naive_mean_path_cost(np.sqrt(np.square(x[:, None] - y[None]).sum(2)))
        assert value == pytest.approx(expected, abs=2e-3)
