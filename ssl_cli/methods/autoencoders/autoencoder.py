"""Rebuild the input: the plain auto-encoder."""

from collections.abc import Callable
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_cli.config.types import Natural
from ssl_cli.errors import InputError
from ssl_cli.models.images import misfit, parts, precise, shifted
from ssl_cli.models.mlp import EncoderDecoder

Batch = dict[str, Tensor]
AT_ONCE = 4096  # rows that go through the network together when a trained model looks at all; fewer of large images


class Autoencoder(nn.Module):
    """Mean squared error between the input and what the network rebuilds of it (Hinton and Salakhutdinov, 2006).

    With loss=cross_entropy the network's outputs are logits of pixels between 0 and 1.

    A score divides each feature's error by that feature's usual error, `spread`, measured on the training rows once
    the network is trained: a small error where it is always right counts for more than a large one where it never is.
    An image's score is the mean of its `misfit` instead.
    New rows are drawn by decoding draws from a Gaussian with the mean and the covariance of the training rows' codes.
    """

    reads: ClassVar[tuple[str, ...]] = ("x",)
    least_spread: ClassVar[float] = 0.01  # in training standard deviations
    spread: Tensor
    code_mean: Tensor
    code_factor: Tensor

    def __init__(
        self,
        network: EncoderDecoder,
        loss: Annotated[
            Literal["squared_error", "cross_entropy"], "cross_entropy: of pixels, as shares of white"
        ] = "squared_error",
        output: Annotated[
            Literal["linear", "sigmoid"], "sigmoid: pixels between 0 and 1; always so with loss=cross_entropy"
        ] = "linear",
        shift: Annotated[Natural, "pixels by which each training image is moved at random, at most"] = 0,
    ):
        super().__init__()
        check_outputs_per_latent(network, 1)
        of_images = {"loss": loss == "cross_entropy", "output": output == "sigmoid", "shift": shift > 0}
        if len(network.shape) == 1 and (asked := [name for name, is_asked in of_images.items() if is_asked]):
            plain = "for the rows of a table leave loss=squared_error, output=linear, shift=0"
            raise InputError(f"model.{asked[0]} is for images: {plain}.")
        self.network, self.loss, self.shift = network, loss, shift
        self.squashes = output == "sigmoid" or loss == "cross_entropy"
        n_features = torch.Size(network.shape).numel()
        self.register_buffer("spread", torch.ones(n_features))  # (D,)
        self.register_buffer("code_mean", torch.zeros(network.latent))  # (Z,)
        self.register_buffer("code_factor", torch.eye(network.latent))  # (Z, Z), a root of their covariance

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The loss of a batch, a scalar; `batch["x"]` is (B, *shape)."""
        x = self._moved(batch["x"])
        return {"loss": self._loss(self.network.decode(self._code(x)), x)}

    def _moved(self, x: Tensor) -> Tensor:
        return shifted(x, self.shift) if self.training and self.shift else x

    def _loss(self, out: Tensor, x: Tensor) -> Tensor:
        """`out` (B, *shape), what the network said of x"""
        out = precise(out)
        if self.loss == "cross_entropy":
            return functional.binary_cross_entropy_with_logits(out, x.view_as(out))
        return ((out.sigmoid() if self.squashes else out) - x.view_as(out)).square().mean()

    def _code(self, x: Tensor) -> Tensor:
        """(B, *shape) -> (B, latent), what the decoder gets"""
        return self.network.encode(x)

    def initialize_from_data(self, x: Tensor, seed: int, log: Callable[[str], None]) -> None:
        """Before training: see `Pretrains`."""
        if self.squashes:
            start_at_mean(self.network, x)

    # --- once it is trained ---

    def fit_statistics(self, x: Tensor) -> None:
        """Set `spread` to each feature's root mean squared error over the training rows (N, *shape); and note how their
        codes are spread."""
        squared = torch.zeros_like(self.spread, dtype=torch.float64)
        total = torch.zeros_like(self.code_mean, dtype=torch.float64)
        products = torch.zeros_like(self.code_factor, dtype=torch.float64)
        for part in parts(x, AT_ONCE, self.spread.device):
            squared += (self.reconstruct({"x": part}) - part).flatten(1).double().square().sum(0)
            code = self.embed({"x": part}).double()
            total, products = total + code.sum(0), products + code.T @ code
        self.spread.copy_((squared / len(x)).sqrt() + self.least_spread)
        mean = total / len(x)
        self.code_mean.copy_(mean)
        self.code_factor.copy_(factor(products / len(x) - mean.outer(mean)))

    def decode(self, z: Tensor) -> Tensor:
        """(B, latent) -> (B, *shape)"""
        out = self.network.decode(z)
        return out.sigmoid() if self.squashes else out

    def reconstruct(self, batch: Batch) -> Tensor:
        """As `batch["x"]`, (B, ...)"""
        return self.decode(self.embed(batch)).view_as(batch["x"])

    def embed(self, batch: Batch) -> Tensor:
        """(B, latent)"""
        return self._code(batch["x"])

    def generate(self, n: int) -> Tensor:
        """(n, *shape), drawn from torch's own random stream"""
        noise = torch.randn(n, len(self.code_mean), device=self.code_mean.device)
        return self.decode(self.code_mean + noise @ self.code_factor.T)

    def score(self, batch: Batch) -> Tensor:
        """(B,): the mean squared error of each row, in units of `spread`, or of each image, smoothed; larger is more
        abnormal."""
        return self._errors(batch, self.reconstruct(batch)).mean(dim=1)

    def explain(self, batch: Batch, columns: list[slice]) -> tuple[Tensor, Tensor]:
        """What was expected, (B, D): the reconstruction; and each column's part in the score, (B, columns): error."""
        expected = self.reconstruct(batch)
        return expected, by_column(self._errors(batch, expected), columns)

    def _errors(self, batch: Batch, rebuilt: Tensor) -> Tensor:
        x = batch["x"]
        if len(self.network.shape) == 3:
            return misfit(rebuilt.view(-1, *self.network.shape), x.view(-1, *self.network.shape)).flatten(1)  # (B, D)
        return ((rebuilt - x) / self.spread).square()  # (B, D)


