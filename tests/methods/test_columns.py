"""A category weighs as one column in every detector, however many values it has."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from ssl_cli.errors import InputError
from ssl_cli.methods.autoencoders.pca import PCA
from ssl_cli.methods.columns import pool_by_category, rank_categories
from ssl_cli.methods.detectors.gaussian import Gaussian
from ssl_cli.methods.detectors.residual_knn import ResidualKNN
from ssl_cli.methods.detectors.sklearn import IsolationForest
from ssl_cli.methods.protocols import Detector

N_NUMBERS, N_STATES = 6, 50
CATEGORIES = [[N_NUMBERS, N_NUMBERS + N_STATES]]


def table(seed: int, n_rows: int, shift: float) -> np.ndarray:
    """Return rows of six related numbers, and of a category of fifty values that has nothing to do with anomalies."""
    mixing = np.random.default_rng(0).normal(size=(N_NUMBERS, N_NUMBERS))
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(n_rows, N_NUMBERS)) @ mixing + shift * rng.normal(size=(n_rows, N_NUMBERS))
    shares = np.random.default_rng(1).dirichlet(np.ones(N_STATES))
    states = np.eye(N_STATES)[rng.choice(N_STATES, n_rows, p=np.sort(shares)[::-1])]
    return np.c_[numbers / np.linalg.norm(mixing, axis=0), states].astype(np.float32)


TRAIN, NORMAL, ABNORMAL = table(2, 600, 0.0), table(3, 300, 0.0), table(4, 300, 1.2)
TEST = torch.from_numpy(np.r_[NORMAL, ABNORMAL])


def auroc(detector: Any, columns: slice = slice(None)) -> float:
    detector.fit(TRAIN[:, columns], seed=0)
    scores = detector.score({"x": TEST[:, columns]})
    return float(roc_auc_score(np.repeat([0, 1], 300), scores.numpy()))


@pytest.mark.parametrize(
    "make",
    [
        ResidualKNN,
        Gaussian,
        lambda **options: IsolationForest(n_estimators=100, **options),
        lambda **options: PCA([N_NUMBERS + N_STATES], latent=4, **options),
    ],
    ids=["residual_knn", "gaussian", "iforest", "pca"],
)
def test_a_category_that_says_nothing_costs_little(make: Callable[..., Detector], request: Any) -> None:
    weighed, unweighed = auroc(make(categories=CATEGORIES)), auroc(make())
    if "pca" in request.node.name:
        without = auroc(PCA([N_NUMBERS], latent=4), slice(N_NUMBERS))
    else:
        without = auroc(make(), slice(N_NUMBERS))
    assert weighed > without - 0.05, (weighed, unweighed, without)
    assert weighed > unweighed + 0.01, (weighed, unweighed, without)


def test_a_rare_value_is_not_the_strongest_reason() -> None:
    columns = [*(slice(i, i + 1) for i in range(N_NUMBERS)), slice(*CATEGORIES[0])]

    def strength(detector: ResidualKNN) -> float:
        """Return the category's largest contribution in abnormal rows, relative to that of any other column."""
        detector.fit(TRAIN, seed=0)
        _, contributions = detector.explain({"x": torch.from_numpy(ABNORMAL)}, columns)  # (B, columns)
        return float(contributions[:, -1].max() / contributions[:, :-1].max())

    assert strength(ResidualKNN(categories=CATEGORIES)) < 1
    assert strength(ResidualKNN()) > 10


def test_a_pooled_variance_is_that_of_the_category() -> None:
    variance = TRAIN.astype(np.float64).var(0)
    pooled = pool_by_category(variance, CATEGORIES)
    states = TRAIN[:, N_NUMBERS:].argmax(1)
    # Half the mean squared distance of two rows: two different one-hot rows are at the squared distance 2.
    naive = np.mean([[one != other for one in states] for other in states])
    np.testing.assert_allclose(pooled[N_NUMBERS:], naive)
    np.testing.assert_array_equal(pooled[:N_NUMBERS], variance[:N_NUMBERS])
    np.testing.assert_allclose(pool_by_category(torch.from_numpy(variance), CATEGORIES).numpy(), pooled)


def test_ranks_stand_behind_the_numbers() -> None:
    x = np.array([[0.5, 1, 0, 0, 7.0, 0, 1], [0.6, 0, 0, 1, 8.0, 1, 0]], np.float32)
    np.testing.assert_array_equal(
        rank_categories(x, [[1, 4], [5, 7]]), np.array([[0.5, 7.0, 0, 1], [0.6, 8.0, 2, 0]], np.float32)
    )
    np.testing.assert_array_equal(rank_categories(x, []), x)


@pytest.mark.parametrize("block", [[1], [1, 2, 3], [3, 3], [4, 2], [5, 8]], ids=str)
def test_a_block_beyond_the_features(block: list[int]) -> None:
    with pytest.raises(InputError, match="which is no block of the 7 features"):
        rank_categories(np.zeros((1, 7), np.float32), [block])
