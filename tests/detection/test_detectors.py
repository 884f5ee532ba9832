"""Detectors against textbook formulas; fit, save, restore, score alike."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist, mahalanobis

from ssl_cli.detection.detector import Detector, sample
from ssl_cli.detection.estimators import IsolationForest, OneClassSvm
from ssl_cli.detection.gaussian import Gaussian
from ssl_cli.detection.neighbors import Neighbors

DETECTORS = [Gaussian(), Neighbors(k=3), Neighbors(distance="mean"), IsolationForest(n_estimators=20), OneClassSvm()]


@pytest.fixture
def rows() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(4, 4))
    return (rng.normal(size=(200, 4)) @ mixing).astype(np.float32), rng.normal(size=(30, 4)).astype(np.float32)


def scores(detector: Detector, x: np.ndarray) -> np.ndarray:
    return detector.score({"x": torch.from_numpy(x)}).numpy()


def test_gaussian_is_the_mahalanobis_distance(rows: tuple[np.ndarray, np.ndarray]) -> None:
    train, test = rows
    detector = Gaussian(ridge=0.0)
    detector.fit(train, seed=0)
    inverse = np.linalg.inv(np.cov(train.T.astype(np.float64), bias=True))
    naive = [mahalanobis(row, train.mean(0, dtype=np.float64), inverse) ** 2 / 4 for row in test]
    np.testing.assert_allclose(scores(detector, test), naive, rtol=1e-5)


def test_gaussian_survives_dependent_features(rows: tuple[np.ndarray, np.ndarray]) -> None:
    train = np.c_[rows[0], rows[0][:, 0]]
    detector = Gaussian()
    detector.fit(train, seed=0)
    assert np.isfinite(scores(detector, train)).all()


@pytest.mark.parametrize("distance", ["largest", "mean"])
def test_neighbors_against_all_distances(rows: tuple[np.ndarray, np.ndarray], distance: str) -> None:
    train, test = rows
    detector = Neighbors(k=5, distance=distance)
    detector.fit(train, seed=0)
    nearest = np.sort(cdist(test, train), axis=1)[:, :5]
    naive = nearest[:, -1] if distance == "largest" else nearest.mean(1)
    np.testing.assert_allclose(scores(detector, test), naive, rtol=1e-5)


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda detector: type(detector).__name__)
def test_larger_is_more_abnormal_and_save_restores(
    detector: Detector, rows: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    train, test = rows
    detector.fit(train, seed=0)
    assert isinstance(detector, Detector)
    far = np.full((1, 4), 50, dtype=np.float32)
    assert scores(detector, far)[0] > np.median(scores(detector, train))
    detector.save(tmp_path)
    again = type(detector).__new__(type(detector))
    again.__dict__ = {name: value for name, value in vars(detector).items() if name in ("k", "distance", "max_rows")}
    again.restore(tmp_path)
    np.testing.assert_array_equal(scores(again, test), scores(detector, test))


def test_sample_is_drawn_by_the_seed_without_replacement() -> None:
    x = np.arange(100)[:, None]
    drawn = sample(x, 30, seed=1)
    assert len(np.unique(drawn)) == 30
    np.testing.assert_array_equal(drawn, sample(x, 30, seed=1))
    assert not np.array_equal(drawn, sample(x, 30, seed=2))
    assert sample(x, None, seed=1) is x
