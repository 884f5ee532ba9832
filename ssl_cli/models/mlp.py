"""Fully connected networks: a stack of linear layers, and an autoencoder made of two stacks."""

import math
from itertools import pairwise
from typing import Annotated, Literal, Protocol

from torch import Tensor, nn

from ssl_cli.config.types import Count, Natural
from ssl_cli.models.cpu import Linear, ScoringLayers

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
Activation = Literal["relu", "gelu", "silu", "tanh", "sigmoid"]
Shape = Annotated[list[Count], "number of features, or an image's channels, height, width"]
Condition = Annotated[Natural, "size of the condition vector that the decoder gets besides the code"]
OutputsPerLatent = Annotated[Count, "encoder outputs for each latent dimension; 2: a mean and a log variance"]


class AutoencoderNetwork(Protocol):
    """The network that an autoencoder method needs: an encoder to a code and a decoder back to the input."""

    shape: list[int]
    latent: int
    outputs_per_latent: int

    def encode(self, x: Tensor) -> Tensor:
        """Encode (B, *shape) -> (B, outputs_per_latent * latent)."""

    def decode(self, z: Tensor) -> Tensor:
        """Decode (B, latent), or (B, condition + latent) with a condition, -> (B, *shape)."""


def mlp(widths: list[int], activation: Activation = "relu", linear: type[nn.Linear] = nn.Linear) -> nn.Sequential:
    """Build linear layers of the given widths with an activation between them: (B, widths[0]) -> (B, widths[-1])."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(widths):
        layers += [linear(n_in, n_out), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


class MLPAutoencoder(nn.Module):
    """Autoencoder of linear layers: `hidden` widths down to a code of size `latent`, and the same widths back up."""

    def __init__(
        self,
        shape: Shape,
        hidden: list[Count],
        latent: Count,
        activation: Activation = "relu",
        outputs_per_latent: OutputsPerLatent = 1,
        condition: Condition = 0,
    ):
        super().__init__()
        self.shape, self.latent = list(shape), latent
        self.outputs_per_latent, self.condition = outputs_per_latent, condition
        n_features = math.prod(shape)
        self.encoder = self._layers([n_features, *hidden, outputs_per_latent * latent], activation)
        self.decoder = self._layers([condition + latent, *reversed(hidden), n_features], activation)

    def _layers(self, widths: list[int], activation: Activation) -> nn.Sequential:
        if len(self.shape) == 3:
            return mlp(widths, activation, Linear)
        return ScoringLayers(*mlp(widths, activation))  # a table's layers are too small to train by oneDNN

    @property
    def output_bias(self) -> Tensor:
        """Bias of the decoder's last layer, (D,)."""
        last = self.decoder[-1]
        assert isinstance(last, nn.Linear)
        return last.bias

    def encode(self, x: Tensor) -> Tensor:
        """Encode (B, *shape) -> (B, outputs_per_latent * latent)."""
        return self.encoder(x.flatten(1))

    def decode(self, z: Tensor) -> Tensor:
        """Decode (B, condition + latent) -> (B, *shape)."""
        return self.decoder(z).unflatten(1, self.shape)
