"""Vector-quantized autoencoder (VQ-VAE): a grid of codes from a learned codebook."""

from collections.abc import Callable
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from ssl_cli.config.types import Count, Range
from ssl_cli.errors import InputError
from ssl_cli.methods.autoencoders.autoencoder import STATISTICS_BATCH, Batch
from ssl_cli.models.convnet import GridAutoencoder
from ssl_cli.models.images import float_batches, smoothed_relative_error, to_float
from ssl_cli.models.pixelcnn import PixelCNN
from ssl_cli.models.quantizer import Quantizer, perplexity

CODEBOOK_INIT_IMAGES = 2048  # images whose vectors initialize the codebook


class VQVAE(nn.Module):
    """Mean squared error through a quantized grid, plus the quantizer's loss (van den Oord, arXiv 1711.00937, eq. 3).

    The codebook is initialized by k-means over the vectors of the untrained encoder. The `prior` is fitted to the codes
    of the training images after everything else is trained, and generates new grids.
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
        self._eval_counts = torch.zeros(self.alphabet, dtype=torch.int64)

    def initialize_from_data(self, x: Tensor, seed: int, log: Callable[[str], None]) -> None:
        """Initialize the codebook from training images x (N, C, H, W) bytes."""
        sample = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:CODEBOOK_INIT_IMAGES]
        with torch.inference_mode():
            vectors = grid_to_vectors(self.network.encode(to_float(x[sample])))
            self.quantizer.init_from_kmeans(vectors, seed)
        log(f"codebook: {self.alphabet} codes start from k-means over the vectors of {len(sample):,} images")

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss, and its parts: `error`, the squared error per pixel, and `quantization`."""
        x = batch["x"]
        grid = self.network.encode(x)  # (B, D, h, w)
        chosen, index, quantization = self.quantizer(grid_to_vectors(grid))
        if not self.training:
            self._eval_counts = self._eval_counts + torch.bincount(index, minlength=self.alphabet).cpu()
        error = (self.network.decode(vectors_to_grid(chosen, grid)) - x).square().mean()
        return {"loss": error + quantization, "error": error, "quantization": quantization}

    def epoch_metrics(self) -> dict[str, float]:
        """Return the perplexity and the share of codes used, over everything evaluated since the last call."""
        counts, self._eval_counts = self._eval_counts, torch.zeros_like(self._eval_counts)
        return {"perplexity": perplexity(counts), "codes_used": float((counts > 0).double().mean())}

    # --- codes ---

    def codes(self, batch: Batch) -> Tensor:
        """Return the codes (B, h * w) int64 of images `x`, row by row of the grid."""
        grid = self.network.encode(batch["x"])
        return self.quantizer.nearest(grid_to_vectors(grid)).view(len(grid), -1)

    def decode_codes(self, codes: Tensor) -> Tensor:
        """Return the images (B, *shape) of codes (B, h * w) int64."""
        height, width = self.network.grid
        vectors = self.quantizer.look_up(codes.view(-1, height, width))  # (B, h, w, D)
        return self.network.decode(vectors.permute(0, 3, 1, 2))

    def fit_statistics(self, x: Tensor) -> None:
        """Count how often each position of the grid has each code over the training images (N, C, H, W)."""
        self.code_counts.zero_()
        for part in float_batches(x, STATISTICS_BATCH, self.code_counts.device):
            codes = self.codes({"x": part})
            self.code_counts.T.scatter_add_(0, codes, torch.ones_like(codes))

    def reconstruct(self, batch: Batch) -> Tensor:
        """Return the reconstructions of images `x`, in their shape."""
        return self.decode_codes(self.codes(batch)).view_as(batch["x"])

    def embed(self, batch: Batch) -> Tensor:
        """Return the vectors of the codes, row by row of the grid, (B, h * w * D)."""
        return self.quantizer.look_up(self.codes(batch)).flatten(1)

    def generate(self, n: int) -> Tensor:
        """Return new images (n, *shape), decoded from grids of the prior. Random draws come from torch's global
        generator."""
        return self.decode_codes(self.prior.sample(n).flatten(1))

    def collapse_advice(self, sign: str, enough: int) -> str:
        """Return what to try against a sign of collapse, see `AdvisesOnCollapse`."""
        if sign == "constant_output":
            return "a smaller optim.lr, more steps (trainer.max_steps), or a wider network"
        if sign != "unused_codes":
            return ""
        reset = "" if self.quantizer.dead_code_threshold else "model.quantizer.dead_code_threshold=0.05, "
        average = "" if self.quantizer.codebook == "ema" else "model.quantizer.codebook=ema, "
        return f"{reset}{average}model.quantizer.num_codes={enough} or a smaller optim.lr"

    def score(self, batch: Batch) -> Tensor:
        """Return the mean `smoothed_relative_error` of each image, (B,); larger is more abnormal."""
        return smoothed_relative_error(self.reconstruct(batch), batch["x"]).flatten(1).mean(1)


def grid_to_vectors(grid: Tensor) -> Tensor:
    """Return the vectors of grids, row by row: (B, D, h, w) -> (B * h * w, D)."""
    return grid.permute(0, 2, 3, 1).flatten(0, 2)


def vectors_to_grid(vectors: Tensor, like: Tensor) -> Tensor:
    """Return vectors as grids in the shape of `like`: (B * h * w, D) -> (B, D, h, w)."""
    n_images, depth, height, width = like.shape
    return vectors.view(n_images, height, width, depth).permute(0, 3, 1, 2)
