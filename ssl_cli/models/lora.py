"""LoRA: small trained matrices beside large frozen ones (arXiv 2106.09685)."""

from typing import Any

import torch
from torch import Tensor, nn

from ssl_cli.models.encoder import Encoder

SCALE = 2.0  # of the adapters' output, as is usual: alpha is twice the rank


class LoRALinear(nn.Module):
    """A frozen linear layer and its adapter: W x + s B A x (eq. 3). B starts at 0, so the output starts unchanged."""

    def __init__(self, layer: nn.Linear, rank: int):
        super().__init__()
        self.layer, self.scale = layer.requires_grad_(False), SCALE
        self.down = nn.Parameter(torch.empty(rank, layer.in_features))
        self.up = nn.Parameter(torch.zeros(layer.out_features, rank))
        nn.init.normal_(self.down, std=layer.in_features**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output plus the adapter's: (..., n_in) -> (..., n_out)."""
        return self.layer(x) + self.scale * (x @ self.down.T) @ self.up.T

    def merge(self) -> nn.Linear:
        """Add the adapter to the layer's weight and return the layer."""
        with torch.no_grad():
            self.layer.weight += self.scale * self.up @ self.down
        return self.layer


def add_adapters(network: Encoder, rank: int) -> None:
    """Freeze the network and add an adapter to each linear layer of its blocks."""
    network.requires_grad_(False)
    for parent, name, layer in _find_layers(network, nn.Linear):
        setattr(parent, name, LoRALinear(layer, rank))


def merge_adapters(network: Encoder) -> None:
    """Merge the adapters into the weights, restore the plain layers and make all of them trainable."""
    for parent, name, layer in _find_layers(network, LoRALinear):
        setattr(parent, name, layer.merge())
    network.requires_grad_()


def _find_layers(network: Encoder, layer_type: type[nn.Module]) -> list[tuple[nn.Module, str, Any]]:
    """Return (parent module, attribute name, layer) of each layer of a type in the network's blocks."""
    return [
        (parent, name, child)
        for parent in network.blocks.modules()
        if not isinstance(parent, LoRALinear)
        for name, child in parent.named_children()
        if isinstance(child, layer_type)
    ]
