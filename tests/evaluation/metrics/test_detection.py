"""Detection metrics equal scikit-learn's; their intervals cover the truth."""

import numpy as np
import pytest
from sklearn import metrics

from ssl_cli.evaluation.metrics import detection
from ssl_cli.evaluation.metrics.detection import curves, detection_metrics


def random_scores(n: int, ties: bool, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    anomaly = rng.random(n) < 0.1
    scores = rng.normal(1.5 * anomaly, 1)
    return (np.round(scores, 1) if ties else scores), anomaly


@pytest.mark.parametrize("ties", [False, True])
def test_metrics_equal_scikit_learns(ties: bool) -> None:
    scores, anomaly = random_scores(2000, ties)
    ours = detection_metrics(scores, anomaly, threshold=1.3, bootstrap_samples=10, seed=0)
    flagged = scores > 1.3
    fpr, recall, _ = metrics.roc_curve(anomaly, scores, drop_intermediate=False)
    theirs = {
        "auroc": metrics.roc_auc_score(anomaly, scores),
        "auprc": metrics.average_precision_score(anomaly, scores),
        "precision": metrics.precision_score(anomaly, flagged),
        "recall": metrics.recall_score(anomaly, flagged),
        "f1": metrics.f1_score(anomaly, flagged),
        "fpr": flagged[~anomaly].mean(),
        "recall_at_1_fpr": recall[fpr <= 0.01].max(),
    }
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(value, abs=1e-12), name


def test_precision_at_k_with_and_without_a_tie_at_the_edge() -> None:
    anomaly = np.array([1, 1, 0, 1, 0, 0], bool)
    clear = detection_metrics(np.array([9, 8, 7, 6, 5, 4.0]), anomaly, 0, 10, 0)
    assert clear["precision_at_k"] == pytest.approx(2 / 3)
    tied = detection_metrics(np.array([9, 7, 7, 7, 5, 4.0]), anomaly, 0, 10, 0)
    assert tied["precision_at_k"] == pytest.approx(
        (1 + 2 * 2 / 3) / 3
    )  # two of the three tied rows, each 2/3 an anomaly


def test_a_threshold_above_all_scores_flags_nothing() -> None:
    scores, anomaly = random_scores(100, ties=False)
    ours = detection_metrics(scores, anomaly, threshold=99, bootstrap_samples=10, seed=0)
    assert (ours["precision"], ours["recall"], ours["f1"], ours["fpr"]) == (0, 0, 0, 0)


def test_intervals_cover_the_truth() -> None:
    # The true AUROC of N(1.5, 1) against N(0, 1) is Phi(1.5 / sqrt 2).
    truth, covered = 0.8555777, 0
    for seed in range(100):
        ours = detection_metrics(
            *random_scores(400, ties=False, seed=seed), threshold=1.0, bootstrap_samples=200, seed=seed
        )
        covered += ours["auroc_low"] <= truth <= ours["auroc_high"]
    assert covered >= 86  # 95 expected; a percentile bootstrap of 40 anomalies is a little narrow


def test_intervals_on_many_levels_agree_with_the_exact_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, anomaly = random_scores(6000, ties=False)
    coarse = detection_metrics(scores, anomaly, 1.0, bootstrap_samples=400, seed=0)
    monkeypatch.setattr(detection, "MAX_LEVELS", 100_000)
    exact = detection_metrics(scores, anomaly, 1.0, bootstrap_samples=400, seed=0)
    for name, value in exact.items():
        assert coarse[name] == pytest.approx(value, abs=0.012), name


def test_curves_equal_scikit_learns() -> None:
    scores, anomaly = random_scores(500, ties=True)
    ours = curves(scores, anomaly)
    fpr, recall, _ = metrics.roc_curve(anomaly, scores, drop_intermediate=False)
    np.testing.assert_allclose(ours["fpr"], fpr[1:])
    np.testing.assert_allclose(ours["recall"], recall[1:])
    precision, _, _ = metrics.precision_recall_curve(anomaly, scores)
    np.testing.assert_allclose(ours["precision"], precision[:-1][::-1])
