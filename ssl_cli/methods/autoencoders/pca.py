"""The linear auto-encoder, fitted in one go: principal components."""

from typing import Annotated, ClassVar

import numpy as np
import torch
from torch import Tensor

from ssl_cli.config.types import Count
from ssl_cli.errors import InputError
from ssl_cli.methods.autoencoders.autoencoder import Autoencoder
from ssl_cli.models.mlp import Shape
from ssl_cli.models.pca import leading_components


class _Projection(torch.nn.Module):
    """The best linear encoder and decoder: onto the leading eigenvectors of the covariance, and back."""

    outputs_per_latent = 1
    mean: Tensor
    components: Tensor

    def __init__(self, shape: list[int], latent: int):
        super().__init__()
        self.shape, self.latent = list(shape), latent
        n_features = torch.Size(shape).numel()
        if latent > n_features:
            raise InputError(f"model.latent={latent} is more than the {n_features} features there are.")
        self.register_buffer("mean", torch.zeros(n_features))  # (D,)
        self.register_buffer("components", torch.zeros(latent, n_features))  # (Z, D), orthonormal rows

    def encode(self, x: Tensor) -> Tensor:
        return (x.flatten(1) - self.mean) @ self.components.T

    def decode(self, z: Tensor) -> Tensor:
        return (z @ self.components + self.mean).unflatten(1, self.shape)


class PCA(Autoencoder):
    """PCA under the auto-encoders' interface: of all linear codes of a size the one with the least squared error."""

    reads: ClassVar[tuple[str, ...]] = ("x",)

    def __init__(self, shape: Shape, latent: Annotated[Count, "components kept"]):
        super().__init__(_Projection(shape, latent))

    def fit(self, x: np.ndarray, seed: int) -> None:
        """From rows (N, D) float32. Raises InputError where there are fewer rows than components."""
        network = self.network
        assert isinstance(network, _Projection)
        if len(x) < network.latent:
            raise InputError(f"model.latent={network.latent}: {len(x)} training rows have no more than {len(x)}.")
        found = leading_components(x, network.latent, seed)
        network.mean.copy_(torch.from_numpy(found.mean_))
        network.components.copy_(torch.from_numpy(found.components_))
        self.fit_statistics(torch.from_numpy(x).unflatten(1, network.shape))
