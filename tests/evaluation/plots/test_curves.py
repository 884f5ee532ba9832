"""Plots of all the scores that detectors give: positive, negative, tied, constant."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from ssl_cli.evaluation.plots import curves


@pytest.mark.parametrize("shift", [0.1, -3.0, -1e4])
def test_histograms_of_scores_of_any_sign(tmp_path: Path, shift: float) -> None:
    rng = np.random.default_rng(0)
    groups = {"normal": rng.exponential(size=300) + shift, "anomalies": rng.exponential(9, size=5) + shift}
    curves.score_histograms(tmp_path / "scores.png", groups, threshold=shift + 4)
    image = plt.imread(tmp_path / "scores.png")
    assert image.ndim == 3 and image.std() > 0.05  # not blank


@pytest.mark.parametrize("threshold", [1e300, -1e300, 0.0])
@pytest.mark.parametrize("low", [0.5, -2.0])
def test_a_threshold_far_from_all_scores_can_be_drawn(tmp_path: Path, threshold: float, low: float) -> None:
    groups = {"normal": np.linspace(low, 1, 50), "anomalies": np.linspace(1, 3, 5)}
    curves.score_histograms(tmp_path / "scores.png", groups, threshold)
    assert plt.imread(tmp_path / "scores.png").std() > 0.05


def test_bins_hold_every_score() -> None:
    scores = np.array([-5.0, -0.1, 0.0, 3.0, 1e6])
    figure, axes = plt.subplots()
    assert np.histogram(scores, curves._symlog_bins(scores, axes))[0].sum() == 5
    plt.close(figure)
    assert np.histogram(np.array([1e-9, 1.0, 1e9]), curves._log_bins(np.array([1e-9, 1.0, 1e9])))[0].sum() == 3


def test_training_curves_from_a_history(tmp_path: Path) -> None:
    history = [{"step": s, "train/loss": 1 / (s + 1), "val/loss": 2 / (s + 1)} for s in range(5)]
    curves.training_curves(tmp_path / "training.png", history)
    assert plt.imread(tmp_path / "training.png").std() > 0.05


def test_sweep_and_contributions(tmp_path: Path) -> None:
    lines = {"knn": {0.0: [0.9, 0.8], 0.001: [0.7], 0.1: [0.5]}, "gaussian": {0.0: [0.6]}}
    curves.sweep(tmp_path / "sweep.png", {"a": lines, "b": lines}, "data.contamination", "test/auroc")
    assert plt.imread(tmp_path / "sweep.png").std() > 0.05
    rows = [("row 1: score 2", [("cost = $5, expected $3" * 9, 0.9), ("b = 1, expected 2", 0.1)]), ("row 2", [])]
    curves.contributions(tmp_path / "anomalies.png", rows)
    assert plt.imread(tmp_path / "anomalies.png").std() > 0.05
