"""Untrusted estimator files are rejected with an InputError."""

from pathlib import Path

import numpy as np
import pytest
import skops.io
from sklearn.ensemble import IsolationForest as Forest
from sklearn.linear_model import LinearRegression

from ssl_cli.errors import InputError
from ssl_cli.methods.detectors.sklearn import ESTIMATOR_FILE, IsolationForest, OneClassSvm


class Foreign(LinearRegression):
    """A type that skops doesn't know."""


def test_another_estimator_is_rejected(tmp_path: Path) -> None:
    skops.io.dump(LinearRegression(), tmp_path / ESTIMATOR_FILE)
    with pytest.raises(InputError, match="holds a LinearRegression, not a OneClassSVM"):
        OneClassSvm().restore(tmp_path)


def test_a_foreign_type_is_rejected(tmp_path: Path) -> None:
    skops.io.dump(Foreign(), tmp_path / ESTIMATOR_FILE)
    with pytest.raises(InputError, match="foreign types"):
        OneClassSvm().restore(tmp_path)


@pytest.mark.parametrize(("field", "value"), [("left_child", 10**6), ("right_child", 0), ("feature", 99)])
def test_a_tree_that_points_outside_itself_is_rejected(tmp_path: Path, field: str, value: int) -> None:
    forest = Forest(n_estimators=3, random_state=0).fit(np.random.default_rng(0).normal(size=(50, 4)))
    tree = forest.estimators_[1].tree_
    state = tree.__getstate__()
    state["nodes"] = state["nodes"].copy()
    state["nodes"][field][0] = value
    tree.__setstate__(state)
    skops.io.dump(forest, tmp_path / ESTIMATOR_FILE)
    with pytest.raises(InputError, match="nodes point outside it"):
        IsolationForest().restore(tmp_path)
