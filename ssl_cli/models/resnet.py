"""Residual networks for images, from tiny ones for 32 x 32 pixels to those that torchvision publishes."""

from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_cli.config.types import Count
from ssl_cli.errors import InputError
from ssl_cli.models.batch_norm import BatchNorm
from ssl_cli.models.mlp import Shape

Stem = Literal["3x3", "3x3/2", "7x7/2"]
Block = Literal["basic", "bottleneck"]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's red, green and blue: torchvision's
GREY_MEAN, GREY_STD = 0.449, 0.226  # their means
EXPANSION = 4  # of a bottleneck's last convolution
MIN_HALVED = 16  # pixels that the first convolution halves by default
# With fewer channels, oneDNN writes the gradient of a strided convolution of 1 x 1 past the end of its memory:
# https://github.com/uxlfoundation/oneDNN/issues/6035
MIN_STRIDED_CHANNELS = 16
HALVINGS = {"3x3": 0, "3x3/2": 1, "7x7/2": 2}


class BasicBlock(nn.Module):
    """Residual block of two convolutions (arXiv 1512.03385): (B, n_in, H, W) -> (B, n, H / stride, W / stride)."""

    expansion = 1

    def __init__(self, n_in: int, n: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = conv(n_in, n, 3, stride), BatchNorm(n)
        self.conv2, self.bn2 = conv(n, n, 3), BatchNorm(n)
        self.downsample = shortcut(n_in, n, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return the activations of `x` plus the output of the convolutions."""
        change = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        return functional.relu(change + (x if self.downsample is None else self.downsample(x)))


class BottleneckBlock(nn.Module):
    """Residual block of a narrow convolution between two of 1 x 1: (B, n_in, H, W) -> (B, 4n, H / stride, W / stride).

    The narrow one has the stride, as in torchvision.
    """

    expansion = EXPANSION

    def __init__(self, n_in: int, n: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = conv(n_in, n, 1), BatchNorm(n)
        self.conv2, self.bn2 = conv(n, n, 3, stride), BatchNorm(n)
        self.conv3, self.bn3 = conv(n, EXPANSION * n, 1), BatchNorm(EXPANSION * n)
        self.downsample = shortcut(n_in, EXPANSION * n, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return the activations of `x` plus the output of the convolutions."""
        change = functional.relu(self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x))))))
        return functional.relu(self.bn3(self.conv3(change)) + (x if self.downsample is None else self.downsample(x)))


BLOCKS: dict[str, type[BasicBlock] | type[BottleneckBlock]] = {"basic": BasicBlock, "bottleneck": BottleneckBlock}


class ResNet(nn.Module):
    """Residual network (arXiv 1512.03385): images (B, C, H, W) in 0..1 -> vectors (B, width).

    Its weights have the names of torchvision's. stem=7x7/2 with `widths` 64, 128, 256, 512 is ResNet-18 with `depths`
    2, 2, 2, 2 and ResNet-50 with 3, 4, 6, 3 and block=bottleneck. Each stage but the first halves height and width.
    Raises InputError if nothing is left of an image.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        shape: Shape,
        widths: Annotated[list[Count], "channels of each stage"],
        depths: Annotated[list[Count], "residual blocks of each stage"],
        stem: Annotated[
            Stem | None,
            "first convolution and its stride; 7x7/2 has a pooling that halves once more; null: 3x3 below 16 pixels, "
            "3x3/2 from there",
        ] = None,
        block: Annotated[Block, "basic: two convolutions; bottleneck: three, with 4 times the channels"] = "basic",
    ):
        super().__init__()
        if len(widths) != len(depths):
            raise InputError(
                f"model.network.widths has {len(widths)} stages, and model.network.depths {len(depths)}: give as many."
            )
        channels, *sides = shape
        stem = stem or ("3x3" if min(sides) < MIN_HALVED else "3x3/2")
        n_halvings = HALVINGS[stem] + len(widths) - 1
        if min(sides) < 2**n_halvings:
            raise InputError(
                f"Images of {sides[0]} x {sides[1]} pixels are too small for a network that halves them {n_halvings} "
                "times: set fewer model.network.widths and depths, or model.network.stem=3x3."
            )
        self.shape, self.expansion = list(shape), BLOCKS[block].expansion
        self._options = {"widths": list(widths), "depths": list(depths), "stem": stem, "block": block}
        self.width = widths[-1] * self.expansion
        size, stride = (7, 2) if stem == "7x7/2" else (3, 2 if stem == "3x3/2" else 1)
        self.conv1, self.bn1 = conv(channels, widths[0], size, stride), BatchNorm(widths[0])
        self.has_pool, self.layers = stem == "7x7/2", len(widths)  # `layers` are its stages, as torchvision calls them
        n_in = widths[0]
        for stage, (width, depth) in enumerate(zip(widths, depths, strict=True), start=1):
            blocks = []
            for k in range(depth):
                blocks.append(BLOCKS[block](n_in, width, 2 if k == 0 and stage > 1 else 1))
                n_in = width * self.expansion
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
        for name, of_rgb, of_grey in (("mean", MEAN, GREY_MEAN), ("std", STD, GREY_STD)):
            values = torch.tensor(of_rgb if channels == 3 else [of_grey] * channels).view(-1, 1, 1)
            self.register_buffer(name, values, persistent=False)
        self._init_weights()

    def _init_weights(self) -> None:
        """Initialize as torchvision does, and each block as the identity: the last scale of its change is 0."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if isinstance(module, BasicBlock | BottleneckBlock):
                last = module.bn2 if isinstance(module, BasicBlock) else module.bn3
                nn.init.zeros_(last.weight)

    @property
    def options(self) -> dict[str, Any]:
        """Constructor arguments of a network of the same shape."""
        return {"shape": self.shape, **self._options}

    def grid(self, x: Tensor) -> Tensor:
        """Return the vectors of the last stage, (B, width, h, w)."""
        x = functional.relu(self.bn1(self.conv1((x - self.mean) / self.std)))
        if self.has_pool:
            x = functional.max_pool2d(x, 3, stride=2, padding=1)
        for stage in range(1, self.layers + 1):
            x = getattr(self, f"layer{stage}")(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean vector of each image, (B, width)."""
        return self.grid(x).mean((2, 3))


class SubsampledPointwise(nn.Conv2d):
    """Convolution of every `stride`-th pixel alone: (B, n_in, H, W) -> (B, n_out, H / stride, W / stride)."""

    def __init__(self, n_in: int, n_out: int, stride: int):
        super().__init__(n_in, n_out, 1, bias=False)
        self.step = stride

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of the pixels that the strides leave."""
        return super().forward(x[:, :, :: self.step, :: self.step])


def conv(n_in: int, n_out: int, size: int, stride: int = 1) -> nn.Conv2d:
    """Return a convolution that keeps height and width but for its stride, without a bias: a norm follows."""
    return nn.Conv2d(n_in, n_out, size, stride, padding=size // 2, bias=False)


def shortcut(n_in: int, n_out: int, stride: int) -> nn.Sequential | None:
    """Return what makes a block's input as large as its output; None if it is."""
    if stride == 1 and n_in == n_out:
        return None
    is_safe = n_in >= MIN_STRIDED_CHANNELS or stride == 1
    return nn.Sequential(
        conv(n_in, n_out, 1, stride) if is_safe else SubsampledPointwise(n_in, n_out, stride), BatchNorm(n_out)
    )
