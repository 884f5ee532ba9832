"""Principal component analysis of rows of any width."""

import numpy as np
from sklearn.decomposition import PCA

MAX_COVARIANCE_FEATURES = 4096  # beyond, the covariance takes gigabytes and its eigenvectors hours


def fit_pca(x: np.ndarray, n: int, seed: int) -> PCA:
    """Fit the `n` leading principal components of rows (N, D).

    Wide rows are fitted by random projections, which depend on the seed (Halko et al., 2011).
    """
    solver = "covariance_eigh" if x.shape[1] <= MAX_COVARIANCE_FEATURES else "randomized"
    return PCA(n, svd_solver=solver, random_state=seed).fit(x)
