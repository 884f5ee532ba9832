"""Vector quantizer: a codebook that replaces each vector by the nearest of K learned ones."""

from typing import Annotated, Literal

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor, nn
from torch.nn import functional

from ssl_cli.config.types import Count, NonNegative, OpenShare

MAX_KMEANS_VECTORS = 20_000
MIN_COUNT = 1e-5


class Quantizer(nn.Module):
    """Vector quantization (van den Oord et al., arXiv 1711.00937).

    The codebook is learned as a moving average of the vectors assigned to each code (codebook=ema, appendix A.1), or by
    a loss (codebook=loss, eq. 3). A dead code is one that gets less than `dead_code_threshold` of its fair share of
    vectors, on a moving average; it is replaced by a random vector of the batch. `cosine` compares directions only
    (arXiv 2110.04627, sec. 3.2). The gradient passes the choice of a code unchanged (straight-through), or rotated and
    scaled as the vector was (arXiv 2410.06424, eq. 4).
    """

    vectors: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(
        self,
        num_codes: Annotated[Count, "vectors in the codebook"],
        width: Annotated[Count, "numbers in a vector"],
        codebook: Annotated[Literal["ema", "loss"], "how the codebook learns: by moving averages or by a loss"] = "ema",
        decay: Annotated[OpenShare, "decay of the moving averages, per batch"] = 0.99,
        commitment: Annotated[NonNegative, "weight of the loss that keeps vectors near their codes"] = 0.25,
        cosine: Annotated[bool, "compare directions only"] = False,
        gradient: Annotated[
            Literal["straight_through", "rotation"], "how the gradient passes the choice of a code"
        ] = "straight_through",
        dead_code_threshold: Annotated[
            NonNegative, "replace codes that get less than this part of a fair share of vectors; 0: never"
        ] = 0.05,
    ):
        super().__init__()
        self.codebook, self.decay, self.commitment = codebook, decay, commitment
        self.cosine, self.gradient, self.dead_code_threshold = cosine, gradient, dead_code_threshold
        initial = torch.randn(num_codes, width)
        if codebook == "loss":
            self.vectors = nn.Parameter(initial)
        else:
            self.register_buffer("vectors", initial)  # (K, D)
        # Moving averages of the vectors per batch, (K,), in fair shares: 1 is as many as every code would get.
        self.register_buffer("counts", torch.ones(num_codes))
        self.register_buffer("sums", initial.clone())  # (K, D)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Quantize vectors (N, D) -> (code vectors (N, D) with the gradient passed on, indices (N,), loss ())."""
        x = self._normalize(x.to(self.vectors.dtype))  # a batch in half precision is compared in full precision too
        index = self.nearest(x)
        if self.training and self.codebook == "ema":
            self._update_ema(x.detach(), index)
        chosen = self.look_up(index)
        loss = self.commitment * (x - chosen.detach()).square().mean()
        if self.codebook == "loss":
            loss = loss + (chosen - x.detach()).square().mean()
            if self.training:
                self._update_counts(index)
        if self.training and self.dead_code_threshold > 0:
            self._replace_dead_codes(x.detach())
        chosen = chosen.detach()
        passed = rotate_to(x, chosen) if self.gradient == "rotation" else x + (chosen - x).detach()
        return (passed if self.training else chosen), index, loss

    def nearest(self, x: Tensor) -> Tensor:
        """Return the index of the nearest code of each vector: (N, D) -> (N,) int64."""
        with torch.autocast(x.device.type, enabled=False):  # rounding to half precision would choose other codes
            x, vectors = self._normalize(x.to(self.vectors.dtype)), self._normalize(self.vectors)
            return torch.addmm(vectors.square().sum(1), x, vectors.T, alpha=-2).argmin(1)

    def look_up(self, index: Tensor) -> Tensor:
        """Return the vectors of codes: (...,) int64 -> (..., D)."""
        # From a copy: dead codes are replaced in place before the backward pass.
        return self._normalize(self.vectors.clone())[index]

    def _normalize(self, x: Tensor) -> Tensor:
        return functional.normalize(x, dim=-1) if self.cosine else x

    # --- how the codebook learns ---

    @torch.no_grad()
    def init_from_kmeans(self, x: Tensor, seed: int) -> None:
        """Initialize the codebook with the centers of k-means on vectors (N, D)."""
        x = self._normalize(x)
        if len(x) > MAX_KMEANS_VECTORS:
            x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:MAX_KMEANS_VECTORS]]
        k = min(len(self.vectors), len(x))
        means = KMeans(k, n_init=1, max_iter=20, random_state=seed).fit(x.cpu().numpy())
        self.vectors[:k] = torch.from_numpy(means.cluster_centers_).to(self.vectors)
        _broadcast_from_first(self.vectors)
        self.sums.copy_(self.vectors)
        self.counts.fill_(1.0)

    @torch.no_grad()
    def _update_counts(self, index: Tensor) -> Tensor:
        """Update the moving averages of fair shares, and return how many of the batch's vectors each code got, (K,)."""
        hits = torch.bincount(index, minlength=len(self.vectors)).to(self.counts.dtype)
        _all_reduce(hits)
        self.counts.lerp_(hits * (len(hits) / hits.sum()), 1 - self.decay)
        return hits

    @torch.no_grad()
    def _update_ema(self, x: Tensor, index: Tensor) -> None:
        hits = self._update_counts(index)
        sums = torch.zeros_like(self.sums).index_add_(0, index, x)
        _all_reduce(sums)
        self.sums.lerp_(sums * (len(hits) / hits.sum()), 1 - self.decay)
        used = (self.counts > MIN_COUNT)[:, None]  # a code that has long got no vector stays where it is
        self.vectors.copy_(torch.where(used, self.sums / self.counts[:, None], self.vectors))

    @torch.no_grad()
    def _replace_dead_codes(self, x: Tensor) -> None:
        is_dead = self.counts < self.dead_code_threshold  # (K,)
        # Drawn for every code, dead or not: the number of draws must not depend on the course of the run.
        candidates = x[torch.randint(len(x), (len(is_dead),), device=x.device)]
        _broadcast_from_first(candidates)
        self.vectors.copy_(torch.where(is_dead[:, None], candidates, self.vectors))
        self.sums.copy_(torch.where(is_dead[:, None], candidates, self.sums))
        self.counts.masked_fill_(is_dead, 1.0)


def rotate_to(x: Tensor, chosen: Tensor) -> Tensor:
    """Return the value of `chosen` (N, D) as a rotation and scaling of x (N, D), through which the gradient passes."""
    length, target_length = x.norm(dim=1, keepdim=True), chosen.norm(dim=1, keepdim=True)
    e, q = (x / length.clamp(min=1e-6)).detach(), (chosen / target_length.clamp(min=1e-6)).detach()
    r = functional.normalize(e + q, dim=1)
    rotated = x - 2 * r * (r * x).sum(1, keepdim=True) + 2 * q * (e * x).sum(1, keepdim=True)
    return rotated * (target_length / length.clamp(min=1e-6)).detach()


def perplexity(counts: Tensor | np.ndarray) -> float:
    """Return the perplexity of code use from how often each code was used, (K,): K if all are used equally often."""
    used = torch.as_tensor(counts).double()
    p = used / used.sum().clamp(min=1)
    return float(torch.special.entr(p).sum().exp())


def _all_reduce(x: Tensor) -> None:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(x)


def _broadcast_from_first(x: Tensor) -> None:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.broadcast(x, 0)
