"""Heads of BERT on top of its transformer: one for masked tokens, one for pairs of sentences."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_cli.models.blocks import ACTIVATIONS
from ssl_cli.models.encoder import INITIAL_STD
from ssl_cli.models.transformer import Transformer


class MaskedLMHead(nn.Module):
    """Masked-token head: hidden states (..., C) -> logits (..., V), as in BERT's code (arXiv 1810.04805).

    A linear layer and a norm, then the transformer's token embeddings as output matrix, and a bias.
    """

    def __init__(self, network: Transformer):
        super().__init__()
        self.activation = ACTIVATIONS[network.activation]
        self.dense = nn.Linear(network.width, network.width)
        self.norm = nn.LayerNorm(network.width, network.norm_eps)
        self.bias = nn.Parameter(torch.zeros(network.vocab_size))  # (V,)
        nn.init.normal_(self.dense.weight, std=INITIAL_STD)
        nn.init.zeros_(self.dense.bias)

    def transform(self, hidden: Tensor) -> Tensor:
        """Return the input of the output matrix: (..., C) -> (..., C)."""
        return self.norm(self.activation(self.dense(hidden)))

    def forward(self, hidden: Tensor, token_table: Tensor) -> Tensor:
        """Return logits (..., V) for hidden states (..., C) and token embeddings (V, C)."""
        return functional.linear(self.transform(hidden), token_table, self.bias)


class PairHead(nn.Module):
    """Sentence-pair head on the first token: hidden states (B, T, C) -> logits (B, 2); class 0: the second text follows
    the first."""

    def __init__(self, network: Transformer):
        super().__init__()
        self.pool = nn.Linear(network.width, network.width)
        self.decide = nn.Linear(network.width, 2)
        for layer in (self.pool, self.decide):
            nn.init.normal_(layer.weight, std=INITIAL_STD)
            nn.init.zeros_(layer.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return logits (B, 2) for hidden states (B, T, C)."""
        return self.decide(self.pool(hidden[:, 0]).tanh())
