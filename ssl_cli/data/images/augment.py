"""Small random deformations of images: another view of the same thing."""

import math
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_cli.config.types import NonNegative


class Deform(nn.Module):
    """(B, C, H, W) -> the same, each image turned, scaled, sheared and shifted by itself, evenly up to the limits.

    From torch's own random stream; bilinear, black beyond the edge.
    """

    def __init__(
        self,
        turn: Annotated[NonNegative, "degrees"] = 20.0,
        scale: Annotated[NonNegative, "share of the size, larger or smaller"] = 0.15,
        shear: Annotated[NonNegative, "horizontal shift, in heights, of the top against the middle"] = 0.2,
        shift: Annotated[NonNegative, "share of the size, in each direction"] = 0.09,
    ):
        super().__init__()
        self.turn, self.scale, self.shear, self.shift = turn, scale, shear, shift

    def times(self, level: float) -> "Deform":
        """The same, to limits that are `level` times as wide."""
        return Deform(*(level * limit for limit in (self.turn, self.scale, self.shear, self.shift)))

    def forward(self, x: Tensor) -> Tensor:
        draws = 2 * torch.rand(6, len(x), device=x.device) - 1  # (6, B) in -1..1
        angle, shear = draws[0] * math.radians(self.turn), draws[1] * self.shear
        across, down = (1 + draws[2:4] * self.scale).unbind()
        cos, sin = angle.cos(), angle.sin()
        # Where each pixel is fetched from: turned, after a shear, after scaling. A grid's side is 2 units long.
        rows = [
            torch.stack([across * cos, down * (cos * shear - sin), 2 * draws[4] * self.shift], dim=1),
            torch.stack([across * sin, down * (sin * shear + cos), 2 * draws[5] * self.shift], dim=1),
        ]
        with torch.autocast(x.device.type, enabled=False):  # half a pixel of 28 is no more than bf16 can tell apart
            grid = functional.affine_grid(torch.stack(rows, dim=1), list(x.shape), align_corners=False)
            return functional.grid_sample(x, grid.to(x.dtype), align_corners=False)
