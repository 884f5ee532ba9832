"""Principal components, exact and by random projections."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from ssl_cli.models.pca import fit_pca


def test_wide_rows_have_the_same_components_and_depend_only_on_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(60, 4)) * [8, 4, 2, 1]) @ rng.normal(size=(4, 50)) + 0.01 * rng.normal(size=(60, 50))
    exact = fit_pca(x, 3, seed=0)
    wanted = PCA(3, svd_solver="full").fit_transform(x)
    np.testing.assert_allclose(np.abs(exact.transform(x)), np.abs(wanted), atol=1e-6)
    monkeypatch.setattr("ssl_cli.models.pca.MAX_COVARIANCE_FEATURES", 49)
    wide, again = (fit_pca(x, 3, seed=5).transform(x) for _ in range(2))
    np.testing.assert_array_equal(wide, again)
    np.testing.assert_allclose(np.abs(wide), np.abs(exact.transform(x)), atol=1e-3)
    assert not np.array_equal(wide, exact.transform(x))
