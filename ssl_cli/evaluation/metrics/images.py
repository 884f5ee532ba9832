"""Metrics between images and their reconstructions: mean squared error, PSNR, SSIM."""

import math

import numpy as np
import torch

IMAGE_BATCH = 256  # images at a time: SSIM's window slides over five maps of each
WINDOW_STD, WINDOW_RADIUS = 1.5, 5  # pixels: the 11 x 11 window of Wang et al.


def mean_squared_error(x: np.ndarray, reconstruction: np.ndarray) -> float:
    """Return the mean squared error over all pixels of images (N, C, H, W) in 0..1."""
    n_batches = -(-len(x) // IMAGE_BATCH)
    batches = zip(*(np.array_split(images, n_batches) for images in (x, reconstruction)), strict=True)
    return sum(float(np.square(a.astype(np.float64) - b).sum()) for a, b in batches) / x.size


def psnr(mse: float) -> float:
    """Return the peak signal-to-noise ratio in decibels, for pixels in 0..1, of the error pooled over all images.

    It is infinite if the error is 0.
    """
    return -10 * math.log10(mse) if mse else math.inf


def ssim(x: np.ndarray, reconstruction: np.ndarray) -> float:
    """Return the mean structural similarity (Wang et al., 2004) of images (N, C, H, W) in 0..1, by torchmetrics.

    The window is an 11 x 11 Gaussian of 1.5 pixels, reflected at the edges; smaller for images below 6 pixels.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    radius = min(WINDOW_RADIUS, *(size - 1 for size in x.shape[2:]))
    sigma = WINDOW_STD if radius == WINDOW_RADIUS else max(radius / 3.5, 0.1)  # torchmetrics' radius is 3.5 sigma
    total = 0.0
    for start in range(0, len(x), IMAGE_BATCH):
        a, b = (torch.from_numpy(images[start : start + IMAGE_BATCH]).float() for images in (reconstruction, x))
        similarity = structural_similarity_index_measure(a, b, sigma=sigma, data_range=1.0, reduction="none")
        total += float(torch.as_tensor(similarity).double().sum())
    return total / len(x)
