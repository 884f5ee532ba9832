"""Principal component analysis: the best linear autoencoder, fitted in one go."""

from typing import Annotated, ClassVar

import numpy as np
import torch
from torch import Tensor

from ssl_cli.config.types import Count
from ssl_cli.errors import InputError
from ssl_cli.methods.autoencoders.autoencoder import Autoencoder
from ssl_cli.methods.columns import Categories
from ssl_cli.models.mlp import Shape
from ssl_cli.models.pca import fit_pca


class _Projection(torch.nn.Module):
    """Encode by a projection onto the leading eigenvectors of the covariance, and decode by its transpose."""

    outputs_per_latent = 1
    mean: Tensor
    components: Tensor

    def __init__(self, shape: list[int], latent: int):
        super().__init__()
        self.shape, self.latent = list(shape), latent
        n_features = torch.Size(shape).numel()
        if latent > n_features:
            raise InputError(f"model.latent={latent} is more than the {n_features} features of the data.")
        self.register_buffer("mean", torch.zeros(n_features))  # (D,)
        self.register_buffer("components", torch.zeros(latent, n_features))  # (Z, D), orthonormal rows

    def encode(self, x: Tensor) -> Tensor:
        """Return the codes (B, Z) of rows (B, *shape)."""
        return (x.flatten(1) - self.mean) @ self.components.T

    def decode(self, z: Tensor) -> Tensor:
        """Return the rows (B, *shape) of codes (B, Z)."""
        return (z @ self.components + self.mean).unflatten(1, self.shape)


class PCA(Autoencoder):
    """PCA with the interface of the autoencoders: the linear code with the least squared error for its size."""

    reads: ClassVar[tuple[str, ...]] = ("x",)

    def __init__(self, shape: Shape, latent: Annotated[Count, "components kept"], categories: Categories | None = None):
        super().__init__(_Projection(shape, latent), categories=categories)

    def collapse_advice(self, sign: str, enough: int) -> str:
        """Return what to try against a sign of collapse, see `AdvisesOnCollapse`."""
        return f"model.latent={enough}" if sign == "dead_dimensions" else ""

    def fit(self, x: np.ndarray, seed: int) -> None:
        """Fit the components to rows (N, D) float32. Raises InputError if there are fewer rows than components."""
        network = self.network
        assert isinstance(network, _Projection)
        if len(x) < network.latent:
            raise InputError(f"model.latent={network.latent}: {len(x)} training rows have no more than {len(x)}.")
        fitted = fit_pca(x, network.latent, seed)
        network.mean.copy_(torch.from_numpy(fitted.mean_))
        network.components.copy_(torch.from_numpy(fitted.components_))
        self.fit_statistics(torch.from_numpy(x).unflatten(1, network.shape))
