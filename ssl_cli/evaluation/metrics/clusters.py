"""Clustering metrics: how well discrete codes agree with labels."""

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

NO_LABEL = -1


def cluster_accuracy(codes: np.ndarray, labels: np.ndarray) -> float:
    """Return the accuracy of codes (N,) against labels (N,) under the best one-to-one matching of codes and labels.

    The matching is found by the Hungarian method (Kuhn, 1955). Rows whose code gets no label count as wrong.
    """
    _, code = np.unique(codes, return_inverse=True)
    _, label = np.unique(labels, return_inverse=True)
    table = np.zeros((code.max() + 1, label.max() + 1), np.int64)
    np.add.at(table, (code, label), 1)
    return float(table[linear_sum_assignment(table, maximize=True)].sum() / len(codes))


def majority_labels(codes: np.ndarray, labels: np.ndarray, num_codes: int) -> np.ndarray:
    """Return the most frequent label of each code's rows, (N,), (N,) -> (K,); NO_LABEL for an unused code."""
    table = np.zeros((num_codes, labels.max() + 1), np.int64)
    np.add.at(table, (codes, labels), 1)
    return np.where(table.any(1), table.argmax(1), NO_LABEL)


def majority_accuracy(code_labels: np.ndarray, codes: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of rows whose code (N,) has their label (N,) in `code_labels` (K,): many codes to one label.

    As in arXiv 1511.05644, sec. 6, `code_labels` should come from other rows than those that are scored.
    """
    return float((code_labels[codes] == labels).mean())


def nmi_and_ari(codes: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return normalized mutual information (arithmetic mean) and the adjusted Rand index, by scikit-learn."""
    return {
        "nmi": float(normalized_mutual_info_score(labels, codes)),
        "ari": float(adjusted_rand_score(labels, codes)),
    }
