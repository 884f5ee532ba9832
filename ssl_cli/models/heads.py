"""What BERT has on top of its transformer: a head for masked tokens, and one for pairs of sentences."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_cli.models.transformer import ACTIVATIONS, INITIAL_STD, Transformer


class MaskedHead(nn.Module):
    """Hidden (..., C) -> logits (..., V): a layer, a norm, then the transformer's own table of tokens and a bias.

    As in BERT's code (arXiv 1810.04805). `transform` alone is the part before the table.
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
        """(..., C) -> (..., C)"""
        return self.norm(self.activation(self.dense(hidden)))

    def forward(self, hidden: Tensor, token_table: Tensor) -> Tensor:
        """(..., C) and the table of tokens (V, C) -> (..., V)"""
        return functional.linear(self.transform(hidden), token_table, self.bias)


class PairHead(nn.Module):
    """Hidden (B, T, C) -> logits (B, 2), from the first token: 0 where the second text follows the first."""

    def __init__(self, network: Transformer):
        super().__init__()
        self.pool = nn.Linear(network.width, network.width)
        self.decide = nn.Linear(network.width, 2)
        for layer in (self.pool, self.decide):
            nn.init.normal_(layer.weight, std=INITIAL_STD)
            nn.init.zeros_(layer.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.decide(self.pool(hidden[:, 0]).tanh())
