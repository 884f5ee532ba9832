"""Metrics of vectors learned without labels, against naive loops and known values."""

import math

import numpy as np
import pytest

from ssl_cli.evaluation.metrics import representations
from ssl_cli.evaluation.metrics.representations import (
    alignment,
    effective_rank,
    neighbor_accuracy,
    uniformity,
    unit_rows,
)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / math.sqrt((a @ a) * (b @ b)))


@pytest.mark.parametrize("n_train", [60, 7])  # with fewer than 20 rows all vote
def test_neighbours_equal_a_naive_vote(n_train: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(representations, "CHUNK_ROWS", 16)
    rng = np.random.default_rng(0)
    labels, test_labels = rng.integers(0, 3, n_train) * 5 + 2, rng.integers(0, 3, 50) * 5 + 2
    train, test = (rng.normal(size=(len(of), 4)) + 0.3 * of[:, None] * [1, -1, 0, 0] for of in (labels, test_labels))
    hits = 0
    for row, label in zip(test, test_labels, strict=True):
        nearest = sorted(range(n_train), key=lambda k: -cosine(row, train[k]))[:20]
        votes: dict[int, float] = {}
        for k in nearest:
            votes[labels[k]] = votes.get(labels[k], 0.0) + math.exp(cosine(row, train[k]) / 0.07)
        hits += max(votes, key=lambda name: votes[name]) == label
    assert neighbor_accuracy(train, labels, test, test_labels) == hits / 50
    assert 0.3 < hits / 50 < 1


def test_the_length_of_a_vector_does_not_count() -> None:
    rng = np.random.default_rng(0)
    train, test, labels = rng.normal(size=(40, 3)), rng.normal(size=(30, 3)), np.arange(40) % 2
    scaled = train * rng.uniform(0.1, 10, (40, 1))
    found = [neighbor_accuracy(each, labels, test, np.arange(30) % 2) for each in (train, scaled)]
    assert found[0] == found[1]
    assert alignment(train, 3 * train) == pytest.approx(0, abs=1e-12)
    assert uniformity(scaled) == pytest.approx(uniformity(train))


@pytest.mark.parametrize(
    ("spectrum", "rank"),
    [
        ([1, 1, 1, 1], 4),
        ([5, 0, 0, 0], 1),
        ([2, 2, 0, 0], 2),
        ([3, 1, 0, 0], math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))),
    ],
)
def test_the_effective_rank_of_a_known_spectrum(spectrum: list[float], rank: float) -> None:
    rng = np.random.default_rng(0)
    rows, _ = np.linalg.qr(rng.normal(size=(30, 4)))
    columns, _ = np.linalg.qr(rng.normal(size=(4, 4)))
    assert effective_rank(rows * spectrum @ columns) == pytest.approx(rank, abs=1e-4)


def test_equal_vectors_have_rank_one_and_no_spread() -> None:
    z = np.ones((10, 4), np.float32)
    assert effective_rank(z) == pytest.approx(1, abs=1e-4)
    assert uniformity(z) == pytest.approx(0) and alignment(z, z) == 0
    assert np.isfinite([effective_rank(0 * z), uniformity(0 * z), alignment(0 * z, z)]).all()
    assert uniformity(z[:1]) == 0


def test_alignment_and_uniformity_are_the_formulas() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 20, 3))
    units = [[row / math.sqrt(row @ row) for row in view] for view in (first, second)]
    apart = [sum((a - b) ** 2) for a, b in zip(*units, strict=True)]
    assert alignment(first, second) == pytest.approx(sum(apart) / 20)
    pairs = [math.exp(-2 * sum((a - b) ** 2)) for k, a in enumerate(units[0]) for b in units[0][k + 1 :]]
    assert uniformity(first) == pytest.approx(math.log(sum(pairs) / len(pairs)))


def test_vectors_spread_over_a_sphere_are_near_the_best_uniformity() -> None:
    z = np.random.default_rng(0).normal(size=(500, 128))
    assert -4 < uniformity(z) < -3.9
    assert alignment(z, np.random.default_rng(1).normal(size=(500, 128))) == pytest.approx(2, abs=0.05)


def test_a_row_of_zeros_stays() -> None:
    np.testing.assert_allclose(unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]])), [[0.6, 0.8], [0, 0]])
