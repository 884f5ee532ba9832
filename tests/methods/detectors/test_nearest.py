"""The search for the nearest rows gives what a search in float64, of all distances, gives."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from torch import Tensor

from ssl_cli.methods.detectors.nearest import CHUNK_ROWS, GROUP_ROWS, NearestRows
from ssl_cli.methods.detectors.residual_knn import DISTANCE_OFFSET, ResidualKNN


def exact_distances(rows: Tensor, points: Tensor, k: int) -> np.ndarray:
    return np.sort(cdist(points.double().numpy(), rows.double().numpy()), axis=1)[:, :k]


def clusters(n_rows: int, width: int, seed: int = 0) -> Tensor:
    """Return rows (N, W): usual ones, copies, near copies, and groups up to 1e4 standard deviations away."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n_rows, width))
    part = n_rows // 5
    rows[:part] = rows[part]
    rows[part : 2 * part] = rows[part] + 1e-3 * rows[part : 2 * part]
    rows[2 * part : 3 * part] += 1e4
    rows[3 * part : 4 * part] = 3e3 + 0.01 * rows[3 * part : 4 * part]
    return torch.from_numpy(rows.astype(np.float32))


@pytest.mark.parametrize(
    ("n_rows", "k"),
    [
        (1, 1),  # a single row
        (1, 5),
        (4, 10),  # fewer rows than k
        (5 * GROUP_ROWS + 1, 10),  # fewer groups than k
        (10 * GROUP_ROWS, 10),  # as many
        (11 * GROUP_ROWS, 10),
        (12 * GROUP_ROWS - 1, 10),
        (600, 1),
        (3001, 10),
    ],
)
@pytest.mark.parametrize("n_points", [1, CHUNK_ROWS + 1])
def test_distances_and_rows_are_those_of_all_distances(n_rows: int, k: int, n_points: int) -> None:
    rng = torch.Generator().manual_seed(0)
    rows, points = torch.randn(n_rows, 7, generator=rng), torch.randn(n_points, 7, generator=rng)
    distances, nearest = NearestRows(rows)(points, k)
    assert distances.shape == nearest.shape == (n_points, min(k, n_rows))
    np.testing.assert_allclose(distances.sort(1).values, exact_distances(rows, points, k), rtol=1e-6)
    assert torch.equal(distances, torch.linalg.vector_norm(points[:, None] - rows[nearest], dim=2))
    assert all(len(set(each)) == len(each) for each in nearest.tolist())


@pytest.mark.parametrize("width", [1, 29])
def test_near_copies_and_far_outliers_are_told_apart(width: int) -> None:
    rows = clusters(1000, width)
    points = torch.cat([rows[::7], rows[::5] + 1e-3, clusters(100, width, seed=1), 1e4 + torch.rand(20, width)])
    distances, _ = NearestRows(rows)(points, 10)
    exact = exact_distances(rows, points, 10)
    # Relative to a distance, or to 0.01 if it is smaller: the log distances of a score are as exact as this.
    assert (np.abs(distances.sort(1).values.numpy() - exact) / (exact + 0.01)).max() < 5e-6


def test_all_rows_alike() -> None:
    rows = torch.full((500, 3), 0.1)
    distances, nearest = NearestRows(rows)(rows[:2], 10)
    assert not distances.any() and all(len(set(each)) == 10 for each in nearest.tolist())


@pytest.mark.parametrize("batch_size", [1, 100, 100_000])
def test_scores_are_those_of_a_search_in_float64_whatever_the_batches(batch_size: int) -> None:
    detector = ResidualKNN()
    detector.fit(clusters(1500, 6).numpy(), seed=0)
    x = torch.cat([clusters(1200, 6, seed=1), detector.rows[::50]])
    exact = sum(
        np.log(exact_distances(space.rows, points, 10) + DISTANCE_OFFSET).mean(1)
        for space, points in zip(detector.spaces, detector._spaces(x), strict=True)
    )
    some = x if batch_size > 1 else x[:200]
    scores = torch.cat([detector.score({"x": part}) for part in some.split(batch_size)])
    np.testing.assert_allclose(scores, exact[: len(some)], rtol=0, atol=1e-5)
