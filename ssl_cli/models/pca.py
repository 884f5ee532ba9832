"""Principal components of rows of any width."""

import numpy as np
from sklearn.decomposition import PCA

MOST_FOR_EIGEN = 4096  # features: of more, the covariance would take gigabytes and its eigenvectors hours


def leading_components(x: np.ndarray, n: int, seed: int) -> PCA:
    """The `n` leading components of rows (N, D), fitted; of wide rows by random projections, which follow from the
    seed (Halko et al., 2011)."""
    solver = "covariance_eigh" if x.shape[1] <= MOST_FOR_EIGEN else "randomized"
    return PCA(n, svd_solver=solver, random_state=seed).fit(x)
