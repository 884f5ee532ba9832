"""Convolutional networks: down an image by halves and back up, to a code of numbers or to a grid of them."""

import math
from itertools import pairwise
from typing import Annotated

from torch import Tensor, nn

from ssl_cli.config.types import Count, Natural, Range
from ssl_cli.errors import InputError
from ssl_cli.models.mlp import ACTIVATIONS, Activation, Heads, Shape

Channels = Annotated[list[Count], "channels after each halving of height and width"]
Classes = Annotated[int, Range(2, 10_000), "kinds to sort into"]
Blocks = Annotated[Natural, "residual blocks where the image is smallest, on the way down and on the way up"]


class Residual(nn.Module):
    """x + what two convolutions add to it (He et al., arXiv 1603.05027): (B, C, H, W) -> the same."""

    def __init__(self, channels: int, activation: Activation):
        super().__init__()
        act = ACTIVATIONS[activation]
        self.change = nn.Sequential(
            act(), nn.Conv2d(channels, channels, 3, padding=1), act(), nn.Conv2d(channels, channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.change(x)


class Down(nn.Sequential):
    """(B, C, H, W) -> (B, channels[-1], h, w): each step halves height and width, rounding up."""

    def __init__(self, shape: list[int], channels: list[int], activation: Activation, blocks: int):
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise([shape[0], *channels]):
            layers += [nn.Conv2d(n_in, n_out, 3, stride=2, padding=1), ACTIVATIONS[activation]()]
        residual = [Residual(channels[-1], activation) for _ in range(blocks)]
        super().__init__(*layers[:-1], *residual, layers[-1])


class Up(nn.Module):
    """(B, channels[-1], h, w) -> (B, C, H, W): the way back; each step doubles, and cuts off a row where it was odd."""

    def __init__(self, shape: list[int], channels: list[int], activation: Activation, blocks: int):
        super().__init__()
        self.sizes = sizes(shape, len(channels))[-2::-1]
        self.first = nn.Sequential(*(Residual(channels[-1], activation) for _ in range(blocks)))
        self.steps = nn.ModuleList(
            nn.Sequential(ACTIVATIONS[activation](), nn.ConvTranspose2d(n_in, n_out, 4, stride=2, padding=1))
            for n_in, n_out in pairwise([*reversed(channels), shape[0]])
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for step, (height, width) in zip(self.steps, self.sizes, strict=True):
            x = step(x)[..., :height, :width]
        return x


def sizes(shape: list[int], halvings: int) -> list[tuple[int, int]]:
    """Height and width of an image after 0, 1, ... halvings. Raises InputError where nothing is left to halve."""
    if len(shape) != 3:
        raise InputError(f"A convolutional network needs images, not rows of {math.prod(shape)} features.")
    if not halvings:
        raise InputError("A convolutional network needs the channels of one halving at least, such as [16, 32].")
    found = [(shape[1], shape[2])]
    for _ in range(halvings):
        if max(found[-1]) < 2:
            raise InputError(
                f"Images of {shape[1]} x {shape[2]} can't be halved {halvings} times: "
                "give fewer model.network.channels."
            )
        found.append((-(-found[-1][0] // 2), -(-found[-1][1] // 2)))
    return found


class ConvAutoencoder(nn.Module):
    """Convolutions down to a small map, one linear layer to a code of `latent` numbers; and the way back."""

    def __init__(
        self,
        shape: Shape,
        channels: Channels,
        latent: Count,
        activation: Activation = "gelu",
        blocks: Blocks = 0,
        outputs_per_latent: Heads = 1,
    ):
        super().__init__()
        self.shape, self.latent, self.outputs_per_latent = list(shape), latent, outputs_per_latent
        self.smallest = [channels[-1], *sizes(self.shape, len(channels))[-1]]
        width = math.prod(self.smallest)
        self.down = Down(self.shape, channels, activation, blocks)
        self.to_code = nn.Linear(width, outputs_per_latent * latent)
        self.from_code = nn.Linear(latent, width)
        self.up = Up(self.shape, channels, activation, blocks)

    @property
    def output_bias(self) -> Tensor:
        """(C,), what the decoder adds last to each channel"""
        *_, last = (layer for layer in self.up.modules() if isinstance(layer, nn.ConvTranspose2d))
        assert last.bias is not None
        return last.bias

    def encode(self, x: Tensor) -> Tensor:
        return self.to_code(self.down(x).flatten(1))

    def decode(self, z: Tensor) -> Tensor:
        return self.up(self.from_code(z).unflatten(1, self.smallest))


class Classifier(nn.Module):
    """Convolutions, normalised over the batch, to the logits of classes: (B, C, H, W) -> (B, classes)"""

    def __init__(self, shape: Shape, channels: Channels, hidden: Count, classes: Classes):
        super().__init__()
        self.classes = classes
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise([shape[0], *channels]):
            layers += [nn.Conv2d(n_in, n_out, 3, stride=2, padding=1), nn.BatchNorm2d(n_out), nn.ReLU()]
        width = channels[-1] * math.prod(sizes(list(shape), len(channels))[-1])
        self.down = nn.Sequential(*layers)
        self.top = nn.Sequential(
            nn.Linear(width, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.top(self.down(x).flatten(1))


class GridAutoencoder(nn.Module):
    """Convolutions down to a grid of vectors of `latent` numbers, and back: (B, C, H, W) <-> (B, latent, h, w)."""

    def __init__(
        self, shape: Shape, channels: Channels, latent: Count, activation: Activation = "gelu", blocks: Blocks = 1
    ):
        super().__init__()
        self.shape, self.latent = list(shape), latent
        self.grid = sizes(self.shape, len(channels))[-1]  # (h, w)
        self.down = Down(self.shape, channels, activation, blocks)
        self.to_code = nn.Conv2d(channels[-1], latent, 1)
        self.from_code = nn.Conv2d(latent, channels[-1], 1)
        self.up = Up(self.shape, channels, activation, blocks)

    def encode(self, x: Tensor) -> Tensor:
        return self.to_code(self.down(x))

    def decode(self, z: Tensor) -> Tensor:
        return self.up(self.from_code(z))
