"""Rebuild the clean input from a corrupted one: the denoising auto-encoder."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from ssl_cli.bounds import Positive
from ssl_cli.errors import InputError
from ssl_cli.models.autoencoder import Autoencoder
from ssl_cli.objectives.reconstruction import Batch, Reconstruction

Noise = Literal["gaussian", "masking", "swap"]


class Denoising(Reconstruction):
    """Mean squared error to the clean input (Vincent et al., ICML 2008). Noise in training only: scores are exact.

    Noise of a `level`: gaussian adds N(0, level^2) to each feature; masking sets each to 0 (the training mean)
    with probability `level`; swap replaces it, with that probability, by another row's value of the same feature.
    """

    def __init__(
        self,
        network: Autoencoder,
        noise: Noise = "swap",
        level: Annotated[Positive, "standard deviation of gaussian noise, else the share of features corrupted"] = 0.1,
    ):
        super().__init__(network)
        for fault in self.option_faults({"noise": noise, "level": level}):
            raise InputError(fault)
        self.noise, self.level = noise, level

    @staticmethod
    def option_faults(options: Mapping[str, Any]) -> Iterator[str]:
        """What no single option's type can say; `check` asks before any data is read."""
        if options["noise"] != "gaussian" and options["level"] > 1:
            noise, level = options["noise"], options["level"]
            yield f"level must be at most 1 with noise={noise}, where it is a share, not {level:g}."

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        x = batch["x"]  # (B, D)
        return {"loss": (self.network(corrupt(x, self.noise, self.level)) - x).square().mean()}


def corrupt(x: Tensor, noise: Noise, level: float) -> Tensor:
    """(B, D) -> (B, D), with noise of the given kind and level."""
    if noise == "gaussian":
        return x + level * torch.randn_like(x)
    hit = torch.rand_like(x) < level  # (B, D)
    if noise == "masking":
        return x.masked_fill(hit, 0.0)
    other = torch.randint(len(x), x.shape, device=x.device)  # (B, D), a row for each feature of each row
    return torch.where(hit, x.gather(0, other), x)
