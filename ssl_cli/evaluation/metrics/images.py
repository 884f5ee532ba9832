"""How near rebuilt images are to the originals. Arrays -> numbers."""

import math

import numpy as np
import torch

AT_ONCE = 256  # images: the window slides over five maps of each
WINDOW_STD, WINDOW_RADIUS = 1.5, 5  # pixels: the 11 x 11 window of Wang et al.


def mean_squared_error(x: np.ndarray, rebuilt: np.ndarray) -> float:
    """Over all pixels of all images: both (N, C, H, W), in 0..1."""
    parts = zip(*(np.array_split(images, -(-len(x) // AT_ONCE)) for images in (x, rebuilt)), strict=True)
    return sum(float(np.square(a.astype(np.float64) - b).sum()) for a, b in parts) / x.size


def psnr(mse: float) -> float:
    """Peak signal-to-noise ratio in decibels, of pixels in 0..1, from the error pooled over all images; infinite
    where there is none."""
    return -10 * math.log10(mse) if mse else math.inf


def ssim(x: np.ndarray, rebuilt: np.ndarray) -> float:
    """Mean structural similarity (Wang et al., 2004) of images (N, C, H, W) in 0..1, by torchmetrics.

    An 11 x 11 Gaussian window of 1.5 pixels, reflected at the edges; smaller where an image has fewer than 6 pixels.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    radius = min(WINDOW_RADIUS, *(size - 1 for size in x.shape[2:]))
    sigma = WINDOW_STD if radius == WINDOW_RADIUS else max(radius / 3.5, 0.1)  # torchmetrics' radius is 3.5 sigma
    total = 0.0
    for start in range(0, len(x), AT_ONCE):
        a, b = (torch.from_numpy(images[start : start + AT_ONCE]).float() for images in (rebuilt, x))
        each = structural_similarity_index_measure(a, b, sigma=sigma, data_range=1.0, reduction="none")
        total += float(torch.as_tensor(each).double().sum())
    return total / len(x)
