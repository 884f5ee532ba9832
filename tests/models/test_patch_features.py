"""Features of patches, against a naive transcription of Coates, Lee and Ng (AISTATS 2011)."""

import numpy as np
import pytest
import torch

from ssl_cli.models.patch_features import PatchFeatures

SIZE, CENTERS = 3, 5


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (4, 2, 7, 8), np.uint8)


@pytest.fixture
def features(images: np.ndarray) -> PatchFeatures:
    rng = np.random.default_rng(1)
    patches = [naive_patch(images[k % 4], *rng.integers(0, 5, 2)) for k in range(200)]
    features = PatchFeatures.of_patches(np.stack(patches), SIZE)
    features.set_centers(features.whiten(np.stack(patches[:CENTERS])))
    return features


def naive_patch(image: np.ndarray, top: int, left: int) -> np.ndarray:
    return image[:, top : top + SIZE, left : left + SIZE].reshape(-1)


def naively_normalized(patch: np.ndarray) -> np.ndarray:
    values = patch.astype(float)
    return (values - values.mean()) / np.sqrt(values.var(ddof=1) + 10)


def test_the_features_are_the_formula(features: PatchFeatures, images: np.ndarray) -> None:
    found = features.embed({"x": torch.from_numpy(images).float() / 255}).numpy()
    mean, whitening, centers = (value.double().numpy() for value in features.buffers())
    assert found.shape == (4, 4 * CENTERS)
    for image, row in zip(images, found, strict=True):
        triangle = np.zeros((5, 6, CENTERS))  # of each place of a patch
        for top in range(5):
            for left in range(6):
                white = (naively_normalized(naive_patch(image, top, left)) - mean) @ whitening
                distance = [np.sqrt(((white - center) ** 2).sum()) for center in centers]
                triangle[top, left] = [max(0.0, np.mean(distance) - each) for each in distance]
        # Quarters of 5 places share the middle one.
        quarters = [triangle[rows, columns] for rows in (slice(3), slice(2, 5)) for columns in (slice(3), slice(3, 6))]
        expected = np.stack([quarter.mean((0, 1)) for quarter in quarters], 1)  # (K, 4)
        np.testing.assert_allclose(row, expected.ravel(), atol=1e-3)


def test_whitened_patches_have_no_correlation() -> None:
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(4000, 1, 9))
    patches = np.clip(128 + 40 * shared + 30 * rng.normal(size=(4000, 2, 9)), 0, 255).reshape(4000, 18)
    patches = patches.astype(np.uint8)
    covariance = np.cov(PatchFeatures.of_patches(patches, SIZE).whiten(patches), rowvar=False)
    off_diagonal = covariance - np.diag(np.diag(covariance))
    raw = np.corrcoef(patches, rowvar=False)
    assert np.abs(off_diagonal).max() < 0.1 < np.abs(raw - np.eye(18)).max()
    assert (np.diag(covariance) > 0.8).all() and (np.diag(covariance) < 1).all()


def test_an_even_image_has_finite_features(features: PatchFeatures) -> None:
    even = torch.full((1, 2, 7, 8), 0.5)
    assert features.embed({"x": even}).isfinite().all()
