"""Image augmentation: small random affine deformations that keep what an image shows."""

import math
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_cli.config.types import NonNegative


class Deform(nn.Module):
    """Rotate, scale, shear and shift each image (B, C, H, W) at random, uniformly within limits.

    Draws from torch's global random stream. Interpolation is bilinear; beyond the edge, images are black.
    """

    def __init__(
        self,
        turn: Annotated[NonNegative, "rotation in degrees"] = 20.0,
        scale: Annotated[NonNegative, "change of size, as a share of it"] = 0.15,
        shear: Annotated[NonNegative, "horizontal shift of the top against the middle, in heights"] = 0.2,
        shift: Annotated[NonNegative, "shift in each direction, as a share of the size"] = 0.09,
    ):
        super().__init__()
        self.turn, self.scale, self.shear, self.shift = turn, scale, shear, shift

    def scaled(self, factor: float) -> "Deform":
        """Return a copy whose limits are multiplied by `factor`."""
        return Deform(*(factor * limit for limit in (self.turn, self.scale, self.shear, self.shift)))

    def forward(self, x: Tensor) -> Tensor:
        """Return the deformed images, (B, C, H, W)."""
        draws = 2 * torch.rand(6, len(x), device=x.device) - 1  # (6, B) in -1..1
        angle, shear = draws[0] * math.radians(self.turn), draws[1] * self.shear
        across, down = (1 + draws[2:4] * self.scale).unbind()
        cos, sin = angle.cos(), angle.sin()
        # The source of each pixel: scaled, then sheared, then rotated. The sides of a grid are 2 units long.
        rows = [
            torch.stack([across * cos, down * (cos * shear - sin), 2 * draws[4] * self.shift], dim=1),
            torch.stack([across * sin, down * (sin * shear + cos), 2 * draws[5] * self.shift], dim=1),
        ]
        with torch.autocast(x.device.type, enabled=False):  # bf16 resolves no less than half a pixel of 28
            grid = functional.affine_grid(torch.stack(rows, dim=1), list(x.shape), align_corners=False)
            return functional.grid_sample(x, grid.to(x.dtype), align_corners=False)
