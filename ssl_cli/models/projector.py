"""Projector: layers between a network and a loss that are thrown away after pretraining."""

from itertools import pairwise

from torch import Tensor, nn

from ssl_cli.models.batch_norm import BatchNorm


class Projector(nn.Sequential):
    """Linear layers with batch normalization between them: (B, n_in) -> (B, widths[-1]).

    As in SimCLR (arXiv 2002.05709) and BYOL (2006.07733). `last_norm` adds one at the end.
    """

    def __init__(self, n_in: int, widths: list[int], last_norm: bool = False):
        layers: list[nn.Module] = []
        for k, (before, after) in enumerate(pairwise([n_in, *widths]), start=1):
            is_last = k == len(widths)
            layers.append(nn.Linear(before, after, bias=is_last and not last_norm))
            if not is_last or last_norm:
                layers.append(BatchNorm(after))
            if not is_last:
                layers.append(nn.ReLU())
        super().__init__(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return the projections of vectors (B, n_in)."""
        return super().forward(x)
