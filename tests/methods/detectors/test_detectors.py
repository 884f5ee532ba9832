"""Detectors: against textbook formulas, and with the same scores after save and restore."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist, mahalanobis
from sklearn.covariance import ledoit_wolf

from ssl_cli.methods.autoencoders.denoising import DenoisingAutoencoder
from ssl_cli.methods.detectors.denoising_knn import DenoisingKNN
from ssl_cli.methods.detectors.gaussian import Gaussian
from ssl_cli.methods.detectors.knn import KNN
from ssl_cli.methods.detectors.margins import Margins
from ssl_cli.methods.detectors.residual_knn import ResidualKNN
from ssl_cli.methods.detectors.sklearn import IsolationForest, OneClassSvm
from ssl_cli.methods.detectors.subsample import subsample
from ssl_cli.methods.protocols import Detector
from ssl_cli.models.mlp import MLPAutoencoder

DETECTORS = [
    *(Gaussian(), KNN(k=3), KNN(distance="mean"), ResidualKNN(k=3)),
    *(IsolationForest(n_estimators=20), OneClassSvm()),
]


@pytest.fixture
def rows() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(4, 4))
    return (rng.normal(size=(200, 4)) @ mixing).astype(np.float32), rng.normal(size=(30, 4)).astype(np.float32)


def scores(detector: Any, x: np.ndarray) -> np.ndarray:
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


@pytest.mark.parametrize("distance", ["kth", "mean", "mean_squared"])
def test_knn_against_all_distances(rows: tuple[np.ndarray, np.ndarray], distance: str) -> None:
    train, test = rows
    detector = KNN(k=5, distance=distance)
    detector.fit(train, seed=0)
    nearest = np.sort(cdist(test, train), axis=1)[:, :5]
    naive = {"kth": nearest[:, -1], "mean": nearest.mean(1), "mean_squared": (nearest**2).mean(1)}[distance]
    np.testing.assert_allclose(scores(detector, test), naive, rtol=1e-5)


def test_residual_knn_against_a_naive_transcription(rows: tuple[np.ndarray, np.ndarray]) -> None:
    train, test = rows[0].astype(float), rows[1].astype(float)
    detector = ResidualKNN(k=4)
    detector.fit(rows[0], seed=0)

    def standard(values: np.ndarray, like: np.ndarray) -> np.ndarray:
        return (values - like.mean(0)) / like.std(0)

    z, z_test = standard(train, train), standard(test, train)
    precision = np.linalg.inv(ledoit_wolf(z)[0])
    residuals = []
    for values in (z, z_test):
        # Feature j minus its linear expectation from the others, -sum_i P_ij z_i / P_jj.
        expected = [-(np.delete(values, j, 1) @ np.delete(precision[:, j], j)) / precision[j, j] for j in range(4)]
        residuals.append(values - np.stack(expected, axis=1))
    spaces = [
        (standard(np.arcsinh(z), np.arcsinh(z)), standard(np.arcsinh(z_test), np.arcsinh(z))),
        (np.c_[z, standard(residuals[0], residuals[0])], np.c_[z_test, standard(residuals[1], residuals[0])]),
    ]
    naive = sum(np.log(np.sort(cdist(new, known), axis=1)[:, :4] + 0.01).mean(1) for known, new in spaces)
    np.testing.assert_allclose(scores(detector, rows[1]), naive, rtol=1e-3, atol=1e-4)


def test_a_residual_knn_score_does_not_depend_on_the_batch(rows: tuple[np.ndarray, np.ndarray]) -> None:
    train, test = rows
    detector = ResidualKNN()
    detector.fit(np.concatenate([train, train]), seed=0)  # every row has a copy
    some = np.concatenate([train[:20], test])
    one_by_one = np.concatenate([scores(detector, row[None]) for row in some])
    np.testing.assert_allclose(scores(detector, some), one_by_one, rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore:Only one sample")
@pytest.mark.parametrize("n", [1, 15, 40])
def test_residual_knn_of_equal_rows_is_finite(n: int) -> None:
    detector, columns = ResidualKNN(), [slice(0, 1), slice(1, 2)]
    detector.fit(np.full((n, 2), 1.5, dtype=np.float32), seed=0)
    x = np.array([[1.5, 1.5], [1.5, 2], [1.5, 1e30]], dtype=np.float32)
    assert (np.diff(scores(detector, x)) > 0).all()
    expected, parts = detector.explain({"x": torch.from_numpy(x)}, columns)
    assert (expected == 1.5).all()
    np.testing.assert_allclose(parts[1:].numpy().argmax(1), 1)


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda detector: type(detector).__name__)
def test_larger_is_more_abnormal_and_save_restores(
    detector: Detector, rows: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    train, test = rows
    again = copy.deepcopy(detector)
    detector.fit(train, seed=0)
    assert isinstance(detector, Detector)
    far = np.full((1, 4), 50, dtype=np.float32)
    assert scores(detector, far)[0] > np.median(scores(detector, train))
    detector.save(tmp_path)
    again.restore(tmp_path)
    np.testing.assert_array_equal(scores(again, test), scores(detector, test))


def test_subsample_is_drawn_by_the_seed_without_replacement() -> None:
    x = np.arange(100)[:, None]
    drawn = subsample(x, 30, seed=1)
    assert len(np.unique(drawn)) == 30
    np.testing.assert_array_equal(drawn, subsample(x, 30, seed=1))
    assert not np.array_equal(drawn, subsample(x, 30, seed=2))
    assert subsample(x, None, seed=1) is x


def test_denoising_knn_is_the_sum_of_its_parts_and_is_restored(
    rows: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    def new_detector() -> DenoisingKNN:
        torch.manual_seed(len(list(tmp_path.iterdir())))  # other weights before and after
        network = MLPAutoencoder(shape=[4], hidden=[8], latent=8)
        return DenoisingKNN(ResidualKNN(k=3), DenoisingAutoencoder(network, "gaussian", 0.5))

    train, test = rows
    detector, batch = new_detector(), {"x": torch.from_numpy(test)}
    autoencoder, neighbors = detector.parts
    neighbors.fit(train, seed=0)
    autoencoder.fit_statistics(torch.from_numpy(train))
    with torch.inference_mode():
        error = autoencoder.score(batch).sqrt().numpy()
        np.testing.assert_allclose(scores(detector, test), scores(neighbors, test) + np.log(error + 0.01), rtol=1e-5)
        _, part = detector.explain(batch, [slice(j, j + 1) for j in range(4)])
        np.testing.assert_allclose(part.sum(1).numpy(), 1, rtol=1e-5)
        detector.save(tmp_path)
        again = new_detector()
        again.restore(tmp_path)
        np.testing.assert_array_equal(scores(again, test), scores(detector, test))


def test_a_row_left_out_is_not_its_own_neighbour(rows: tuple[np.ndarray, np.ndarray]) -> None:
    train, _ = rows
    detector, rest = ResidualKNN(k=3), ResidualKNN(k=3)
    detector.fit(train, seed=0)
    left_out = detector.score({"x": torch.from_numpy(train)}, left_out=True)
    rest.fit(train, seed=0)
    rest._keep(torch.from_numpy(np.delete(train, 7, axis=0)))  # in the same spaces, without one row
    np.testing.assert_allclose(left_out[7], rest.score({"x": torch.from_numpy(train[7:8])})[0], rtol=1e-5)


def fitted_with_margins(train: np.ndarray) -> DenoisingKNN:
    torch.manual_seed(0)
    network = MLPAutoencoder(shape=[train.shape[1]], hidden=[8], latent=8)
    detector = DenoisingKNN(ResidualKNN(k=3), DenoisingAutoencoder(network, "gaussian", 0.5), Margins())
    autoencoder, *others = detector.parts
    for part in others:
        part.fit(train, seed=0)
    with torch.inference_mode():
        autoencoder.fit_statistics(torch.from_numpy(train))
        detector.fit_statistics(torch.from_numpy(train))
    return detector


def test_denoising_knn_sees_a_value_that_never_occurs(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    train = np.column_stack([rng.normal(size=(300, 2)), rng.choice([-1.5, -0.5, 0.5, 1.5], 300)]).astype(np.float32)
    usual, never = np.float32([[0.1, 0.2, 0.5]]), np.float32([[0.1, 0.2, 0.4]])
    detector = fitted_with_margins(train)
    with torch.inference_mode():
        assert scores(detector, never)[0] > np.quantile(scores(detector, train), 0.99)
        assert scores(detector, usual)[0] < np.quantile(scores(detector, train), 0.9)
        columns = [slice(j, j + 1) for j in range(3)]
        _, part = detector.explain({"x": torch.from_numpy(never)}, columns)
        assert part.argmax() == 2
        detector.save(tmp_path)
        again = fitted_with_margins(train[:100])
        again.restore(tmp_path)
        np.testing.assert_array_equal(scores(again, train), scores(detector, train))
