"""Fully connected networks: a stack of layers, and the auto-encoder made of two of them."""

from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from ssl_cli.bounds import Count

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}
Activation = Literal["relu", "gelu", "silu", "tanh"]


def mlp(widths: list[int], activation: Activation = "relu") -> nn.Sequential:
    """Linear layers of the given widths, (B, widths[0]) -> (B, widths[-1]), with an activation between them."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(widths):
        layers += [nn.Linear(n_in, n_out), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


class Autoencoder(nn.Module):
    """`hidden` widths down to a code of `latent` numbers, and the same widths back up to the input."""

    def __init__(self, n_features: Count, hidden: list[Count], latent: Count, activation: Activation = "relu"):
        super().__init__()
        self.n_features = n_features
        self.encoder = mlp([n_features, *hidden, latent], activation)
        self.decoder = mlp([latent, *reversed(hidden), n_features], activation)

    def encode(self, x: Tensor) -> Tensor:
        """(B, n_features) -> (B, latent)"""
        return self.encoder(x)

    def forward(self, x: Tensor) -> Tensor:
        """(B, n_features) -> (B, n_features), rebuilt"""
        return self.decoder(self.encoder(x))
