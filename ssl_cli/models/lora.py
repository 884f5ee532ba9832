"""LoRA: small trained matrices beside large frozen ones (arXiv 2106.09685)."""

from typing import Any

import torch
from torch import Tensor, nn

from ssl_cli.models.transformer import Transformer

ALPHA = 2  # of the rank: the adapters' output is scaled by it, as is usual


class LowRank(nn.Module):
    """A frozen layer and its adapter: W x + s B A x (eq. 3), where B starts at 0, so that it begins as the layer."""

    def __init__(self, layer: nn.Linear, rank: int):
        super().__init__()
        self.layer, self.scale = layer.requires_grad_(False), float(ALPHA)
        self.down = nn.Parameter(torch.empty(rank, layer.in_features))
        self.up = nn.Parameter(torch.zeros(layer.out_features, rank))
        nn.init.normal_(self.down, std=layer.in_features**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + self.scale * (x @ self.down.T) @ self.up.T

    def merged(self) -> nn.Linear:
        """A plain layer that gives the same."""
        with torch.no_grad():
            self.layer.weight += self.scale * self.up @ self.down
        return self.layer


def add_adapters(network: Transformer, rank: int) -> None:
    """To each matrix of each block; all else of the network is frozen."""
    network.requires_grad_(False)
    for parent, name, layer in _places(network, nn.Linear):
        setattr(parent, name, LowRank(layer, rank))


def merge_adapters(network: Transformer) -> None:
    """Make them part of the weights: the network is again as it was before, and all of it can be trained."""
    for parent, name, layer in _places(network, LowRank):
        setattr(parent, name, layer.merged())
    network.requires_grad_()


def _places(network: Transformer, kind: type[nn.Module]) -> list[tuple[nn.Module, str, Any]]:
    """The layers of a kind in its blocks, each with what holds it, by what name"""
    return [
        (parent, name, child)
        for parent in network.blocks.modules()
        if not isinstance(parent, LowRank)
        for name, child in parent.named_children()
        if isinstance(child, kind)
    ]
