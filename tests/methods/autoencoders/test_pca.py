"""PCA: against scikit-learn and a naive eigendecomposition."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA as ReferencePCA

from ssl_cli.errors import InputError
from ssl_cli.methods.autoencoders.pca import PCA

SHAPE = [1, 8, 8]


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return (load_digits().data[:600] / 16).astype(np.float32)  # (N, 64); some pixels never vary


@pytest.fixture(scope="module")
def model(x: np.ndarray) -> PCA:
    pca = PCA(SHAPE, latent=10)
    pca.fit(x, seed=0)
    return pca


def batch(x: np.ndarray) -> dict[str, torch.Tensor]:
    return {"x": torch.from_numpy(x).view(-1, *SHAPE)}


def test_reconstructions_equal_scikit_learns(model: PCA, x: np.ndarray) -> None:
    found = ReferencePCA(10, svd_solver="full").fit(x.astype(np.float64))
    wanted = found.inverse_transform(found.transform(x))
    reconstructed = model.reconstruct(batch(x))
    assert reconstructed.shape == (600, *SHAPE)
    np.testing.assert_allclose(reconstructed.flatten(1).numpy(), wanted, atol=1e-4)
    np.testing.assert_allclose(np.abs(model.embed(batch(x)).numpy()), np.abs(found.transform(x)), atol=1e-3)


def test_its_error_is_the_sum_of_the_eigenvalues_left_out(model: PCA, x: np.ndarray) -> None:
    eigenvalues = np.linalg.eigvalsh(np.cov(x.T.astype(np.float64), bias=True))
    error = (model.reconstruct(batch(x)) - batch(x)["x"]).flatten(1).square().sum(1).mean()
    assert error.item() == pytest.approx(eigenvalues[:-10].sum(), rel=1e-4)
    assert model(batch(x))["loss"].item() == pytest.approx(eigenvalues[:-10].sum() / 64, rel=1e-4)


def test_the_components_are_orthonormal(model: PCA) -> None:
    rows = model.network.components
    torch.testing.assert_close(rows @ rows.T, torch.eye(10), atol=1e-5, rtol=0)


def test_new_images_have_the_training_codes_covariance(model: PCA, x: np.ndarray) -> None:
    covariance = model.code_factor @ model.code_factor.T
    wanted = np.cov(model.embed(batch(x)).numpy().T, bias=True)
    np.testing.assert_allclose(covariance.numpy(), wanted, atol=1e-4)
    torch.manual_seed(0)
    assert model.generate(7).shape == (7, *SHAPE)


def test_all_components_reconstruct_exactly(x: np.ndarray) -> None:
    pca = PCA(SHAPE, latent=64)
    pca.fit(x, seed=0)
    np.testing.assert_allclose(pca.reconstruct(batch(x)).flatten(1).numpy(), x, atol=1e-4)
    assert pca.generate(3).isfinite().all()


def test_more_components_than_features_or_rows_are_rejected(x: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"model\.latent=65 is more than the 64 features of the data"):
        PCA(SHAPE, latent=65)
    with pytest.raises(InputError, match=r"model\.latent=10: 6 training rows"):
        PCA(SHAPE, latent=10).fit(x[:6], seed=0)
