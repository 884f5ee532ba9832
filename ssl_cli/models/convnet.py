"""Convolutional networks for images: an encoder that halves height and width, a decoder that doubles them."""

import math
from itertools import pairwise
from typing import Annotated

from torch import Tensor, nn

from ssl_cli.config.types import Count, Natural, Range
from ssl_cli.errors import InputError
from ssl_cli.models.mlp import ACTIVATIONS, Activation, OutputsPerLatent, Shape

Channels = Annotated[list[Count], "channels after each halving of height and width"]
Classes = Annotated[int, Range(2, 10_000), "number of classes"]
Blocks = Annotated[Natural, "residual blocks at the lowest resolution, in the encoder and in the decoder"]


class ResidualBlock(nn.Module):
    """Residual block of two convolutions (He et al., arXiv 1603.05027): (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels: int, activation: Activation):
        super().__init__()
        act = ACTIVATIONS[activation]
        self.change = nn.Sequential(
            act(), nn.Conv2d(channels, channels, 3, padding=1), act(), nn.Conv2d(channels, channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` plus the output of the convolutions."""
        return x + self.change(x)


class ConvEncoder(nn.Sequential):
    """Downsampling convolutions: (B, C, H, W) -> (B, channels[-1], h, w).

    Each step halves height and width, rounding up.
    """

    def __init__(self, shape: list[int], channels: list[int], activation: Activation, blocks: int):
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise([shape[0], *channels]):
            layers += [nn.Conv2d(n_in, n_out, 3, stride=2, padding=1), ACTIVATIONS[activation]()]
        residual = [ResidualBlock(channels[-1], activation) for _ in range(blocks)]
        super().__init__(*layers[:-1], *residual, layers[-1])


class ConvDecoder(nn.Module):
    """Upsampling convolutions, the reverse of ConvEncoder: (B, channels[-1], h, w) -> (B, C, H, W).

    Each step doubles height and width, and crops the last row or column where the size was odd.
    """

    def __init__(self, shape: list[int], channels: list[int], activation: Activation, blocks: int):
        super().__init__()
        self.sizes = feature_map_sizes(shape, len(channels))[-2::-1]
        self.first = nn.Sequential(*(ResidualBlock(channels[-1], activation) for _ in range(blocks)))
        self.steps = nn.ModuleList(
            nn.Sequential(ACTIVATIONS[activation](), nn.ConvTranspose2d(n_in, n_out, 4, stride=2, padding=1))
            for n_in, n_out in pairwise([*reversed(channels), shape[0]])
        )

    def forward(self, x: Tensor) -> Tensor:
        """Upsample (B, channels[-1], h, w) -> (B, C, H, W)."""
        x = self.first(x)
        for step, (height, width) in zip(self.steps, self.sizes, strict=True):
            x = step(x)[..., :height, :width]
        return x


def feature_map_sizes(shape: list[int], halvings: int) -> list[tuple[int, int]]:
    """Return the height and width of an image of `shape` after 0, 1, ... `halvings` halvings.

    Raises InputError if `shape` is not (C, H, W), or if the image is too small for that many halvings.
    """
    if len(shape) != 3:
        raise InputError(f"A convolutional network needs images, not rows of {math.prod(shape)} features.")
    if not halvings:
        raise InputError("A convolutional network needs the channels of at least one halving, such as [16, 32].")
    sizes = [(shape[1], shape[2])]
    for _ in range(halvings):
        if max(sizes[-1]) < 2:
            raise InputError(
                f"Images of {shape[1]} x {shape[2]} can't be halved {halvings} times: "
                "give fewer model.network.channels."
            )
        sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
    return sizes


class ConvAutoencoder(nn.Module):
    """Convolutional autoencoder: convolutions to a small feature map, one linear layer to a code of size `latent`."""

    def __init__(
        self,
        shape: Shape,
        channels: Channels,
        latent: Count,
        activation: Activation = "gelu",
        blocks: Blocks = 0,
        outputs_per_latent: OutputsPerLatent = 1,
    ):
        super().__init__()
        self.shape, self.latent, self.outputs_per_latent = list(shape), latent, outputs_per_latent
        self.smallest = [channels[-1], *feature_map_sizes(self.shape, len(channels))[-1]]
        width = math.prod(self.smallest)
        self.down = ConvEncoder(self.shape, channels, activation, blocks)
        self.to_code = nn.Linear(width, outputs_per_latent * latent)
        self.from_code = nn.Linear(latent, width)
        self.up = ConvDecoder(self.shape, channels, activation, blocks)

    @property
    def output_bias(self) -> Tensor:
        """Bias of the decoder's last layer, (C,)."""
        *_, last = (layer for layer in self.up.modules() if isinstance(layer, nn.ConvTranspose2d))
        assert last.bias is not None
        return last.bias

    def encode(self, x: Tensor) -> Tensor:
        """Encode (B, C, H, W) -> (B, outputs_per_latent * latent)."""
        return self.to_code(self.down(x).flatten(1))

    def decode(self, z: Tensor) -> Tensor:
        """Decode (B, latent) -> (B, C, H, W)."""
        return self.up(self.from_code(z).unflatten(1, self.smallest))


class Classifier(nn.Module):
    """Convolutional classifier with batch normalization: (B, C, H, W) -> logits (B, classes)."""

    def __init__(self, shape: Shape, channels: Channels, hidden: Count, classes: Classes):
        super().__init__()
        self.classes = classes
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise([shape[0], *channels]):
            layers += [nn.Conv2d(n_in, n_out, 3, stride=2, padding=1), nn.BatchNorm2d(n_out), nn.ReLU()]
        width = channels[-1] * math.prod(feature_map_sizes(list(shape), len(channels))[-1])
        self.down = nn.Sequential(*layers)
        self.top = nn.Sequential(
            nn.Linear(width, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (B, classes) of images (B, C, H, W)."""
        return self.top(self.down(x).flatten(1))


class GridAutoencoder(nn.Module):
    """Convolutional autoencoder whose code is a grid of vectors: (B, C, H, W) <-> (B, latent, h, w)."""

    def __init__(
        self, shape: Shape, channels: Channels, latent: Count, activation: Activation = "gelu", blocks: Blocks = 1
    ):
        super().__init__()
        self.shape, self.latent = list(shape), latent
        self.grid = feature_map_sizes(self.shape, len(channels))[-1]  # (h, w)
        self.down = ConvEncoder(self.shape, channels, activation, blocks)
        self.to_code = nn.Conv2d(channels[-1], latent, 1)
        self.from_code = nn.Conv2d(latent, channels[-1], 1)
        self.up = ConvDecoder(self.shape, channels, activation, blocks)

    def encode(self, x: Tensor) -> Tensor:
        """Encode (B, C, H, W) -> (B, latent, h, w)."""
        return self.to_code(self.down(x))

    def decode(self, z: Tensor) -> Tensor:
        """Decode (B, latent, h, w) -> (B, C, H, W)."""
        return self.up(self.from_code(z))
