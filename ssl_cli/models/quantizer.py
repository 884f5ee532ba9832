"""A codebook: each vector becomes the nearest of K learned ones."""

from typing import Annotated, Literal

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor, nn
from torch.nn import functional

from ssl_cli.config.types import Count, NonNegative, OpenShare

MOST_FOR_KMEANS = 20_000  # vectors
LEAST_COUNT = 1e-5


class Quantizer(nn.Module):
    """Vector quantisation (van den Oord et al., arXiv 1711.00937).

    The codebook follows the vectors that fall to it: as a moving average of them (codebook=ema, appendix A.1), or by a
    loss (codebook=loss, eq. 3). A code that gets less than `dead_code_threshold` of its fair share of vectors, on a
    moving average, is set on one of the batch's vectors. `cosine` compares directions only (arXiv 2110.04627, sec.
    3.2). The gradient passes the choice straight through, or rotated and scaled as the vector was (arXiv 2410.06424,
    eq. 4).
    """

    vectors: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(
        self,
        num_codes: Annotated[Count, "vectors in the codebook"],
        width: Annotated[Count, "numbers in a vector"],
        codebook: Annotated[Literal["ema", "loss"], "how the codebook learns"] = "ema",
        decay: Annotated[OpenShare, "of the moving averages, a batch"] = 0.99,
        commitment: Annotated[NonNegative, "weight of the loss that keeps vectors near their codes"] = 0.25,
        cosine: Annotated[bool, "compare directions only"] = False,
        gradient: Annotated[Literal["straight_through", "rotation"], "how it passes the choice"] = "straight_through",
        dead_code_threshold: Annotated[
            NonNegative, "share of a fair share under which a code is set anew; 0: never"
        ] = 0.05,
    ):
        super().__init__()
        self.codebook, self.decay, self.commitment = codebook, decay, commitment
        self.cosine, self.gradient, self.dead_code_threshold = cosine, gradient, dead_code_threshold
        start = torch.randn(num_codes, width)
        if codebook == "loss":
            self.vectors = nn.Parameter(start)
        else:
            self.register_buffer("vectors", start)  # (K, D)
        self.register_buffer(
            "counts", torch.ones(num_codes)
        )  # (K,) moving averages of vectors a batch, 1 is a fair share
        self.register_buffer("sums", start.clone())  # (K, D)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Vectors (N, D) -> their codes' vectors (N, D) with the gradient passed on; indices (N,); the loss."""
        x = self._direction(x.to(self.vectors.dtype))  # a batch in half precision, too, is compared in full
        index = self.nearest(x)
        if self.training and self.codebook == "ema":
            self._follow(x.detach(), index)
        chosen = self.look_up(index)
        loss = self.commitment * (x - chosen.detach()).square().mean()
        if self.codebook == "loss":
            loss = loss + (chosen - x.detach()).square().mean()
            if self.training:
                self._count(index)
        if self.training and self.dead_code_threshold > 0:
            self._revive(x.detach())
        chosen = chosen.detach()
        passed = rotated(x, chosen) if self.gradient == "rotation" else x + (chosen - x).detach()
        return (passed if self.training else chosen), index, loss

    def nearest(self, x: Tensor) -> Tensor:
        """(N, D) -> (N,) int64"""
        with torch.autocast(x.device.type, enabled=False):  # the rounding of half precision would choose other codes
            x, vectors = self._direction(x.to(self.vectors.dtype)), self._direction(self.vectors)
            return torch.addmm(vectors.square().sum(1), x, vectors.T, alpha=-2).argmin(1)

    def look_up(self, index: Tensor) -> Tensor:
        """(...,) int64 -> (..., D)"""
        # Of a copy: a dead code is set anew before the gradient has passed.
        return self._direction(self.vectors.clone())[index]

    def _direction(self, x: Tensor) -> Tensor:
        return functional.normalize(x, dim=-1) if self.cosine else x

    # --- how the codebook learns ---

    @torch.no_grad()
    def start_from(self, x: Tensor, seed: int) -> None:
        """Set the codebook on the centres of k-means over vectors (N, D)."""
        x = self._direction(x)
        if len(x) > MOST_FOR_KMEANS:
            x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:MOST_FOR_KMEANS]]
        k = min(len(self.vectors), len(x))
        means = KMeans(k, n_init=1, max_iter=20, random_state=seed).fit(x.cpu().numpy())
        self.vectors[:k] = torch.from_numpy(means.cluster_centers_).to(self.vectors)
        self.sums.copy_(self.vectors)
        self.counts.fill_(1.0)

    @torch.no_grad()
    def _count(self, index: Tensor) -> Tensor:
        """How many of the batch's vectors fell to each code, (K,), noted in the moving average in fair shares."""
        hits = torch.bincount(index, minlength=len(self.vectors)).to(self.counts.dtype)
        _sum_over_devices(hits)
        self.counts.lerp_(hits * (len(hits) / hits.sum()), 1 - self.decay)
        return hits

    @torch.no_grad()
    def _follow(self, x: Tensor, index: Tensor) -> None:
        hits = self._count(index)
        sums = torch.zeros_like(self.sums).index_add_(0, index, x)
        _sum_over_devices(sums)
        self.sums.lerp_(sums * (len(hits) / hits.sum()), 1 - self.decay)
        used = (self.counts > LEAST_COUNT)[:, None]  # one that has long had none stays where it is
        self.vectors.copy_(torch.where(used, self.sums / self.counts[:, None], self.vectors))

    @torch.no_grad()
    def _revive(self, x: Tensor) -> None:
        dead = self.counts < self.dead_code_threshold  # (K,)
        # Drawn for every code, dead or not: the number of draws must not depend on how a run went.
        found = x[torch.randint(len(x), (len(dead),), device=x.device)]
        _from_first_device(found)
        new = torch.where(dead[:, None], found, self.vectors)
        self.vectors.copy_(new)
        self.sums.copy_(torch.where(dead[:, None], found, self.sums))
        self.counts.masked_fill_(dead, 1.0)


def rotated(x: Tensor, chosen: Tensor) -> Tensor:
    """The value of `chosen` (N, D) as a rotation and scaling of x (N, D), through which the gradient passes."""
    length, goal = x.norm(dim=1, keepdim=True), chosen.norm(dim=1, keepdim=True)
    e, q = (x / length.clamp(min=1e-6)).detach(), (chosen / goal.clamp(min=1e-6)).detach()
    r = functional.normalize(e + q, dim=1)
    turned = x - 2 * r * (r * x).sum(1, keepdim=True) + 2 * q * (e * x).sum(1, keepdim=True)
    return turned * (goal / length.clamp(min=1e-6)).detach()


def perplexity(counts: Tensor | np.ndarray) -> float:
    """How many codes, used equally often, would be as uncertain: of how often each code was used, (K,)."""
    used = torch.as_tensor(counts).double()
    p = used / used.sum().clamp(min=1)
    return float(torch.special.entr(p).sum().exp())


def _sum_over_devices(x: Tensor) -> None:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(x)


def _from_first_device(x: Tensor) -> None:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.broadcast(x, 0)
