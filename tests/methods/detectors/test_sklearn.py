"""scikit-learn's detectors: its own scores, and what is refused when a saved one is read."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from sklearn.svm import OneClassSVM

from ssl_cli.errors import InputError
from ssl_cli.methods.detectors import sklearn
from ssl_cli.methods.detectors.sklearn import IsolationForest, OneClassSvm

RNG = np.random.default_rng(0)
TRAIN, TEST = RNG.normal(size=(300, 4)).astype(np.float32), RNG.normal(0, 3, size=(50, 4)).astype(np.float32)


@pytest.mark.parametrize("kernel_size", [1 << 22, 100])
def test_the_svms_scores_are_scikit_learns(monkeypatch: pytest.MonkeyPatch, kernel_size: int) -> None:
    monkeypatch.setattr(sklearn, "KERNEL_SIZE", kernel_size)
    detector = OneClassSvm(nu=0.2)
    detector.fit(TRAIN, seed=0)
    expected = -OneClassSVM(nu=0.2).fit(TRAIN).decision_function(TEST)
    np.testing.assert_allclose(detector.score({"x": torch.from_numpy(TEST)}).numpy(), expected, atol=1e-10)


def test_a_forest_keeps_no_more_rows_than_its_trees_can_see() -> None:
    detector = IsolationForest(n_estimators=10, max_samples=8)
    detector.fit(TRAIN, seed=0)
    assert detector.rows.shape == (80, 4)


def test_a_forest_with_other_scores_in_this_scikit_learn_is_rejected(tmp_path: Path) -> None:
    detector = IsolationForest(n_estimators=10)
    detector.fit(TRAIN, seed=0)
    detector.save(tmp_path)
    content = load_file(tmp_path / "model.safetensors")
    content["scores"] *= 2
    save_file(content, tmp_path / "model.safetensors", {"seed": "0", "scikit-learn": "1.0"})
    with pytest.raises(InputError, match=r"gives other scores than it did\. The run was made with scikit-learn 1\.0"):
        IsolationForest(n_estimators=10).restore(tmp_path)
