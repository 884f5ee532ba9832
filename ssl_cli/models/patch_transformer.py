"""Transformer over the patches of an image: even an image is a sequence."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from ssl_cli.config.types import Count
from ssl_cli.errors import InputError
from ssl_cli.models.blocks import BlockShape, block_shape
from ssl_cli.models.encoder import (
    INITIAL_STD,
    ActivationOption,
    AttentionDropout,
    Dropout,
    Encoder,
    Feedforward,
    Heads,
    Layers,
    Norm,
    NormEps,
    SizeOption,
    layers_and_width,
)
from ssl_cli.models.mlp import Shape
from ssl_cli.models.positions import grid_waves, look_up_rows
from ssl_cli.models.resnet import GREY_MEAN, GREY_STD

GridPositions = Literal["sinusoidal", "learned"]
MIN_PATCHES, MAX_PATCH = 49, 16  # patches of an image, and pixels on a side of one, by default


class GridEncoder(Encoder):
    """Encoder of vectors that stand at places of a grid (rows, columns): (B, n, C) -> (B, n, C).

    Positions are fixed waves of row and column, or learned.
    """

    waves: Tensor

    def __init__(
        self,
        tables: Mapping[str, nn.Module | None],
        grid: tuple[int, int],
        layers: int,
        positions: GridPositions,
        shape: BlockShape,
    ):
        super().__init__(tables, math.prod(grid), layers, "learned" if positions == "learned" else None, False, shape)
        self.grid_shape, self.grid_positions = grid, positions
        if positions == "sinusoidal":
            self.register_buffer("waves", grid_waves(*grid, shape.width), persistent=False)

    def add_positions(self, x: Tensor, position: slice | Tensor) -> Tensor:
        """Return vectors (B, n, C) with the positions of their places added."""
        if self.grid_positions == "sinusoidal":
            return x + look_up_rows(self.waves, position)
        return super().add_positions(x, position)


class PatchTransformer(GridEncoder):
    """Transformer over patches (ViT, arXiv 2010.11929): images (B, C, H, W) in 0..1 -> vectors (B, width).

    There is no [CLS] token: the vector of an image is the mean of its patches' vectors. Raises InputError if the
    image can't be cut into such patches, or other sizes do not fit.
    """

    project: nn.Linear

    def __init__(
        self,
        shape: Shape,
        patch: Annotated[
            Count | None, "pixels on a side of a patch; null: the most, up to 16, with 49 patches or more in an image"
        ] = None,
        size: SizeOption = None,
        layers: Layers = None,
        width: Annotated[Count | None, "numbers in a patch's vector; null: those of the size"] = None,
        heads: Heads = None,
        feedforward: Feedforward = None,
        positions: Annotated[GridPositions, "fixed waves of row and column, or a learned vector for each place"] = (
            "sinusoidal"
        ),
        norm: Norm = "pre",
        activation: ActivationOption = "gelu",
        dropout: Dropout = 0.0,
        attention_dropout: AttentionDropout = 0.0,
        norm_eps: NormEps = 1e-6,
    ):
        channels, height, width_of_image = shape
        patch = fitting_patch(height, width_of_image, patch)
        layers, width = layers_and_width(size, layers, width)
        rest: dict[str, Any] = {"norm": norm, "norm_eps": norm_eps, "activation": activation}
        rest |= {"dropout": dropout, "attention_dropout": attention_dropout}
        of_blocks = block_shape(width, heads, feedforward, positions, **rest)
        project = nn.Linear(channels * patch * patch, width)
        super().__init__({"project": project}, (height // patch, width_of_image // patch), layers, positions, of_blocks)
        # With the small weights of an encoder's tables, a patch's vector would at first be its position alone.
        nn.init.xavier_uniform_(project.weight)
        self.shape, self.patch = list(shape), patch

    @property
    def options(self) -> dict[str, Any]:
        """Constructor arguments of a network of the same shape."""
        names = ("shape", "patch", "layers", "width", "heads", "feedforward", "norm", "activation", "dropout")
        options = {name: getattr(self, name) for name in (*names, "attention_dropout", "norm_eps")}
        return {**options, "positions": self.grid_positions}

    def forward(self, x: Tensor, places: Tensor | None = None) -> Tensor:
        """Return the mean of the vectors of all patches, (B, C); with places (B, n), those of these patches alone.

        The latter are (B, n, C), and depend on no other patch.
        """
        patches = cut(x, self.patch)  # (B, N, P)
        if places is None:
            return self._read(patches, slice(0, self.context)).mean(1)
        return self._read(pick(patches, places), places)

    def grid(self, x: Tensor) -> Tensor:
        """Return the vectors of all patches at their places, (B, C, rows, columns)."""
        return self._read(cut(x, self.patch), slice(0, self.context)).mT.unflatten(2, self.grid_shape)

    def _read(self, patches: Tensor, position: slice | Tensor) -> Tensor:
        """Return the vectors (B, n, C) of patches (B, n, P) in 0..1, after the last norm."""
        x = self.add_positions(self.project((patches - GREY_MEAN) / GREY_STD), position)
        return self.encode(self.normalize_and_drop(x), position, None, False)


class PatchDecoder(GridEncoder):
    """Decoder of a masked auto-encoder: vectors of visible patches -> the numbers of all other patches.

    It reads the visible patches' vectors at their places, and at all others the same learned vector.
    """

    project: nn.Linear
    output: nn.Linear

    def __init__(self, network: PatchTransformer, layers: int, width: int, heads: int | None):
        rest: dict[str, Any] = {"norm": "pre", "norm_eps": network.norm_eps, "activation": network.activation}
        shape = block_shape(width, heads, None, network.grid_positions, dropout=0.0, attention_dropout=0.0, **rest)
        n_values = network.project.in_features
        tables = {"project": nn.Linear(network.width, width), "output": nn.Linear(width, n_values)}
        super().__init__(tables, network.grid_shape, layers, network.grid_positions, shape)
        self.mask_vector = nn.Parameter(INITIAL_STD * torch.randn(width))

    def forward(self, visible: Tensor, order: Tensor) -> Tensor:
        """Return the numbers (B, N - n, P) of patches, given the vectors (B, n, C) of others.

        `order` (B, N) are the places of the visible patches and then those of the others, whose numbers are returned
        in this order.
        """
        n_visible, n = visible.shape[1], order.shape[1]
        x = self.project(visible)
        masks = self.mask_vector.to(x.dtype).expand(len(x), n - n_visible, -1)
        x = self.add_positions(torch.cat([x, masks], 1), order)  # (B, N, C)
        return self.output(self.encode(x, order, None, False)[:, n_visible:])


# --- patches ---


def fitting_patch(height: int, width: int, patch: int | None) -> int:
    """Return the pixels on a side of a patch: those given, or by default the most with enough patches in an image.

    Raises InputError if such patches do not fill the image, or one does.
    """
    sizes = [k for k in range(1, max(height, width)) if height % k == 0 and width % k == 0]
    if patch in sizes:
        return patch
    small = [k for k in sizes if 1 < k <= MAX_PATCH]
    if patch is None and small:
        return max((k for k in small if height * width >= MIN_PATCHES * k * k), default=small[0])
    if not sizes:
        raise InputError(f"An image of {height} x {width} pixels can't be cut into patches: it has only one pixel.")
    asked = f"of {patch} x {patch} pixels" if patch else f"of 2 to {MAX_PATCH} pixels on a side"
    raise InputError(
        f"Images of {height} x {width} pixels can't be cut into patches {asked}: model.network.patch must divide both "
        f"sides, as {', '.join(map(str, sizes))} {'does' if len(sizes) == 1 else 'do'}."
    )


def cut(x: Tensor, patch: int) -> Tensor:
    """Return the patches of images (B, C, H, W), row by row, each with its channels one after the other: (B, N, P)."""
    return x.unfold(2, patch, patch).unfold(3, patch, patch).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)


def joined(patches: Tensor, shape: list[int], patch: int) -> Tensor:
    """Return the images (B, *shape) of patches (B, N, P), as `cut` makes them of images."""
    channels, height, width = shape
    grid = patches.reshape(len(patches), height // patch, width // patch, channels, patch, patch)
    return grid.permute(0, 3, 1, 4, 2, 5).reshape(-1, channels, height, width)


def pick(patches: Tensor, places: Tensor) -> Tensor:
    """Return the patches (B, n, P) of (B, N, P) at places (B, n)."""
    return patches.take_along_dim(places[..., None], 1)
