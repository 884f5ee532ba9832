"""The variational auto-encoder."""

import math
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from ssl_cli.bounds import Count, NonNegative, Positive
from ssl_cli.models.autoencoder import Activation, mlp
from ssl_cli.objectives.reconstruction import Batch, by_column

LOG_2PI = math.log(2 * math.pi)
LEAST_LOG_STD = math.log(0.01)  # of a training standard deviation


class Variational(nn.Module):
    """Negative ELBO with a Gaussian posterior, prior and likelihood (Kingma and Welling, arXiv 1312.6114, eq. 10).

    The likelihood has a standard deviation for each feature: learned, when `noise_std` is null.
    """

    reads: ClassVar[tuple[str, ...]] = ("x",)
    score_noise: Tensor

    def __init__(
        self,
        n_features: Count,
        hidden: list[Count],
        latent: Count,
        activation: Activation = "relu",
        beta: Annotated[NonNegative, "weight of the KL term"] = 1.0,
        noise_std: Annotated[Positive | None, "standard deviation of the likelihood; null: learned"] = None,
        score_samples: Annotated[Count, "posterior samples behind each score"] = 16,
    ):
        super().__init__()
        self.encoder = mlp([n_features, *hidden, 2 * latent], activation)
        self.decoder = mlp([latent, *reversed(hidden), n_features], activation)
        fixed = noise_std is not None
        self.log_std = nn.Parameter(torch.full((n_features,), float(noise_std or 1.0)).log(), requires_grad=not fixed)
        self.beta = beta
        # One draw, shared by all rows and saved with the model: a row's score depends on nothing but the row.
        self.register_buffer("score_noise", torch.randn(score_samples, latent))

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, D) -> mean and log variance, each (B, latent)"""
        mean, log_var = self.encoder(x).chunk(2, dim=1)
        return mean, log_var.clamp(-20, 10)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """loss, and its two parts in nats a row: the distortion (-log p(x|z)) and the rate (KL)."""
        x = batch["x"]
        mean, log_var = self.posterior(x)
        distortion = self._distortion(x, mean + torch.randn_like(mean) * (0.5 * log_var).exp()).mean()
        rate = gaussian_kl(mean, log_var).mean()
        # Per feature, so that one learning rate serves narrow tables and wide ones.
        return {"loss": (distortion + self.beta * rate) / x.shape[1], "distortion": distortion, "rate": rate}

    def _distortion(self, x: Tensor, z: Tensor) -> Tensor:
        """-log p(x|z) of each row, in nats: (B, D), (B, latent) -> (B,)"""
        log_std = self.log_std.clamp(min=LEAST_LOG_STD)  # (D,); a feature that is always rebuilt has no finite optimum
        return (0.5 * ((x - self.decoder(z)) / log_std.exp()).square() + log_std + 0.5 * LOG_2PI).sum(1)

    def reconstruct(self, batch: Batch) -> Tensor:
        """(B, D), from the posterior's mean"""
        return self.decoder(self.posterior(batch["x"])[0])

    def embed(self, batch: Batch) -> Tensor:
        """(B, latent), the posterior's mean"""
        return self.posterior(batch["x"])[0]

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
        std = self.log_std.clamp(min=LEAST_LOG_STD).exp()  # (D,)
        return expected, by_column(0.5 * ((expected - batch["x"]) / std).square(), columns)


def gaussian_kl(mean: Tensor, log_var: Tensor) -> Tensor:
    """KL(N(mean, exp(log_var)) || N(0, 1)) in nats: (B, Z), (B, Z) -> (B,) (arXiv 1312.6114, appendix B)."""
    return 0.5 * (mean.square() + log_var.exp() - 1 - log_var).sum(1)
