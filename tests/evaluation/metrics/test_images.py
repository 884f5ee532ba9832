"""Reconstruction metrics equal naive transcriptions of their formulas."""

import math

import numpy as np
import pytest

from ssl_cli.evaluation.metrics import images


def random_images(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.random(shape).astype(np.float32)
    return x, (x + 0.2 * rng.normal(size=shape)).astype(np.float32)


@pytest.mark.parametrize("shape", [(5, 1, 8, 8), (300, 3, 4, 5)])
def test_psnr_is_that_of_the_pooled_error(shape: tuple[int, ...]) -> None:
    x, reconstruction = random_images(shape)
    reconstruction[0] += 1  # one image far worse than the others: the mean of their own PSNRs would hide it
    pooled = ((x.astype(float) - reconstruction) ** 2).mean()
    mse = images.mean_squared_error(x, reconstruction)
    assert mse == pytest.approx(pooled, rel=1e-9)
    assert images.psnr(mse) == pytest.approx(20 * math.log10(1 / math.sqrt(pooled)))
    of_each = 10 * np.log10(1 / ((x - reconstruction) ** 2).mean((1, 2, 3)))
    assert images.psnr(mse) < of_each.mean()


def naive_ssim(a: np.ndarray, b: np.ndarray, radius: int, sigma: float) -> float:
    """Wang et al. (2004), eq. 13, with the window slid over one image (H, W), reflected at its edges."""
    at = np.arange(-radius, radius + 1)
    window = np.exp(-(at[:, None] ** 2 + at**2) / (2 * sigma**2))
    window /= window.sum()
    a, b = np.pad(a, radius, mode="reflect"), np.pad(b, radius, mode="reflect")
    size, found = 2 * radius + 1, []
    for top in range(a.shape[0] - size + 1):
        for left in range(a.shape[1] - size + 1):
            p, q = a[top : top + size, left : left + size], b[top : top + size, left : left + size]
            mean_p, mean_q = (window * p).sum(), (window * q).sum()
            var_p, var_q = (window * (p - mean_p) ** 2).sum(), (window * (q - mean_q) ** 2).sum()
            both = (window * (p - mean_p) * (q - mean_q)).sum()
            luminance = (2 * mean_p * mean_q + 1e-4) / (mean_p**2 + mean_q**2 + 1e-4)
            found.append(luminance * (2 * both + 9e-4) / (var_p + var_q + 9e-4))
    return float(np.mean(found))


@pytest.mark.parametrize(
    ("size", "radius", "sigma"), [((8, 8), 5, 1.5), ((13, 9), 5, 1.5), ((6, 20), 5, 1.5), ((4, 4), 3, 3 / 3.5)]
)
def test_ssim_equals_the_formula(size: tuple[int, int], radius: int, sigma: float) -> None:
    x, reconstruction = random_images((3, 2, *size))
    expected = np.mean(
        [
            naive_ssim(a, b, radius, sigma)
            for a, b in zip(x.reshape(-1, *size), reconstruction.reshape(-1, *size), strict=True)
        ]
    )
    assert images.ssim(x, reconstruction) == pytest.approx(expected, abs=1e-4)
    assert images.ssim(x, x) == pytest.approx(1)


def test_ssim_of_images_of_one_pixel() -> None:
    x, reconstruction = random_images((3, 1, 1, 1))
    assert 0 < images.ssim(x, reconstruction) <= 1
