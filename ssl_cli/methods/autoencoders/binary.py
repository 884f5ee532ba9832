"""Autoencoder with a code of bits (a Bernoulli code)."""

from typing import ClassVar

import torch
from torch import Tensor

from ssl_cli.methods.autoencoders.autoencoder import STATISTICS_BATCH, Autoencoder, Batch
from ssl_cli.methods.columns import Categories
from ssl_cli.models.images import float_batches
from ssl_cli.models.mlp import AutoencoderNetwork


class BinaryAutoencoder(Autoencoder):
    """Mean squared error through a code of bits, with the straight-through gradient (Bengio et al., arXiv 1308.3432).

    In training each bit is drawn with the probability that the encoder gives it, and the gradient passes as if the
    probability itself had been decoded. In evaluation a bit has its more likely value.
    """

    alphabet: ClassVar[int] = 2
    code_counts: Tensor

    def __init__(self, network: AutoencoderNetwork, categories: Categories | None = None):
        super().__init__(network, categories=categories)
        self.register_buffer("code_counts", torch.zeros(network.latent, 2, dtype=torch.int64))  # (bits, 2)

    def _encode(self, x: Tensor) -> Tensor:
        logits = self.network.encode(x)
        p = logits.sigmoid()
        hard = torch.bernoulli(p.detach()) if self.training else (logits > 0).to(p.dtype)
        return straight_through(hard, p)

    def codes(self, batch: Batch) -> Tensor:
        """Return the bits (B, bits) int64 of rows `x`, each 0 or 1."""
        # The sign of the logits, as in `_encode`: the sigmoid of a tiny logit rounds to 0.5.
        return (self.network.encode(batch["x"]) > 0).long()

    def decode_codes(self, codes: Tensor) -> Tensor:
        """Return the rows (B, *shape) of bits (B, bits) int64."""
        return self.decode(codes.to(self.code_mean.dtype))

    def fit_statistics(self, x: Tensor) -> None:
        """Compute the statistics of `Autoencoder`, and count how often each bit is 0 and 1 over the training rows."""
        super().fit_statistics(x)
        batches = float_batches(x, STATISTICS_BATCH, self.code_counts.device)
        ones = torch.stack([self.codes({"x": part}).sum(0) for part in batches]).sum(0)  # (bits,)
        self.code_counts.copy_(torch.stack([len(x) - ones, ones], dim=1))

    def collapse_advice(self, sign: str, enough: int) -> str:
        """Return what to try against a sign of collapse, see `AdvisesOnCollapse`."""
        if sign == "stuck_bits":
            return f"model.network.latent={enough} or a smaller optim.lr"
        return super().collapse_advice(sign, enough)

    def generate(self, n: int) -> Tensor:
        """Return new rows (n, *shape): each bit is drawn independently, and is 1 as often as in training."""
        p = self.code_counts[:, 1] / self.code_counts.sum(1).clamp(min=1)  # (bits,)
        return self.decode(torch.bernoulli(p.expand(n, -1)))


def straight_through(hard: Tensor, soft: Tensor) -> Tensor:
    """Return the value of `hard` with the gradient of `soft`."""
    return hard + (soft - soft.detach())
