"""Token positions: within a document, as angles and rotations of queries and keys, and relative to each other."""

import math

import torch
from torch import Tensor
from torch.nn import functional

NEAR_SCORE = 2.0  # what a head's attention score has for its neighbour at first, with rotary positions


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


def grid_waves(height: int, width: int, channels: int) -> Tensor:
    """Return waves (height * width, channels) of the places of a grid, row by row (MAE, arXiv 2111.06377, app. A.1).

    The first half of the channels are sines and cosines of the row, the second half those of the column.
    """
    halves = [channels - channels // 2, channels // 2]
    angles = [position_angles(n, half) for n, half in zip((height, width), halves, strict=True)]
    rows, columns = (
        torch.cat([of_side.sin(), of_side.cos()], 1)[:, :half] for of_side, half in zip(angles, halves, strict=True)
    )
    return torch.cat([rows.repeat_interleave(width, 0), columns.repeat(height, 1)], 1)


def apply_rotary(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply rotary positions (arXiv 2104.09864, eq. 34): rotate pairs (i, i + D/2) of x (B, H, T, D).

    `cos` and `sin` (..., T, D/2) are those of the angles.
    """
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1).to(x.dtype)


def neighbour_biases(head_width: int, offset: int) -> tuple[Tensor, Tensor]:
    """Return biases (D,) of queries and keys that attend most to the key `offset` tokens after the query.

    After a rotation the product of two constant vectors depends on the distance alone: it is a sum of cosines, largest
    where all angles are 0.
    """
    angle = offset * position_angles(2, head_width)[1]  # (D / 2,)
    norm = math.sqrt(2 * NEAR_SCORE / math.sqrt(head_width))  # of each pair, so that D / 2 of them give this score
    q = torch.cat([torch.ones_like(angle), torch.zeros_like(angle)])
    return norm * q, norm * torch.cat([angle.cos(), -angle.sin()])


# --- relative positions (T5, arXiv 1910.10683, sec. 2.1) ---

BUCKETS, MAX_DISTANCE = 32, 128  # kinds of distance; all from the second number on are of the last kind
OTHER_SIDE = 2.0  # how much less a head looks to the side that is not its own, at first


def distance_bucket(distance: Tensor, causal: bool) -> Tensor:
    """Return the bucket of each distance, key minus query: one for each short one, then ever wider ones.

    Half of the buckets are for keys after the query, unless there are none.
    """
    n = BUCKETS if causal else BUCKETS // 2
    far = -distance.clamp(max=0) if causal else distance.abs()
    n_exact = n // 2
    # In T5's own order: rounded otherwise, a few distances would come into another bucket.
    wide = torch.log(far.clamp(min=1).float() / n_exact) / math.log(MAX_DISTANCE / n_exact) * (n - n_exact)
    wide = n_exact + wide.long()
    bucket = torch.where(far < n_exact, far, wide.clamp(max=n - 1))
    return bucket if causal else bucket + n * (distance > 0)


def prefer_near_keys(table: Tensor, causal: bool) -> None:
    """Initialize a table of biases (buckets, H): the nearer a key the more, in each head to another degree.

    As in ALiBi (arXiv 2108.12409), by bucket in place of distance. Where keys stand on both sides, one half of the
    heads looks to the left and the other to the right. A table of small random numbers knows no order of the tokens,
    and takes long to learn one.
    """
    buckets, heads = table.shape
    sides = 1 if causal else 2
    slopes = torch.logspace(-1, -4, -(-heads // sides), base=2).repeat_interleave(sides)[:heads]  # 1/2 to 1/16
    bias = -slopes * torch.arange(buckets // sides)[:, None]  # (buckets of a side, H)
    if not causal:
        looks_right = torch.arange(heads) % 2 == 1
        bias = torch.cat([bias - OTHER_SIDE * looks_right, bias - OTHER_SIDE * ~looks_right])
    with torch.no_grad():
        table.copy_(bias)


def relative_bias(table: Tensor, n_queries: int, n_keys: int, causal: bool) -> Tensor:
    """Return the bias (H, T, S) of each head between the last T of S tokens and all, by a table (buckets, H)."""
    # There are only T + S - 1 distances: their biases are looked up once, and each query has a window of them.
    distance = torch.arange(1 - n_keys, n_queries, device=table.device)
    by_distance = functional.embedding(distance_bucket(distance, causal), table).T  # (H, T + S - 1)
    return by_distance.unfold(1, n_keys, 1).flip(1)