def start_at_mean(network: EncoderDecoder, x: Tensor) -> None:
    """Have an untrained decoder of logits say the mean training image: x (N, C, H, W) bytes.

    Otherwise a code is given up for dead while the decoder learns that most pixels are black.
    """
    if (bias := getattr(network, "output_bias", None)) is None:
        return
    sums = [part.double().sum(0) for part in parts(x, AT_ONCE, bias.device)]
    mean = torch.stack(sums).sum(0) / len(x)  # (C, H, W)
    if bias.numel() < mean.numel():
        mean = mean.mean((1, 2))  # a bias a channel
    with torch.no_grad():
        bias.copy_(mean.flatten().clamp(0.001, 0.999).logit())


def check_outputs_per_latent(network: EncoderDecoder, outputs_per_latent: int, condition: int = 0) -> None:
    """Raise InputError for a network whose encoder says something else of each number of the code, or whose decoder is
    told something else besides."""
    if (told := getattr(network, "condition", 0)) != condition:
        raise InputError(f"model.network.condition must be {condition} for this model, not {told}.")
    if getattr(network, "outputs_per_latent", None) != outputs_per_latent:
        has = getattr(network, "outputs_per_latent", "none, since its code is a grid")
        raise InputError(f"model.network.outputs_per_latent must be {outputs_per_latent} for this model, not {has}.")


def factor(covariance: Tensor) -> Tensor:
    """(Z, Z) -> (Z, Z), whose product with its transpose it is; also where codes don't vary, or vary together."""
    variance, directions = torch.linalg.eigh(covariance)
    return directions * variance.clamp(min=0).sqrt()


def by_column(part: Tensor, columns: list[slice]) -> Tensor:
    """(B, D) -> (B, columns): the parts of the features that belong together, added up"""
    return torch.stack([part[:, where].sum(1) for where in columns], dim=1)
