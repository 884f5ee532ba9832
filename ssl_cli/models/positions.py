"""Token positions: within a document, as angles, and as rotations of queries and keys."""

import torch
from torch import Tensor
from torch.nn import functional


def document_positions(document: Tensor) -> Tensor:
    """Return each token's position within its document, counted from 0: (B, T) -> (B, T)."""
    index = torch.arange(document.shape[1], device=document.device).expand_as(document)
    is_first = torch.ones_like(document, dtype=torch.bool)
    is_first[:, 1:] = document[:, 1:] != document[:, :-1]
    return index - torch.where(is_first, index, 0).cummax(dim=1).values


def look_up_rows(table: Tensor, position: slice | Tensor) -> Tensor:
    """Return rows of a table (context, C): (T, C) for a slice, (B, T, C) for an index (B, T)."""
    return table[position] if isinstance(position, slice) else functional.embedding(position, table)


def position_angles(context: int, width: int) -> Tensor:
    """Return (context, width / 2): each position times decreasing frequencies (arXiv 1706.03762, sec. 3.5)."""
    frequency = 10_000.0 ** (-torch.arange(0, width, 2, dtype=torch.float32) / width)
    return torch.arange(context, dtype=torch.float32)[:, None] * frequency


def apply_rotary(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply rotary positions (arXiv 2104.09864, eq. 34): rotate pairs (i, i + D/2) of x (B, H, T, D).

    `cos` and `sin` (..., T, D/2) are those of the angles.
    """
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1).to(x.dtype)
