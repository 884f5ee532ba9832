"""Squeeze an image through a grid of codes from a learned codebook: the VQ-VAE."""

from collections.abc import Callable
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from ssl_cli.config.types import Count, Range
from ssl_cli.errors import InputError
from ssl_cli.methods.autoencoders.autoencoder import AT_ONCE, Batch
from ssl_cli.models.convnet import GridAutoencoder
from ssl_cli.models.images import misfit, numbers, parts
from ssl_cli.models.pixelcnn import PixelCNN
from ssl_cli.models.quantizer import Quantizer, perplexity

AT_START = 2048  # images whose vectors start the codebook


class VQVAE(nn.Module):
    """Mean squared error through a quantised grid, and the quantizer's loss (van den Oord, arXiv 1711.00937, eq. 3).

    The codebook starts from k-means over the vectors of the untrained encoder. Its `prior` is fitted to the codes of
    the training images once all else is trained, and draws new ones.
    """

    reads: ClassVar[tuple[str, ...]] = ("x",)
    code_counts: Tensor
    prior_is_fitted: Tensor

    def __init__(
        self,
        network: GridAutoencoder,
        quantizer: Quantizer,
        prior_width: Annotated[int, Range(2), "channels of the prior over the grid, a PixelCNN"] = 64,
        prior_layers: Annotated[Count, "residual blocks of the prior"] = 6,
    ):
        super().__init__()
        if (width := quantizer.vectors.shape[1]) != network.latent:
            raise InputError(f"model.quantizer.width={width} must be model.network.latent, {network.latent}.")
        self.network, self.quantizer = network, quantizer
        self.alphabet, (height, width) = len(quantizer.vectors), network.grid
        self.prior = PixelCNN(self.alphabet, network.grid, prior_width, prior_layers).requires_grad_(False)
        self.register_buffer("code_counts", torch.zeros(height * width, self.alphabet, dtype=torch.int64))
        self.register_buffer("prior_is_fitted", torch.tensor(False))
        self._seen = torch.zeros(self.alphabet, dtype=torch.int64)

    def initialize_from_data(self, x: Tensor, seed: int, log: Callable[[str], None]) -> None:
        """The codebook's start. `x` (N, C, H, W) bytes."""
        some = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:AT_START]
        with torch.inference_mode():
            self.quantizer.start_from(as_vectors(self.network.encode(numbers(x[some]))), seed)
        log(f"codebook: {self.alphabet} codes start from k-means over the vectors of {len(some):,} images")

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """loss, and its parts: the squared error a pixel, and the quantizer's"""
        x = batch["x"]
        grid = self.network.encode(x)  # (B, D, h, w)
        chosen, index, quantization = self.quantizer(as_vectors(grid))
        if not self.training:
            self._seen = self._seen + torch.bincount(index, minlength=self.alphabet).cpu()
        error = (self.network.decode(as_grid(chosen, grid)) - x).square().mean()
        return {"loss": error + quantization, "error": error, "quantization": quantization}

    def epoch_metrics(self) -> dict[str, float]:
        """Perplexity and the share of codes used, over all that was seen in evaluation since it was last asked."""
        seen, self._seen = self._seen, torch.zeros_like(self._seen)
        return {"perplexity": perplexity(seen), "codes_used": float((seen > 0).double().mean())}

    # --- codes ---

    def codes(self, batch: Batch) -> Tensor:
        """(B, h * w) int64, row by row"""
        grid = self.network.encode(batch["x"])
        return self.quantizer.nearest(as_vectors(grid)).view(len(grid), -1)

    def decode_codes(self, codes: Tensor) -> Tensor:
        """(B, h * w) int64 -> (B, *shape)"""
        height, width = self.network.grid
        vectors = self.quantizer.look_up(codes.view(-1, height, width))  # (B, h, w, D)
        return self.network.decode(vectors.permute(0, 3, 1, 2))

    def fit_statistics(self, x: Tensor) -> None:
        """Count how often each place of the grid has each code over the training images (N, C, H, W)."""
        self.code_counts.zero_()
        for part in parts(x, AT_ONCE, self.code_counts.device):
            codes = self.codes({"x": part})
            self.code_counts.T.scatter_add_(0, codes, torch.ones_like(codes))

    def reconstruct(self, batch: Batch) -> Tensor:
        """As `batch["x"]`, (B, ...)"""
        return self.decode_codes(self.codes(batch)).view_as(batch["x"])

    def embed(self, batch: Batch) -> Tensor:
        """(B, h * w * D): the vectors of the codes, row by row"""
        return self.quantizer.look_up(self.codes(batch)).flatten(1)

    def generate(self, n: int) -> Tensor:
        """(n, *shape): grids drawn from the prior, decoded; from torch's own random stream"""
        return self.decode_codes(self.prior.sample(n).flatten(1))

    def score(self, batch: Batch) -> Tensor:
        """(B,): the mean squared error of each image, smoothed; larger is more abnormal."""
        return misfit(self.reconstruct(batch), batch["x"]).flatten(1).mean(1)


def as_vectors(grid: Tensor) -> Tensor:
    """(B, D, h, w) -> (B * h * w, D)"""
    return grid.permute(0, 2, 3, 1).flatten(0, 2)


def as_grid(vectors: Tensor, like: Tensor) -> Tensor:
    """(B * h * w, D) -> (B, D, h, w)"""
    batch, width, height, across = like.shape
    return vectors.view(batch, height, across, width).permute(0, 3, 1, 2)
