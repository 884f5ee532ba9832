"""Fully connected networks: a stack of layers, and the auto-encoder made of two of them."""

import math
from itertools import pairwise
from typing import Annotated, Literal, Protocol

from torch import Tensor, nn

from ssl_cli.config.types import Count, Natural
from ssl_cli.models.cpu import Linear

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
Activation = Literal["relu", "gelu", "silu", "tanh", "sigmoid"]
Shape = Annotated[list[Count], "features of a row, or an image's channels, height, width"]
Condition = Annotated[Natural, "numbers that the decoder is told besides the code"]
Heads = Annotated[Count, "what the encoder says of each number of the code: 2 are a mean and a log variance"]


class EncoderDecoder(Protocol):
    """What an auto-encoder's objective asks of its network: down to a code, and back up."""

    shape: list[int]
    latent: int
    outputs_per_latent: int

    def encode(self, x: Tensor) -> Tensor:
        """(B, *shape) -> (B, heads * latent)"""

    def decode(self, z: Tensor) -> Tensor:
        """(B, latent) -> (B, *shape); with a condition, (B, condition + latent)"""


def mlp(widths: list[int], activation: Activation = "relu", linear: type[nn.Linear] = nn.Linear) -> nn.Sequential:
    """Linear layers of the given widths, (B, widths[0]) -> (B, widths[-1]), with an activation between them."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(widths):
        layers += [linear(n_in, n_out), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


class MLPAutoencoder(nn.Module):
    """`hidden` widths down to a code of `latent` numbers, and the same widths back up to the input."""

    def __init__(
        self,
        shape: Shape,
        hidden: list[Count],
        latent: Count,
        activation: Activation = "relu",
        outputs_per_latent: Heads = 1,
        condition: Condition = 0,
    ):
        super().__init__()
        self.shape, self.latent, self.outputs_per_latent, self.condition = (
            list(shape),
            latent,
            outputs_per_latent,
            condition,
        )
        n_features = math.prod(shape)
        linear = Linear if len(shape) == 3 else nn.Linear  # the layers of a table are too small to gain from it
        self.encoder = mlp([n_features, *hidden, outputs_per_latent * latent], activation, linear)
        self.decoder = mlp([condition + latent, *reversed(hidden), n_features], activation, linear)

    @property
    def output_bias(self) -> Tensor:
        """(D,), what the decoder adds last"""
        last = self.decoder[-1]
        assert isinstance(last, nn.Linear)
        return last.bias

    def encode(self, x: Tensor) -> Tensor:
        return self.encoder(x.flatten(1))

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z).unflatten(1, self.shape)
