"""What can be measured of vectors that were learned without labels: neighbours, rank, alignment and uniformity."""

import numpy as np

NEIGHBORS, TEMPERATURE = 20, 0.07  # of the vote; arXiv 1805.01978 has the temperature, and 200 of 1.3 million images
RANK_ROWS = 2000  # rows for an effective rank: it is at most the width
UNIFORMITY_ROWS = 1000
CHUNK_ROWS = 1000


def unit_rows(z: np.ndarray) -> np.ndarray:
    """Return rows (N, D) of length 1; a row of zeros stays."""
    length = np.linalg.norm(z, axis=1, keepdims=True)
    return z / np.where(length > 0, length, 1)


def neighbor_accuracy(train: np.ndarray, labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray) -> float:
    """Return the accuracy of a vote of the nearest training rows (N, D) for test rows (M, D), by cosine.

    A neighbour's vote is exp(cosine / 0.07), as in arXiv 1805.01978, of 20 neighbours.
    """
    train, test = unit_rows(train), unit_rows(test)
    k, hits = min(NEIGHBORS, len(train)), 0
    classes, number = np.unique(labels, return_inverse=True)
    for first in range(0, len(test), CHUNK_ROWS):
        cosine = test[first : first + CHUNK_ROWS] @ train.T  # (n, N)
        nearest = np.argpartition(-cosine, k - 1, axis=1)[:, :k]  # (n, k)
        weight = np.exp(np.take_along_axis(cosine, nearest, 1) / TEMPERATURE)
        votes = np.zeros((len(cosine), len(classes)))
        np.add.at(votes, (np.arange(len(cosine))[:, None], number[nearest]), weight)
        hits += int((classes[votes.argmax(1)] == test_labels[first : first + CHUNK_ROWS]).sum())
    return hits / len(test)


def effective_rank(z: np.ndarray) -> float:
    """Return the exponential of the entropy of the singular values of vectors (N, D): RankMe (arXiv 2210.02885, eq. 2).

    At most D. Near 1 all vectors lie on one line.
    """
    values = np.linalg.svd(z[:RANK_ROWS].astype(np.float64), compute_uv=False)
    share = values / max(values.sum(), 1e-12) + 1e-7
    return float(np.exp(-(share * np.log(share)).sum()))


def alignment(first: np.ndarray, second: np.ndarray) -> float:
    """Return the mean squared distance of the unit vectors (N, D) of two views of each image (arXiv 2005.10242, eq. 5).

    Smaller is better; 2 if views of an image are no nearer than any others.
    """
    return float(np.square(unit_rows(first) - unit_rows(second)).sum(1).mean())


def uniformity(z: np.ndarray) -> float:
    """Return the log of the mean of exp(-2 d^2) over pairs of unit vectors (N, D) (arXiv 2005.10242, eq. 6).

    0 if all are the same; about -4 at best.
    """
    z = unit_rows(z[:UNIFORMITY_ROWS].astype(np.float64))
    squared = np.clip(2 - 2 * z @ z.T, 0, None)
    pairs = squared[np.triu_indices(len(z), 1)]
    return float(np.log(np.exp(-2 * pairs).mean())) if len(pairs) else 0.0
