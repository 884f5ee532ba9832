"""Anomaly detection metrics of scores, with bootstrap intervals.

All metrics are computed from counts of rows at each distinct score, for many bootstrap samples at once. A bootstrap of
445,000 rows takes seconds; a thousand calls of scikit-learn would take minutes. The tests check that the metrics equal
scikit-learn's.
"""

import numpy as np

from ssl_cli.evaluation.metrics.bootstrap import percentile_interval

LOW_FPR = 0.01
# Beyond this many distinct scores the *intervals* (never the metrics) are computed on quantiles of the scores.
MAX_LEVELS = 4096
BOOTSTRAP_BATCH = 500  # bounds the memory: 16 MB per array


def detection_metrics(
    scores: np.ndarray, anomaly: np.ndarray, threshold: float, bootstrap_samples: int, seed: int
) -> dict[str, float]:
    """Return every metric with its 95 % percentile-bootstrap interval, as `name`, `name_low`, `name_high`.

    `scores` (N,): larger is more anomalous. `anomaly` (N,) bool, with both values present. Rows are resampled within
    each class, so that the share of anomalies stays the same.
    """
    levels, normal, anomalous = _counts(scores, anomaly)
    point = metrics_from_counts(levels, normal[None], anomalous[None], threshold)
    if len(levels) > MAX_LEVELS:
        levels, normal, anomalous = _merge_levels(levels, normal, anomalous, threshold)
    rng = np.random.default_rng([seed, 3])
    resampled = []
    for start in range(0, bootstrap_samples, BOOTSTRAP_BATCH):
        size = min(BOOTSTRAP_BATCH, bootstrap_samples - start)
        samples = [
            rng.multinomial(counts.sum(), counts / counts.sum(), size=size) for counts in (normal, anomalous)
        ]  # (R, L)
        resampled.append(metrics_from_counts(levels, samples[0], samples[1], threshold))
    metrics: dict[str, float] = {}
    for name, value in point.items():
        low, high = percentile_interval(np.concatenate([batch[name] for batch in resampled]))
        metrics |= {name: float(value[0]), f"{name}_low": low, f"{name}_high": high}
    return metrics


def metrics_from_counts(
    levels: np.ndarray, normal: np.ndarray, anomalous: np.ndarray, threshold: float
) -> dict[str, np.ndarray]:
    """Return each metric, (R,), from the counts (R, L) of rows at each score level (L,), the largest first.

    `precision_at_k` takes the k highest scores, where k is the number of anomalies (a tie at the edge counts by its
    share of anomalies). `recall_at_1_fpr` is the largest recall with at most 1 % false positives.
    """
    n_normal, n_anomalous = normal.sum(1), anomalous.sum(1)  # (R,)
    false, true = np.cumsum(normal, 1), np.cumsum(anomalous, 1)  # (R, L): flagged at or above each level
    recall, fpr = true / n_anomalous[:, None], false / n_normal[:, None]
    precision_at = true / np.maximum(true + false, 1)

    above = levels > threshold
    last = int(above.sum()) - 1
    flagged_true = true[:, last] if last >= 0 else np.zeros_like(n_anomalous)
    flagged_false = false[:, last] if last >= 0 else np.zeros_like(n_normal)
    flagged = flagged_true + flagged_false

    n_below = n_normal[:, None] - false + 0.5 * normal  # normal rows below each level, ties by half
    return {
        "auroc": (anomalous * n_below).sum(1) / (n_anomalous * n_normal),
        "auprc": (anomalous * precision_at).sum(1) / n_anomalous,  # average precision, as in scikit-learn
        "precision": flagged_true / np.maximum(flagged, 1),
        "recall": flagged_true / n_anomalous,
        "f1": 2 * flagged_true / (flagged + n_anomalous),
        "fpr": flagged_false / n_normal,
        "fdr": flagged_false / np.maximum(flagged, 1),  # of the rows flagged: the false discovery proportion
        "precision_at_k": _hits_in_top_k(n_anomalous, true, true + false) / n_anomalous,
        "recall_at_1_fpr": np.where(fpr <= LOW_FPR, recall, 0).max(1),
    }


def _hits_in_top_k(k: np.ndarray, true: np.ndarray, ranked: np.ndarray) -> np.ndarray:
    """Return the number of anomalies among the k highest-ranked rows, (R,); `true`, `ranked` (R, L) are cumulative."""
    row = np.arange(len(k))
    edge = (ranked >= k[:, None]).argmax(1)  # the level at which the k-th row lies
    before = np.maximum(edge - 1, 0)
    ranked_before = np.where(edge > 0, ranked[row, before], 0)
    true_before = np.where(edge > 0, true[row, before], 0)
    share = (k - ranked_before) / (ranked[row, edge] - ranked_before)
    return true_before + share * (true[row, edge] - true_before)


def _counts(scores: np.ndarray, anomaly: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the distinct scores, largest first, and the counts of normal rows and anomalies at each, (L,) each."""
    levels, inverse = np.unique(-scores, return_inverse=True)
    counts = [
        np.bincount(inverse, weights=is_class, minlength=len(levels)).astype(np.int64)
        for is_class in (~anomaly, anomaly)
    ]
    return -levels, counts[0], counts[1]


def _merge_levels(
    levels: np.ndarray, normal: np.ndarray, anomalous: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Merge neighbouring levels into about MAX_LEVELS with equal shares of the classes, none across the threshold."""
    rank = np.cumsum(normal) / normal.sum() + np.cumsum(anomalous) / anomalous.sum()  # 0 to 2
    group = np.floor(rank / 2 * (MAX_LEVELS - 2)).astype(np.int64) + (levels <= threshold)
    _, first, inverse = np.unique(group, return_index=True, return_inverse=True)
    merged = [np.bincount(inverse, weights=counts).astype(np.int64) for counts in (normal, anomalous)]
    return levels[first], merged[0], merged[1]


def curves(scores: np.ndarray, anomaly: np.ndarray) -> dict[str, np.ndarray]:
    """Return `fpr`, `recall` and `precision` at every distinct score, largest first, (L,) each, for plotting."""
    _, normal, anomalous = _counts(scores, anomaly)
    false, true = np.cumsum(normal), np.cumsum(anomalous)
    return {"fpr": false / normal.sum(), "recall": true / anomalous.sum(), "precision": true / (true + false)}
