"""Image augmentation, batched and on the images' own device: random views that keep what an image shows.

All draws come from torch's global random stream, which training seeds by (seed, step). One interpolation does all that
moves pixels, and one matrix an image nearly all that changes colours.
"""

import math
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_cli.config.types import NonNegative, Share

ASPECT = (3 / 4, 4 / 3)  # width to height of a random crop
MAX_HUE = 0.5  # of a full turn
# NTSC's luminance and two differences of colours: a hue is an angle in their plane.
LUMA = (0.299, 0.587, 0.114)
TO_YIQ = [LUMA, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112)]
CropShare = Annotated[Share, "smallest share of the image's area in a random crop; 1: the whole image"]


class Augment(nn.Module):
    """Random views of images (B, C, H, W) in 0..1, each drawn on its own.

    In this order: a random crop, scaled to the size of the image, and a flip; rotation, scale, shear and shift;
    brightness, contrast, saturation and hue; grey; blur; solarization. As in SimCLR (arXiv 2002.05709, app. A) and
    BYOL (2006.07733, app. B), but the colours are changed in a fixed order, hues are turned in the YIQ plane, and a
    crop is interpolated without a filter. Beyond the edge, images are black. Grey images have no colours to change.
    """

    def __init__(
        self,
        crop: CropShare = 1.0,
        flip: Annotated[Share, "share of the views that are mirrored"] = 0.0,
        turn: Annotated[NonNegative, "largest rotation in degrees"] = 0.0,
        scale: Annotated[NonNegative, "largest change of height and of width, as a share of them"] = 0.0,
        shear: Annotated[NonNegative, "largest horizontal shift of the top against the middle, in heights"] = 0.0,
        shift: Annotated[NonNegative, "largest shift in each direction, as a share of the size"] = 0.0,
        brightness: Annotated[Share, "largest change of brightness, as a share of it"] = 0.0,
        contrast: Annotated[Share, "the same of contrast"] = 0.0,
        saturation: Annotated[Share, "the same of saturation"] = 0.0,
        hue: Annotated[Share, "largest turn of the hue, as a share of a full turn"] = 0.0,
        colour_share: Annotated[Share, "share of the views whose colours are changed"] = 0.8,
        grey: Annotated[Share, "share of the views that are made grey"] = 0.0,
        blur: Annotated[Share, "share of the views that are blurred"] = 0.0,
        solarize: Annotated[Share, "share of the views whose bright pixels are inverted"] = 0.0,
    ):
        super().__init__()
        self.crop, self.flip = crop, flip
        self.turn, self.scale, self.shear, self.shift = turn, scale, shear, shift
        self.brightness, self.contrast, self.saturation, self.hue = brightness, contrast, saturation, hue
        self.colour_share, self.grey, self.blur, self.solarize = colour_share, grey, blur, solarize

    @classmethod
    def deformation(cls, level: float = 1.0) -> "Augment":
        """Return small rotations, scalings, shears and shifts; at level 1 of up to 20 degrees."""
        return cls(turn=20.0 * level, scale=0.15 * level, shear=0.2 * level, shift=0.09 * level)

    def forward(self, x: Tensor) -> Tensor:
        """Return a random view of each image, (B, C, H, W)."""
        with torch.autocast(x.device.type, enabled=False), torch.no_grad():  # bf16 resolves half a pixel of 28 at best
            x = x.float()
            if self.crop < 1 or self.flip or self.turn or self.scale or self.shear or self.shift:
                x = functional.grid_sample(x, _grid(self._places(x), x), align_corners=False)
            if self.brightness or self.contrast or ((self.saturation or self.hue or self.grey) and x.shape[1] == 3):
                x = self._recoloured(x)
            if self.blur:
                x = torch.where(_chosen(x, self.blur), blurred(x), x)
            if self.solarize:
                x = torch.where(_chosen(x, self.solarize) & (x >= 0.5), 1 - x, x)
        return x

    def _places(self, x: Tensor) -> Tensor:
        """Return the map from each place of a view to its source, (B, 2, 3); the sides of an image are 2 units long."""
        n, device = len(x), x.device
        draws = 2 * torch.rand(6, n, device=device) - 1  # in -1..1
        angle, shear = draws[0] * math.radians(self.turn), draws[1] * self.shear
        across, down = (1 + draws[2:4] * self.scale).unbind()
        cos, sin = angle.cos(), angle.sin()
        # The source of each pixel: scaled, then sheared, then rotated.
        turned = torch.stack(
            [
                torch.stack([across * cos, down * (cos * shear - sin), 2 * draws[4] * self.shift], 1),
                torch.stack([across * sin, down * (sin * shear + cos), 2 * draws[5] * self.shift], 1),
            ],
            1,
        )
        if self.crop == 1 and not self.flip:
            return turned
        size, centre = _crops(n, self.crop, device)  # (B, 2, 1) each
        cropped = torch.cat([size * turned[..., :2], size * turned[..., 2:] + centre], 2)
        mirror = torch.where(torch.rand(n, device=device) < self.flip, -1.0, 1.0)
        cropped[..., 0] *= mirror[:, None]
        return cropped

    def _recoloured(self, x: Tensor) -> Tensor:
        """Return images with other colours: a map of each pixel's colours, (C, C), and a constant."""
        n, channels = x.shape[:2]
        draws = 2 * torch.rand(4, n, device=x.device) - 1
        changes = torch.rand(n, device=x.device) < self.colour_share
        bright, contrast, saturation, hue = torch.where(changes, draws, 0.0).unbind()
        colours = torch.eye(channels, device=x.device).expand(n, -1, -1)
        luma = torch.tensor(LUMA if channels == 3 else [1 / channels] * channels, device=x.device)
        if channels == 3:
            is_grey = torch.rand(n, device=x.device) < self.grey
            strength = torch.where(is_grey, 0.0, 1 + self.saturation * saturation)
            colours = _turned_hues(2 * math.pi * self.hue * hue, strength)
        factor = ((1 + self.brightness * bright) * (1 + self.contrast * contrast))[:, None, None]
        mean_grey = (x.mean((2, 3)) @ luma) * (1 + self.brightness * bright)  # (B,)
        constant = -self.contrast * contrast * mean_grey  # contrast keeps the mean
        changed = torch.baddbmm(constant[:, None, None], factor * colours, x.flatten(2))
        return changed.clamp_(0, 1).view_as(x)


