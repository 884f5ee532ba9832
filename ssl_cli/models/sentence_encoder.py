"""Encoder of sentences: a bidirectional transformer whose vectors are averaged into one."""

import torch
from torch import Tensor, nn

from ssl_cli.models.transformer import Transformer


class SentenceEncoder(nn.Module):
    """One vector of `outputs` numbers a sentence: (B, T), (B,) -> (B, outputs). `network` must not be causal."""

    def __init__(self, network: Transformer, outputs: int):
        super().__init__()
        assert not network.causal, "a token has to see those after it"
        self.network, self.project = network, nn.Linear(network.width, outputs)

    def forward(self, ids: Tensor, length: Tensor) -> Tensor:
        """Return the vectors of sentences: ids (B, T), padded, and their lengths (B,) of at least 1."""
        is_real = torch.arange(ids.shape[1], device=ids.device) < length[:, None]  # (B, T)
        hidden = self.network(ids, document=is_real.long())  # (B, T, C); padding is a document of its own
        weight = is_real[..., None].to(hidden.dtype)
        return self.project((hidden * weight).sum(1) / weight.sum(1))
