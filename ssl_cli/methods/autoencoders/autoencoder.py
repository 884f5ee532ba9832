"""Autoencoder: reconstruct the input from a code."""

from collections.abc import Callable
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_cli.config.types import Natural
from ssl_cli.data.images.augment import shifted_pixels
from ssl_cli.errors import InputError
from ssl_cli.methods.columns import Categories, pool_by_category, sum_by_column
from ssl_cli.models.images import at_least_float32, float_batches, smoothed_relative_error
from ssl_cli.models.mlp import AutoencoderNetwork

Batch = dict[str, Tensor]
STATISTICS_BATCH = 4096  # rows in a batch when statistics of all training rows are computed; fewer if large images


class Autoencoder(nn.Module):
    """Mean squared error between the input and its reconstruction (Hinton and Salakhutdinov, 2006).

    With loss=cross_entropy the network's outputs are logits of pixels between 0 and 1.

    A row's score divides the error of each feature by the usual error of that feature, `spread`, which is measured on
    the training rows after training: so a small error in a feature that is always right counts more than a large one
    in a feature that never is. The features of a category have one usual error, that of the category as a whole:
    otherwise a row with a rare value would have a large score. An image's score is the mean of its
    `smoothed_relative_error` instead.

    New rows are decoded from codes drawn from a Gaussian with the mean and the covariance of the training rows' codes.
    """

    reads: ClassVar[tuple[str, ...]] = ("x",)
    min_spread: ClassVar[float] = 0.01  # in training standard deviations
    spread: Tensor
    code_mean: Tensor
    code_factor: Tensor

    def __init__(
        self,
        network: AutoencoderNetwork,
        loss: Annotated[
            Literal["squared_error", "cross_entropy"], "cross_entropy: for images; a pixel is a probability of white"
        ] = "squared_error",
        output: Annotated[
            Literal["linear", "sigmoid"], "sigmoid: pixels between 0 and 1; implied by loss=cross_entropy"
        ] = "linear",
        shift: Annotated[Natural, "largest random shift of a training image, in pixels"] = 0,
        categories: Categories | None = None,
    ):
        super().__init__()
        check_outputs_per_latent(network, 1)
        image_options = {"loss": loss == "cross_entropy", "output": output == "sigmoid", "shift": shift > 0}
        if len(network.shape) == 1 and (chosen := [name for name, is_chosen in image_options.items() if is_chosen]):
            defaults = "for the rows of a table leave loss=squared_error, output=linear, shift=0"
            raise InputError(f"model.{chosen[0]} is for images: {defaults}.")
        self.network, self.loss, self.shift, self.categories = network, loss, shift, categories or []
        self.has_sigmoid = output == "sigmoid" or loss == "cross_entropy"
        n_features = torch.Size(network.shape).numel()
        self.register_buffer("spread", torch.ones(n_features))  # (D,)
        self.register_buffer("code_mean", torch.zeros(network.latent))  # (Z,)
        self.register_buffer("code_factor", torch.eye(network.latent))  # (Z, Z), a root of the codes' covariance

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss of rows `x` (B, *shape)."""
        x = self._shifted(batch["x"])
        return {"loss": self._reconstruction_loss(self.network.decode(self._encode(x)), x)}

    def _shifted(self, x: Tensor) -> Tensor:
        return shifted_pixels(x, self.shift) if self.training and self.shift else x

    def _reconstruction_loss(self, out: Tensor, x: Tensor) -> Tensor:
        """Return the loss of the network's outputs (B, *shape) for x."""
        out = at_least_float32(out)
        if self.loss == "cross_entropy":
            return functional.binary_cross_entropy_with_logits(out, x.view_as(out))
        return ((out.sigmoid() if self.has_sigmoid else out) - x.view_as(out)).square().mean()

    def _encode(self, x: Tensor) -> Tensor:
        """Return the codes (B, latent) of rows (B, *shape), as the decoder gets them."""
        return self.network.encode(x)

    def initialize_from_data(self, x: Tensor, seed: int, log: Callable[[str], None]) -> None:
        """Initialize the output to the mean training image, if it is a sigmoid; see `InitializesFromData`."""
        if self.has_sigmoid:
            init_output_to_mean(self.network, x)

    # --- after training ---

    def fit_statistics(self, x: Tensor) -> None:
        """Set `spread` to the root mean squared error of each feature, or category, over the training rows (N, *shape),
        and compute the mean and the covariance of their codes."""
        squared = torch.zeros_like(self.spread, dtype=torch.float64)
        total = torch.zeros_like(self.code_mean, dtype=torch.float64)
        products = torch.zeros_like(self.code_factor, dtype=torch.float64)
        for part in float_batches(x, STATISTICS_BATCH, self.spread.device):
            squared += (self.reconstruct({"x": part}) - part).flatten(1).double().square().sum(0)
            code = self.embed({"x": part}).double()
            total, products = total + code.sum(0), products + code.T @ code
        self.spread.copy_(pool_by_category(squared / len(x), self.categories).sqrt() + self.min_spread)
        mean = total / len(x)
        self.code_mean.copy_(mean)
        self.code_factor.copy_(covariance_root(products / len(x) - mean.outer(mean)))

    def decode(self, z: Tensor) -> Tensor:
        """Return the rows (B, *shape) of codes (B, latent)."""
        out = self.network.decode(z)
        return out.sigmoid() if self.has_sigmoid else out

    def reconstruct(self, batch: Batch) -> Tensor:
        """Return the reconstructions of rows `x`, in their shape."""
        return self.decode(self.embed(batch)).view_as(batch["x"])

    def embed(self, batch: Batch) -> Tensor:
        """Return the codes (B, latent) of rows `x`."""
        return self._encode(batch["x"])

    def generate(self, n: int) -> Tensor:
        """Return new rows (n, *shape). Random draws come from torch's global generator."""
        noise = torch.randn(n, len(self.code_mean), device=self.code_mean.device)
        return self.decode(self.code_mean + noise @ self.code_factor.T)

    def collapse_advice(self, sign: str, enough: int) -> str:
        """Return what to try against a sign of collapse, see `AdvisesOnCollapse`."""
        advice = {
            "constant_output": "a smaller optim.lr, more steps (trainer.max_steps), or a wider network",
            "dead_dimensions": f"model.network.latent={enough}, or another model.network.activation",
        }
        return advice.get(sign, "")

    def score(self, batch: Batch) -> Tensor:
        """Return the mean error (B,) of each row in units of `spread`, or of each image; larger is more abnormal."""
        return self._errors(batch, self.reconstruct(batch)).mean(dim=1)

    def explain(self, batch: Batch, columns: list[slice]) -> tuple[Tensor, Tensor]:
        """Return the reconstructions (B, D), and each column's contribution to the score, (B, columns)."""
        expected = self.reconstruct(batch)
        return expected, sum_by_column(self._errors(batch, expected), columns)

    def _errors(self, batch: Batch, reconstruction: Tensor) -> Tensor:
        """Return the relative error of each feature, (B, D)."""
        x = batch["x"]
        if len(self.network.shape) == 3:
            shape = (-1, *self.network.shape)
            return smoothed_relative_error(reconstruction.view(shape), x.view(shape)).flatten(1)
        return ((reconstruction - x) / self.spread).square()