def _grid(places: Tensor, x: Tensor) -> Tensor:
    """Return where each pixel of a view is in its source, (B, H, W, 2), by maps (B, 2, 3).

    As torch's affine_grid, in one product for all images: on a CPU that takes an eighth of the time.
    """
    height, width = x.shape[2:]
    down, across = ((2 * torch.arange(n, device=x.device) + 1) / n - 1 for n in (height, width))
    ones = torch.ones(height, width, device=x.device)
    pixels = torch.stack([across.expand(height, -1), down[:, None].expand(-1, width), ones]).flatten(1)  # (3, HW)
    return (places.flatten(0, 1) @ pixels).view(-1, 2, height, width).permute(0, 2, 3, 1)


def _crops(n: int, smallest: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the width and height of random crops and their centres, (B, 2, 1) each; an image goes from -1 to 1."""
    draws = torch.rand(4, n, device=device)
    area = smallest + (1 - smallest) * draws[0]
    low, high = (math.log(ratio) for ratio in ASPECT)
    aspect = torch.exp(low + (high - low) * draws[1]) if smallest < 1 else torch.ones_like(area)
    size = torch.stack([area * aspect, area / aspect], 1).sqrt().clamp(max=1)
    return size[..., None], ((1 - size) * (2 * draws[2:].T - 1))[..., None]


def _turned_hues(angle: Tensor, strength: Tensor) -> Tensor:
    """Return maps of red, green and blue (B, 3, 3) that turn the hue by an angle (B,) and scale the saturation."""
    cos, sin = strength * angle.cos(), strength * angle.sin()
    zero, one = torch.zeros_like(angle), torch.ones_like(angle)
    rows = [[one, zero, zero], [zero, cos, -sin], [zero, sin, cos]]
    turn = torch.stack([torch.stack(row, 1) for row in rows], 1)  # (B, 3, 3) in YIQ
    to_yiq = torch.tensor(TO_YIQ, device=angle.device)
    return torch.linalg.inv(to_yiq) @ turn @ to_yiq


def _chosen(x: Tensor, share: float) -> Tensor:
    """Return which images are changed, (B, 1, 1, 1)."""
    return (torch.rand(len(x), device=x.device) < share).view(-1, 1, 1, 1)


def blurred(x: Tensor) -> Tensor:
    """Return images smoothed by Gaussians of random widths: 0.1 to 2 pixels of 224, and in proportion."""
    size = min(x.shape[2:])
    radius = max(1, round(size / 20))  # SimCLR's kernel is a tenth of the image
    sigma = (0.1 + 1.9 * torch.rand(len(x), device=x.device)) * max(size / 224, 0.3)
    places = torch.arange(-radius, radius + 1, device=x.device)
    weights = torch.exp(-0.5 * (places / sigma[:, None]).square())  # (B, K)
    weights = weights / weights.sum(1, keepdim=True)
    for dim in (2, 3):
        margin = [0, 0, radius, radius] if dim == 2 else [radius, radius, 0, 0]
        padded = functional.pad(x, margin, mode="reflect")
        shifted = (padded.narrow(dim, k, x.shape[dim]) * weights[:, k].view(-1, 1, 1, 1) for k in range(len(places)))
        x = torch.stack(list(shifted)).sum(0)
    return x


def shifted_pixels(x: Tensor, max_shift: int) -> Tensor:
    """Return each image of x (B, C, H, W) moved by up to `max_shift` whole pixels in each direction, at random.

    The uncovered pixels are black.
    """
    height, width = x.shape[2:]
    padded = functional.pad(x, (max_shift, max_shift, max_shift, max_shift))
    start = torch.randint(2 * max_shift + 1, (2, len(x)), device=x.device)  # where each image's window begins
    rows = start[0][:, None] + torch.arange(height, device=x.device)  # (B, H)
    columns = start[1][:, None] + torch.arange(width, device=x.device)  # (B, W)
    image = torch.arange(len(x), device=x.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)
