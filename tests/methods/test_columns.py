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
from ssl_cli.methods.detectors.knn import KNN
from ssl_cli.methods.detectors.residual_knn import ResidualKNN
from ssl_cli.methods.detectors.sklearn import IsolationForest
from ssl_cli.methods.protocols import Detector

N_NUMBERS, N_STATES = 6, 50
CATEGORIES = [[N_NUMBERS, N_NUMBERS + N_STATES]]
COLUMNS = [*(slice(i, i + 1) for i in range(N_NUMBERS)), slice(*CATEGORIES[0])]


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
    def share_named_first(detector: ResidualKNN) -> float:
        """Return the share of abnormal rows whose largest contribution is the category's."""
        detector.fit(TRAIN, seed=0)
        _, contributions = detector.explain({"x": torch.from_numpy(ABNORMAL)}, COLUMNS)  # (B, columns)
        return float((contributions.argmax(1) == N_NUMBERS).float().mean())

    weighed, unweighed = share_named_first(ResidualKNN(categories=CATEGORIES)), share_named_first(ResidualKNN())
    assert weighed < 0.06 and unweighed > 2 * weighed, (weighed, unweighed)


EXPLAINING = {"residual_knn": ResidualKNN, "knn": lambda categories: KNN(), "gaussian": Gaussian}


@pytest.mark.parametrize("name", EXPLAINING)
def test_a_category_that_says_nothing_is_seldom_the_first_reason(name: str) -> None:
    detector: Any = EXPLAINING[name](categories=CATEGORIES)
    detector.fit(TRAIN, seed=0)
    contributions = detector.explain({"x": torch.from_numpy(ABNORMAL)}, COLUMNS)[1]  # (B, columns)
    flagged = detector.score({"x": torch.from_numpy(ABNORMAL)}) > detector.score({"x": TEST[:300]}).quantile(0.95)
    first = contributions.argmax(1)[flagged]
    assert len(first) > 100 and (first == N_NUMBERS).float().mean() < 0.06


@pytest.mark.parametrize(("name", "share"), [("residual_knn", 0.85), ("knn", 0.65), ("gaussian", 0.9)])
@pytest.mark.parametrize("n_values", [4, 15])
def test_the_column_that_was_changed_is_the_first_reason(name: str, share: float, n_values: int) -> None:
    """Six related numbers follow a category; then one column of each row is made abnormal."""
    rng = np.random.default_rng(n_values)
    mixing, centres = rng.normal(size=(6, 6)), rng.normal(size=(n_values, 6))

    def rows(n_rows: int) -> np.ndarray:
        value = rng.integers(0, n_values, n_rows)
        numbers = rng.normal(size=(n_rows, 6)) @ mixing / np.linalg.norm(mixing, axis=0) + centres[value]
        return np.c_[numbers, np.eye(n_values + 1)[value]].astype(np.float32)

    train, changed = rows(1200), rows(350)
    cause = np.arange(350) % 7  # the sixth is the category
    number = cause < 6
    changed[number, cause[number]] += rng.choice([-4, 4], number.sum())
    changed[~number, 6:] = np.eye(n_values + 1)[n_values]  # a value that training lacks
    detector: Any = EXPLAINING[name](categories=[[6, 7 + n_values]])
    detector.fit(train, seed=0)
    columns = [*(slice(j, j + 1) for j in range(6)), slice(6, 7 + n_values)]
    first = detector.explain({"x": torch.from_numpy(changed)}, columns)[1].argmax(1).numpy()
    assert (first == cause)[number].mean() > share and (first == cause)[~number].mean() > share


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
