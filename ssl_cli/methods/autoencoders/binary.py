"""Squeeze the input through bits: the auto-encoder with a Bernoulli code."""

from typing import ClassVar

import torch
from torch import Tensor

from ssl_cli.methods.autoencoders.autoencoder import AT_ONCE, Autoencoder, Batch
from ssl_cli.models.images import parts
from ssl_cli.models.mlp import EncoderDecoder


class BinaryAutoencoder(Autoencoder):
    """Mean squared error through a code of bits, with the straight-through gradient (Bengio et al., arXiv 1308.3432).

    In training each bit is drawn with the probability that the encoder gives it, and the gradient passes as if the
    probability itself had been decoded; otherwise the likelier value is taken.
    """

    alphabet: ClassVar[int] = 2
    code_counts: Tensor

    def __init__(self, network: EncoderDecoder):
        super().__init__(network)
        self.register_buffer("code_counts", torch.zeros(network.latent, 2, dtype=torch.int64))  # (bits, 2)

    def _code(self, x: Tensor) -> Tensor:
        logits = self.network.encode(x)
        p = logits.sigmoid()
        hard = torch.bernoulli(p.detach()) if self.training else (logits > 0).to(p.dtype)
        return straight_through(hard, p)

    def codes(self, batch: Batch) -> Tensor:
        """(B, bits) int64, each 0 or 1"""
        return (self.network.encode(batch["x"]) > 0).long()  # as `_code`: the sigmoid of a tiny number rounds to a half

    def decode_codes(self, codes: Tensor) -> Tensor:
        """(B, bits) int64 -> (B, *shape)"""
        return self.decode(codes.to(self.code_mean.dtype))

    def fit_statistics(self, x: Tensor) -> None:
        """Also count how often each bit is 0 and 1 over the training rows."""
        super().fit_statistics(x)
        looked_at = parts(x, AT_ONCE, self.code_counts.device)
        ones = torch.stack([self.codes({"x": part}).sum(0) for part in looked_at]).sum(0)  # (bits,)
        self.code_counts.copy_(torch.stack([len(x) - ones, ones], dim=1))

    def generate(self, n: int) -> Tensor:
        """(n, *shape): each bit drawn by itself, as often 1 as in training."""
        p = self.code_counts[:, 1] / self.code_counts.sum(1).clamp(min=1)  # (bits,)
        return self.decode(torch.bernoulli(p.expand(n, -1)))


def straight_through(hard: Tensor, soft: Tensor) -> Tensor:
    """The value of `hard` with the gradient of `soft`."""
    return hard + (soft - soft.detach())
