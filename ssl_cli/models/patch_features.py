"""Features of small patches by k-means: strong without any gradient (Coates, Lee and Ng, AISTATS 2011)."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

CONTRAST_EPS, WHITENING_EPS = 10.0, 0.1  # of pixels 0..255, and of their normalized variance


class PatchFeatures(nn.Module):
    """Images (B, C, H, W) in 0..1 -> (B, 4K): per quarter of the image, how much nearer than usual each center is.

    A patch is normalized and whitened. The value of a center is max(0, mean distance - its distance), which the paper
    calls triangle.
    """

    def __init__(self, size: int, mean: np.ndarray, whitening: np.ndarray):
        super().__init__()
        self.size = size
        self.register_buffer("mean", torch.from_numpy(mean.astype(np.float32)))
        self.register_buffer("whitening", torch.from_numpy(whitening.astype(np.float32)))
        self.register_buffer("centers", torch.zeros(0, len(mean)))
        self.mean: Tensor
        self.whitening: Tensor
        self.centers: Tensor

    @classmethod
    def of_patches(cls, patches: np.ndarray, size: int) -> "PatchFeatures":
        """Return features with the whitening of patches (P, C * size * size) of bytes, still without centers."""
        x = normalized(torch.from_numpy(patches.astype(np.float32))).numpy()
        mean = x.mean(0)
        values, directions = np.linalg.eigh(np.cov(x - mean, rowvar=False))
        return cls(size, mean, directions / np.sqrt(np.maximum(values, 0) + WHITENING_EPS) @ directions.T)

    def whiten(self, patches: np.ndarray) -> np.ndarray:
        """Return whitened patches (P, D) of bytes."""
        return self._whitened(torch.from_numpy(patches.astype(np.float32))).cpu().numpy()

    def set_centers(self, centers: np.ndarray) -> None:
        """Set the centers (K, D) of whitened patches."""
        self.centers = torch.from_numpy(centers.astype(np.float32))

    def embed(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the features of images `x`, (B, 4K)."""
        x = batch["x"]
        patches = functional.unfold(255 * x, self.size).transpose(1, 2)  # (B, n, C * size * size)
        distance = torch.cdist(self._whitened(patches), self.centers.expand(len(x), -1, -1))  # (B, n, K)
        nearness = functional.relu(distance.mean(2, keepdim=True) - distance).transpose(1, 2)  # (B, K, n)
        height, width = (side - self.size + 1 for side in x.shape[2:])
        grid = nearness.unflatten(2, (height, width))
        return functional.adaptive_avg_pool2d(grid, 2).flatten(1)

    def _whitened(self, patches: Tensor) -> Tensor:
        return (normalized(patches) - self.mean) @ self.whitening


def normalized(patches: Tensor) -> Tensor:
    """Return patches (..., D) of pixels 0..255 with mean 0 and variance about 1."""
    centred = patches - patches.mean(-1, keepdim=True)
    return centred / (centred.var(-1, keepdim=True) + CONTRAST_EPS).sqrt()
