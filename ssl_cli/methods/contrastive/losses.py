"""Losses of projections of two views of each image: rows of the same place belong together.

Each is of a whole batch, in float32. If several devices share it, the projections of all of them are gathered first,
and each device computes the loss of all: their mean gradient is that of one device with the whole batch.
"""

import math
from typing import Annotated, ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_cli.config.types import Count, Positive, Range, Share

Losses = dict[str, Tensor]  # `loss`, and parts of it by name


class ViewLoss(Protocol):
    """A loss of views (V, B, D) float32, V of each of B images; `is_of_pairs` if V is 2.

    `remedy` is what to try if the vectors of all images become alike.
    """

    is_of_pairs: ClassVar[bool]
    remedy: ClassVar[str]

    def __call__(self, z: Tensor) -> Losses:
        """Return the loss and its parts."""


class NTXent(nn.Module):
    """Normalized temperature-scaled cross-entropy (SimCLR, arXiv 2002.05709, eq. 1), in nats: find the other view among
    all other images' views.

    It cannot be 0: with B images and cosines of 1 and 0 it is log(1 + (2B - 2) exp(-1 / temperature)).
    """

    is_of_pairs: ClassVar[bool] = True
    remedy: ClassVar[str] = "a larger trainer.batch_size, which brings more negatives"

    def __init__(self, temperature: Annotated[Positive, "smaller: near negatives count more"] = 0.2):
        super().__init__()
        self.temperature = temperature

    def forward(self, z: Tensor) -> Losses:
        """Return the loss of two views (2, B, D), and the share of views whose other view is the nearest."""
        n = z.shape[1]
        flat = functional.normalize(z.flatten(0, 1), dim=1)  # (2B, D)
        similarity = (flat @ flat.T / self.temperature).fill_diagonal_(-math.inf)
        other = torch.arange(2 * n, device=z.device).roll(n)
        loss = functional.cross_entropy(similarity, other)
        return {"loss": loss, "pair_accuracy": (similarity.argmax(1) == other).float().mean().detach()}


class SIGRegLoss(nn.Module):
    """Sketched isotropic Gaussian regularization (LeJEPA, arXiv 2511.08544): all views of an image near their mean, and
    projections distributed as a standard Gaussian.

    The distance to a Gaussian is that of Epps and Pulley between characteristic functions, along random directions,
    by the trapezoidal rule at `knots` points of 0 to `max_t`.
    """

    is_of_pairs: ClassVar[bool] = False
    remedy: ClassVar[str] = "a larger model.loss.gaussian_weight, which spreads vectors"
    t: Tensor
    quadrature: Tensor

    def __init__(
        self,
        gaussian_weight: Annotated[Share, "share of the distance to a Gaussian in the loss"] = 0.02,
        directions: Annotated[Count, "random directions, drawn anew for each batch"] = 256,
        knots: Annotated[int, Range(2, 1000), "points at which characteristic functions are compared"] = 17,
        max_t: Annotated[Positive, "the last of them"] = 3.0,
    ):
        super().__init__()
        self.gaussian_weight, self.directions = gaussian_weight, directions
        t = torch.linspace(0, max_t, knots)
        steps = torch.full((knots,), 2 * max_t / (knots - 1))  # both sides of 0: the integrand is even
        steps[[0, -1]] /= 2
        self.register_buffer("t", t, persistent=False)
        self.register_buffer("quadrature", steps * (-t.square() / 2).exp(), persistent=False)

    def forward(self, z: Tensor) -> Losses:
        """Return the loss of views (V, B, D)."""
        invariance = (z - z.mean(0)).square().mean()
        directions = functional.normalize(torch.randn(z.shape[2], self.directions, device=z.device), dim=0)
        gaussian = torch.stack([self.distance(each @ directions).mean() for each in z]).mean()
        loss = (1 - self.gaussian_weight) * invariance + self.gaussian_weight * gaussian
        return {"loss": loss, "invariance": invariance.detach(), "gaussian": gaussian.detach()}

    def distance(self, x: Tensor) -> Tensor:
        """Return the Epps-Pulley statistic of each column of numbers (B, K), times B: (K,)."""
        angles = x[..., None] * self.t  # (B, K, T)
        error = (angles.cos().mean(0) - (-self.t.square() / 2).exp()).square() + angles.sin().mean(0).square()
        return (error @ self.quadrature) * len(x)
