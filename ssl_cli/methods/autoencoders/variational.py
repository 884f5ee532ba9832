"""The variational auto-encoder."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_cli.config.types import Count, Natural, NonNegative, Positive
from ssl_cli.errors import InputError
from ssl_cli.methods.autoencoders.autoencoder import Batch, by_column, check_outputs_per_latent, start_at_mean
from ssl_cli.models.images import precise
from ssl_cli.models.mlp import EncoderDecoder

LOG_2PI = math.log(2 * math.pi)
LEAST_LOG_STD = math.log(0.01)  # of a training standard deviation; of an image, of full white


class VAE(nn.Module):
    """Negative ELBO with a Gaussian posterior and prior (Kingma and Welling, arXiv 1312.6114, eq. 10).

    A Gaussian likelihood has a standard deviation for each feature of a row, or one for all pixels of an image:
    learned, when `noise_std` is null. A Bernoulli likelihood is for pixels between black and white; with `binarize`
    they are drawn black or white, with their grey as the probability, anew each time they are looked at.
    `beta` weighs the KL term (Higgins et al., ICLR 2017), after a linear rise over `warmup_batches`.
    """

    reads: ClassVar[tuple[str, ...]] = ("x",)
    score_noise: Tensor

    def __init__(
        self,
        network: EncoderDecoder,
        likelihood: Literal["gaussian", "bernoulli"] = "gaussian",
        beta: Annotated[NonNegative, "weight of the KL term"] = 1.0,
        warmup_batches: Annotated[Natural, "batches over which that weight rises from 0"] = 0,
        noise_std: Annotated[Positive | None, "standard deviation of a Gaussian likelihood; null: learned"] = None,
        binarize: Annotated[bool, "draw each pixel black or white, with a Bernoulli likelihood"] = False,
        score_samples: Annotated[Count, "posterior samples behind each score"] = 16,
    ):
        super().__init__()
        check_outputs_per_latent(network, 2)
        for fault in self.option_faults({"likelihood": likelihood, "noise_std": noise_std, "binarize": binarize}):
            raise InputError(fault)
        if likelihood == "bernoulli" and len(network.shape) == 1:
            raise InputError("model.likelihood=bernoulli is for images; the rows of a table take gaussian.")
        self.network, self.likelihood, self.binarize = network, likelihood, binarize
        self.beta, self.warmup_batches = beta, warmup_batches
        self.learns_std = noise_std is None
        if likelihood == "gaussian":
            scales = network.shape[0] if len(network.shape) == 1 else 1
            start = torch.full((scales,), float(noise_std or 1.0)).log()
            self.log_std = nn.Parameter(start, requires_grad=self.learns_std)
        # One draw, shared by all rows and saved with the model: a row's score depends on nothing but the row.
        self.register_buffer("score_noise", torch.randn(score_samples, network.latent))

    @staticmethod
    def option_faults(options: Mapping[str, Any]) -> Iterator[str]:
        """What no single option's type can say; `check` asks before any data is read."""
        if options.get("likelihood") == "bernoulli" and options.get("noise_std") is not None:
            yield "noise_std is of a Gaussian likelihood: leave it null with likelihood=bernoulli."
        if options.get("likelihood") != "bernoulli" and options.get("binarize"):
            yield "binarize=true needs likelihood=bernoulli."

    def initialize_from_data(self, x: Tensor, seed: int, log: Callable[[str], None]) -> None:
        """Before training: see `Pretrains`."""
        if self.likelihood == "bernoulli":
            start_at_mean(self.network, x)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, *shape) -> mean and log variance, each (B, latent)"""
        return gaussian(self.network, x)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """loss, and its two parts in nats a row: the distortion (-log p(x|z)) and the rate (KL)."""
        x = self.look(batch["x"])
        mean, log_var = self.posterior(x)
        distortion = self._distortion(x, drawn(mean, log_var)).mean()
        rate = gaussian_kl(mean, log_var).mean()
        loss = distortion + self._weight(batch) * rate
        # Per feature, so that one learning rate serves narrow rows and wide ones.
        return {"loss": loss / x[0].numel(), "distortion": distortion, "rate": rate}

    def _weight(self, batch: Mapping[str, Any]) -> float:
        """The KL term's at this batch; outside training it is beta."""
        if "k" not in batch or self.warmup_batches == 0:
            return self.beta
        return self.beta * min(1.0, (batch["k"] + 1) / self.warmup_batches)

    def look(self, x: Tensor) -> Tensor:
        """What the model sees of rows: with `binarize`, a draw of black and white."""
        return torch.bernoulli(x.clamp(0, 1)) if self.binarize else x

    def _distortion(self, x: Tensor, z: Tensor) -> Tensor:
        """-log p(x|z) of each row, in nats: (B, ...), (B, latent) -> (B,)"""
        out, x = precise(self.network.decode(z.to(x.dtype))).flatten(1), x.flatten(1)
        if self.likelihood == "bernoulli":
            return functional.binary_cross_entropy_with_logits(out, x, reduction="none").sum(1)
        log_std = self._log_std()
        return (0.5 * ((x - out) / log_std.exp()).square() + log_std + 0.5 * LOG_2PI).sum(1)

    def _log_std(self) -> Tensor:
        """(D,) or (1,); where it is learned, a feature that is always rebuilt has no finite optimum"""
        return self.log_std.clamp(min=LEAST_LOG_STD) if self.learns_std else self.log_std

    # --- what it says of rows ---

    def elbo(self, x: Tensor, samples: int = 1) -> Tensor:
        """(B,) the evidence lower bound of rows as they were looked at, in nats, averaged over posterior samples"""
        mean, log_var = self.posterior(x)
        draws = [self._distortion(x, drawn(mean, log_var)) for _ in range(samples)]
        return -torch.stack(draws).mean(0) - gaussian_kl(mean, log_var)

    def log_likelihood(self, x: Tensor, samples: int, at_once: int = 5000) -> Tensor:
        """(B,) the importance-weighted bound on log p(x), in nats (Burda et al., arXiv 1509.00519, eq. 8).

        `samples` draws of each row's posterior, `at_once` through the decoder together.
        """
        mean, log_var = self.posterior(x)
        std = (0.5 * log_var).exp()
        part = max(1, at_once // len(x))
        log_weights = []
        for start in range(0, samples, part):
            n = min(part, samples - start)
            noise = torch.randn(n, *mean.shape, device=x.device)
            z = mean + std * noise  # (n, B, Z)
            of_x = -self._distortion(x.repeat(n, *[1] * (x.dim() - 1)), z.flatten(0, 1)).view(n, len(x))
            of_z = (-0.5 * z.square()).sum(2) - (-0.5 * noise.square() - 0.5 * log_var).sum(2)  # log p(z) / q(z|x)
            log_weights.append(of_x + of_z)
        return torch.cat(log_weights).logsumexp(0) - math.log(samples)

    def decode(self, z: Tensor) -> Tensor:
        """(B, latent) -> (B, *shape), the likelihood's mean"""
        out = self.network.decode(z)
        return out.sigmoid() if self.likelihood == "bernoulli" else out

    def reconstruct(self, batch: Batch) -> Tensor:
        """As `batch["x"]`, (B, ...), from the posterior's mean"""
        return self.decode(self.embed(batch)).view_as(batch["x"])

    def embed(self, batch: Batch) -> Tensor:
        """(B, latent), the posterior's mean"""
        return self.posterior(batch["x"])[0]

    def generate(self, n: int) -> Tensor:
        """(n, *shape): draws from the prior, decoded; from torch's own random stream"""
        return self.decode(torch.randn(n, self.network.latent, device=self.score_noise.device))

    def score(self, batch: Batch) -> Tensor:
        """(B,): the negative ELBO in nats, averaged over posterior samples; larger is more abnormal."""
        x = batch["x"]
        mean, log_var = self.posterior(x)
        std = (0.5 * log_var).exp()
        distortion = torch.stack([self._distortion(x, mean + std * noise) for noise in self.score_noise])  # (S, B)
        return distortion.mean(0) + self.beta * gaussian_kl(mean, log_var)

    def explain(self, batch: Batch, columns: list[slice]) -> tuple[Tensor, Tensor]:
        """What was expected, (B, D): the posterior mean's reconstruction; and each column's part in the score,
        (B, columns): its squared error in nats. (The KL term belongs to no column.)"""
        expected = self.reconstruct(batch)
        squared = (expected - batch["x"]).flatten(1).square()
        if self.likelihood == "gaussian":
            squared = 0.5 * squared / (2 * self._log_std()).exp()
        return expected, by_column(squared, columns)


def gaussian(network: EncoderDecoder, x: Tensor) -> tuple[Tensor, Tensor]:
    """What an encoder with two heads says of x (B, *shape): mean and log variance, each (B, latent)"""
    mean, log_var = precise(network.encode(x)).chunk(2, dim=1)
    return mean, log_var.clamp(-20, 10)


def drawn(mean: Tensor, log_var: Tensor) -> Tensor:
    """A draw of each row's Gaussian, (B, latent), through which the gradient passes (arXiv 1312.6114, eq. 9)."""
    return mean + torch.randn_like(mean) * (0.5 * log_var).exp()


def kl_by_dimension(mean: Tensor, log_var: Tensor) -> Tensor:
    """KL(N(mean, exp(log_var)) || N(0, 1)) in nats: (B, Z), (B, Z) -> (B, Z) (arXiv 1312.6114, appendix B)."""
    return 0.5 * (mean.square() + log_var.exp() - 1 - log_var)


def gaussian_kl(mean: Tensor, log_var: Tensor) -> Tensor:
    """(B, Z), (B, Z) -> (B,): the same, summed over the code"""
    return kl_by_dimension(mean, log_var).sum(1)
