"""Variational autoencoder (VAE), and beta-VAE."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_cli.config.types import Count, Natural, NonNegative, Positive
from ssl_cli.errors import InputError
from ssl_cli.methods.autoencoders.autoencoder import Batch, check_outputs_per_latent, init_output_to_mean
from ssl_cli.methods.columns import sum_by_column
from ssl_cli.models.images import at_least_float32
from ssl_cli.models.mlp import AutoencoderNetwork

LOG_2PI = math.log(2 * math.pi)
MIN_LOG_STD = math.log(0.01)  # in training standard deviations; for images in units of full white


class VAE(nn.Module):
    """Negative ELBO with a Gaussian posterior and prior (Kingma and Welling, arXiv 1312.6114, eq. 10).

    A Gaussian likelihood has one standard deviation per feature of a row, or one for all pixels of an image; it is
    learned if `noise_std` is null. A Bernoulli likelihood is for pixels between black and white; with `binarize` each
    pixel is made black or white at random, with its grey value as probability, every time it is read.
    `beta` weighs the KL term (Higgins et al., ICLR 2017), after a linear warm-up over `warmup_batches`.
    """

    reads: ClassVar[tuple[str, ...]] = ("x",)
    score_noise: Tensor

    def __init__(
        self,
        network: AutoencoderNetwork,
        likelihood: Literal["gaussian", "bernoulli"] = "gaussian",
        beta: Annotated[NonNegative, "weight of the KL term"] = 1.0,
        warmup_batches: Annotated[Natural, "batches over which that weight rises from 0"] = 0,
        noise_std: Annotated[Positive | None, "standard deviation of a Gaussian likelihood; null: learned"] = None,
        binarize: Annotated[bool, "make each pixel black or white at random, for a Bernoulli likelihood"] = False,
        score_samples: Annotated[Count, "posterior samples per score"] = 16,
    ):
        super().__init__()
        check_outputs_per_latent(network, 2)
        for fault in self.option_faults({"likelihood": likelihood, "noise_std": noise_std, "binarize": binarize}):
            raise InputError(fault)
        if likelihood == "bernoulli" and len(network.shape) == 1:
            raise InputError("model.likelihood=bernoulli is for images; for the rows of a table use gaussian.")
        self.network, self.likelihood, self.binarize = network, likelihood, binarize
        self.beta, self.warmup_batches = beta, warmup_batches
        self.learns_std = noise_std is None
        if likelihood == "gaussian":
            n_scales = network.shape[0] if len(network.shape) == 1 else 1
            log_std = torch.full((n_scales,), float(noise_std or 1.0)).log()
            self.log_std = nn.Parameter(log_std, requires_grad=self.learns_std)
        # The same noise for all rows, saved with the model: a row's score depends on nothing but the row.
        self.register_buffer("score_noise", torch.randn(score_samples, network.latent))

    @staticmethod
    def option_faults(options: Mapping[str, Any]) -> Iterator[str]:
        """Yield what is wrong with options together; `check` calls it before any data is read."""
        if options.get("likelihood") == "bernoulli" and options.get("noise_std") is not None:
            yield "noise_std is for a Gaussian likelihood: leave it null with likelihood=bernoulli."
        if options.get("likelihood") != "bernoulli" and options.get("binarize"):
            yield "binarize=true needs likelihood=bernoulli."

    def initialize_from_data(self, x: Tensor, seed: int, log: Callable[[str], None]) -> None:
        """Initialize the output to the mean training image, for a Bernoulli likelihood; see `InitializesFromData`."""
        if self.likelihood == "bernoulli":
            init_output_to_mean(self.network, x)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and the log variance of the codes, (B, latent) each, of rows (B, *shape)."""
        return encode_gaussian(self.network, x)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss per feature, and its parts in nats per row: `distortion` (-log p(x|z)) and `rate` (KL)."""
        x = self.binarized(batch["x"])
        mean, log_var = self.posterior(x)
        distortion = self._distortion(x, reparameterize(mean, log_var)).mean()
        rate = gaussian_kl(mean, log_var).mean()
        loss = distortion + self._kl_weight(batch) * rate
        # Per feature, so that one learning rate suits narrow and wide rows.
        return {"loss": loss / x[0].numel(), "distortion": distortion, "rate": rate}

    def _kl_weight(self, batch: Mapping[str, Any]) -> float:
        """Return the weight of the KL term at this batch; outside training it is beta."""
        if "k" not in batch or self.warmup_batches == 0:
            return self.beta
        return self.beta * min(1.0, (batch["k"] + 1) / self.warmup_batches)

    def binarized(self, x: Tensor) -> Tensor:
        """Return x with each pixel made black or white at random if `binarize` is set, else x itself."""
        return torch.bernoulli(x.clamp(0, 1)) if self.binarize else x

    def _distortion(self, x: Tensor, z: Tensor) -> Tensor:
        """Return -log p(x|z) of each row in nats: (B, ...), (B, latent) -> (B,)."""
        out, x = at_least_float32(self.network.decode(z.to(x.dtype))).flatten(1), x.flatten(1)
        if self.likelihood == "bernoulli":
            return functional.binary_cross_entropy_with_logits(out, x, reduction="none").sum(1)
        log_std = self._log_std()
        return (0.5 * ((x - out) / log_std.exp()).square() + log_std + 0.5 * LOG_2PI).sum(1)

    def _log_std(self) -> Tensor:
        """Return the log standard deviation, (D,) or (1,).

        A learned one has a lower bound: for a feature that is always reconstructed there is no finite optimum.
        """
        return self.log_std.clamp(min=MIN_LOG_STD) if self.learns_std else self.log_std

    # --- bounds on the likelihood ---

    def elbo(self, x: Tensor, samples: int = 1) -> Tensor:
        """Return the evidence lower bound (B,) of (binarized) rows in nats, averaged over posterior samples."""
        mean, log_var = self.posterior(x)
        distortions = [self._distortion(x, reparameterize(mean, log_var)) for _ in range(samples)]
        return -torch.stack(distortions).mean(0) - gaussian_kl(mean, log_var)

    def log_likelihood(self, x: Tensor, samples: int, decoder_batch: int = 5000) -> Tensor:
        """Return the importance-weighted bound on log p(x), (B,) in nats (Burda et al., arXiv 1509.00519, eq. 8).

        It takes `samples` draws of each row's posterior, and decodes about `decoder_batch` of them at a time.
        """
        mean, log_var = self.posterior(x)
        std = (0.5 * log_var).exp()
        chunk = max(1, decoder_batch // len(x))
        log_weights = []
        for start in range(0, samples, chunk):
            n = min(chunk, samples - start)
            noise = torch.randn(n, *mean.shape, device=x.device)
            z = mean + std * noise  # (n, B, Z)
            log_p_x = -self._distortion(x.repeat(n, *[1] * (x.dim() - 1)), z.flatten(0, 1)).view(n, len(x))
            log_ratio = (-0.5 * z.square()).sum(2) - (-0.5 * noise.square() - 0.5 * log_var).sum(2)  # log p(z) / q(z|x)
            log_weights.append(log_p_x + log_ratio)
        return torch.cat(log_weights).logsumexp(0) - math.log(samples)

    # --- codes ---

    def decode(self, z: Tensor) -> Tensor:
        """Return the likelihood's mean (B, *shape) for codes (B, latent)."""
        out = self.network.decode(z)
        return out.sigmoid() if self.likelihood == "bernoulli" else out

    def reconstruct(self, batch: Batch) -> Tensor:
        """Return the reconstructions of rows `x` from the posterior means, in their shape."""
        return self.decode(self.embed(batch)).view_as(batch["x"])

    def embed(self, batch: Batch) -> Tensor:
        """Return the posterior means (B, latent) of rows `x`."""
        return self.posterior(batch["x"])[0]

    def generate(self, n: int) -> Tensor:
        """Return new rows (n, *shape), decoded from the prior. Random draws come from torch's global generator."""
        return self.decode(torch.randn(n, self.network.latent, device=self.score_noise.device))

    def collapse_advice(self, sign: str, enough: int) -> str:
        """Return what to try against a sign of collapse, see `AdvisesOnCollapse`."""
        if sign not in ("constant_output", "posterior_collapse"):
            return ""
        advice = [f"a smaller model.beta than {self.beta:g}", "model.warmup_batches=1000"] if self.beta else []
        if sign == "posterior_collapse" and enough < self.network.latent:
            advice.append(f"model.network.latent={enough}")
        return " or ".join([*advice, "a smaller optim.lr"])

    # --- scores ---

    def score(self, batch: Batch) -> Tensor:
        """Return the negative ELBO (B,) in nats, averaged over posterior samples; larger is more abnormal."""
        x = batch["x"]
        mean, log_var = self.posterior(x)
        std = (0.5 * log_var).exp()
        distortion = torch.stack([self._distortion(x, mean + std * noise) for noise in self.score_noise])  # (S, B)
        return distortion.mean(0) + self.beta * gaussian_kl(mean, log_var)

    def explain(self, batch: Batch, columns: list[slice]) -> tuple[Tensor, Tensor]:
        """Return the reconstructions (B, D) from the posterior means, and each column's contribution, (B, columns).

        The contribution is the column's squared error in nats; the KL term belongs to no column.
        """
        expected = self.reconstruct(batch)
        squared = (expected - batch["x"]).flatten(1).square()
        if self.likelihood == "gaussian":
            squared = 0.5 * squared / (2 * self._log_std()).exp()
        return expected, sum_by_column(squared, columns)


def encode_gaussian(network: AutoencoderNetwork, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the log variance, (B, latent) each, from an encoder with two outputs per latent dimension."""
    mean, log_var = at_least_float32(network.encode(x)).chunk(2, dim=1)
    return mean, log_var.clamp(-20, 10)


def reparameterize(mean: Tensor, log_var: Tensor) -> Tensor:
    """Return a differentiable draw from each row's Gaussian, (B, latent) (arXiv 1312.6114, eq. 9)."""
    return mean + torch.randn_like(mean) * (0.5 * log_var).exp()


def kl_by_dimension(mean: Tensor, log_var: Tensor) -> Tensor:
    """Return KL(N(mean, exp(log_var)) || N(0, 1)) in nats: (B, Z), (B, Z) -> (B, Z) (arXiv 1312.6114, appendix B)."""
    return 0.5 * (mean.square() + log_var.exp() - 1 - log_var)


def gaussian_kl(mean: Tensor, log_var: Tensor) -> Tensor:
    """Return the KL divergence of `kl_by_dimension`, summed over the code: (B, Z), (B, Z) -> (B,)."""
    return kl_by_dimension(mean, log_var).sum(1)
