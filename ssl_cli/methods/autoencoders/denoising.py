"""Denoising autoencoder: reconstruct the clean input from a corrupted one."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from ssl_cli.config.types import Natural, Positive
from ssl_cli.data.images.augment import Augment
from ssl_cli.errors import InputError
from ssl_cli.methods.autoencoders.autoencoder import Autoencoder, Batch
from ssl_cli.methods.columns import Categories
from ssl_cli.models.mlp import AutoencoderNetwork

Noise = Literal["gaussian", "masking", "swap", "salt_pepper", "deform"]
IMAGE_NOISE = ("salt_pepper", "deform")


class DenoisingAutoencoder(Autoencoder):
    """Mean squared error to the clean input (Vincent et al., ICML 2008). Scores are computed without noise.

    Noise of a `level`:

    - gaussian adds N(0, level^2) to each feature;
    - masking sets each feature to 0 (the training mean, or black) with probability `level`;
    - swap replaces it, with that probability, by the same feature of another row;
    - salt_pepper makes a pixel, with that probability, white or black;
    - deform rotates, scales, shears and shifts an image, `level` times as much as `Augment.deformation`.
    """

    def __init__(
        self,
        network: AutoencoderNetwork,
        noise: Noise = "swap",
        level: Annotated[
            Positive,
            "gaussian: standard deviation; deform: 1 is 20 degrees; else the share of features corrupted",
        ] = 0.1,
        loss: Literal["squared_error", "cross_entropy"] = "squared_error",
        output: Literal["linear", "sigmoid"] = "linear",
        shift: Annotated[Natural, "largest random shift of a training image, in pixels"] = 0,
        categories: Categories | None = None,
    ):
        super().__init__(network, loss, output, shift, categories)
        for fault in self.option_faults({"noise": noise, "level": level}):
            raise InputError(fault)
        if noise in IMAGE_NOISE and len(network.shape) == 1:
            raise InputError(f"model.noise={noise} is for images; for a table use gaussian, masking or swap.")
        self.noise, self.level = noise, level

    @staticmethod
    def option_faults(options: Mapping[str, Any]) -> Iterator[str]:
        """Yield what is wrong with options together; `check` calls it before any data is read."""
        if options["noise"] not in ("gaussian", "deform") and options["level"] > 1:
            noise, level = options["noise"], options["level"]
            yield f"level must be at most 1 with noise={noise}, where it is a share, not {level:g}."

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss of rows `x` (B, *shape), which are corrupted before they are encoded."""
        x = self._shifted(batch["x"])
        return {"loss": self._reconstruction_loss(self.network.decode(self.network.encode(self.corrupt(x))), x)}

    def corrupt(self, x: Tensor) -> Tensor:
        """Return x (B, ...) with the training noise, drawn from torch's global generator."""
        return corrupt(x, self.noise, self.level)


def corrupt(x: Tensor, noise: Noise, level: float) -> Tensor:
    """Return x (B, ...) with noise of the given kind and level."""
    if noise == "gaussian":
        return x + level * torch.randn_like(x)
    if noise == "deform":
        return Augment.deformation(level)(x)
    if noise == "salt_pepper":
        pixels = torch.rand_like(x[:, :1]) < level  # (B, 1, H, W): the channels of a pixel are corrupted together
        return torch.where(pixels, (torch.rand_like(x[:, :1]) < 0.5).to(x.dtype), x)
    is_corrupted = torch.rand_like(x) < level  # (B, ...)
    if noise == "masking":
        return x.masked_fill(is_corrupted, 0.0)
    other = torch.randint(len(x), x.shape, device=x.device)  # (B, ...), a row for each feature of each row
    return torch.where(is_corrupted, x.gather(0, other), x)
