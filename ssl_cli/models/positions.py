"""Where a token stands: within its document, as an angle, as a turn of its numbers."""

import torch
from torch import Tensor
from torch.nn import functional


def positions_within(document: Tensor) -> Tensor:
    """Each token's place within its document, from 0: (B, T) -> (B, T)"""
    index = torch.arange(document.shape[1], device=document.device).expand_as(document)
    is_first = torch.ones_like(document, dtype=torch.bool)
    is_first[:, 1:] = document[:, 1:] != document[:, :-1]
    return index - torch.where(is_first, index, 0).cummax(dim=1).values


def looked_up(table: Tensor, place: slice | Tensor) -> Tensor:
    """Rows of a table (context, C): (T, C) of a slice, (B, T, C) of an index (B, T)"""
    return table[place] if isinstance(place, slice) else functional.embedding(place, table)


def angles(context: int, width: int) -> Tensor:
    """(context, width / 2), each position times falling speeds (arXiv 1706.03762, sec. 3.5)"""
    speed = 10_000.0 ** (-torch.arange(0, width, 2, dtype=torch.float32) / width)
    return torch.arange(context, dtype=torch.float32)[:, None] * speed


def turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions (arXiv 2104.09864, eq. 34): x (B, H, T, D), pairs (i, i + D/2) turned by angles (..., T, D/2)"""
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1).to(x.dtype)
