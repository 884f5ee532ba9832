"""How codes are used, and how well they sort what has labels. Arrays -> numbers."""

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

UNNAMED = -1


def cluster_accuracy(codes: np.ndarray, labels: np.ndarray) -> float:
    """The largest share of rows whose code (N,) is matched with their label (N,), one code to one label at most.

    (The Hungarian method: Kuhn, 1955.) Rows of codes that are left without a label count as wrong.
    """
    _, code = np.unique(codes, return_inverse=True)
    _, label = np.unique(labels, return_inverse=True)
    table = np.zeros((code.max() + 1, label.max() + 1), np.int64)
    np.add.at(table, (code, label), 1)
    return float(table[linear_sum_assignment(table, maximize=True)].sum() / len(codes))


def majority_labels(codes: np.ndarray, labels: np.ndarray, alphabet: int) -> np.ndarray:
    """(N,), (N,) -> (K,): the commonest label of the rows of each code; UNNAMED where it has none."""
    table = np.zeros((alphabet, labels.max() + 1), np.int64)
    np.add.at(table, (codes, labels), 1)
    return np.where(table.any(1), table.argmax(1), UNNAMED)


def majority_accuracy(names: np.ndarray, codes: np.ndarray, labels: np.ndarray) -> float:
    """The share of rows whose code (N,) is named (K,) as their label (N,): many codes to one label, as in
    arXiv 1511.05644, sec. 6; there, too, the names come from other rows than those that are counted."""
    return float((names[codes] == labels).mean())


def agreement(codes: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Normalised mutual information (by the arithmetic mean) and the adjusted Rand index, by scikit-learn."""
    return {
        "nmi": float(normalized_mutual_info_score(labels, codes)),
        "ari": float(adjusted_rand_score(labels, codes)),
    }