def init_output_to_mean(network: AutoencoderNetwork, x: Tensor) -> None:
    """Set the output bias of an untrained decoder of logits so that it outputs the mean of images x (N, C, H, W) bytes.

    Otherwise the code dies while the decoder learns that most pixels are black.
    """
    if (bias := getattr(network, "output_bias", None)) is None:
        return
    sums = [part.double().sum(0) for part in float_batches(x, STATISTICS_BATCH, bias.device)]
    mean = torch.stack(sums).sum(0) / len(x)  # (C, H, W)
    if bias.numel() < mean.numel():
        mean = mean.mean((1, 2))  # there is one bias per channel
    with torch.no_grad():
        bias.copy_(mean.flatten().clamp(0.001, 0.999).logit())


def check_outputs_per_latent(network: AutoencoderNetwork, outputs_per_latent: int, condition: int = 0) -> None:
    """Raise InputError if a network has another number of encoder outputs per latent dimension, or another size of the
    decoder's condition."""
    if (actual := getattr(network, "condition", 0)) != condition:
        raise InputError(f"model.network.condition must be {condition} for this model, not {actual}.")
    if getattr(network, "outputs_per_latent", None) != outputs_per_latent:
        has = getattr(network, "outputs_per_latent", "none, since its code is a grid")
        raise InputError(f"model.network.outputs_per_latent must be {outputs_per_latent} for this model, not {has}.")


def covariance_root(covariance: Tensor) -> Tensor:
    """Return F with F @ F.T = covariance, (Z, Z) -> (Z, Z), even if the covariance is singular."""
    variance, directions = torch.linalg.eigh(covariance)
    return directions * variance.clamp(min=0).sqrt()
