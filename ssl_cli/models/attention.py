"""Attention, what each token may see in it, and the memory of a model that reads token by token."""

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from ssl_cli.models.positions import turned

Sight = Tensor | BlockMask | None  # (B, 1, T, S) bool, true where a token sees another; None: it sees all
SHORT = 512  # tokens, for which a CPU has room for all weights of attention


class Attention(nn.Module):
    """Scaled dot-product attention with several heads (arXiv 1706.03762, sec. 3.2): (B, T, C) -> (B, T, C)

    Queries, keys and values come from one matrix, which is one large product in the place of three.
    """

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self,
        x: Tensor,
        sight: Sight,
        causal: bool,
        turn: tuple[Tensor, Tensor] | None = None,
        remember: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None,
    ) -> Tensor:
        """`turn`: cosines and sines of rotary positions; `remember` adds keys and values to those before them."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind()  # (B, H, T, D) each
        if turn is not None:
            q, k = turned(q, *turn), turned(k, *turn)
        if remember is not None:
            k, v = remember(k, v)
        mixed = attend(q, k, v, sight, causal, self.dropout if self.training else 0.0)  # (B, H, T, D)
        return self.out(mixed.transpose(1, 2).flatten(2))


def attend(q: Tensor, k: Tensor, v: Tensor, sight: Sight, causal: bool, dropout: float) -> Tensor:
    """(B, H, T, D), (B, H, S, D), (B, H, S, D) -> (B, H, T, D); `causal` counts only where `sight` is None."""
    if isinstance(sight, BlockMask):
        return _flex()[0](q, k, v, block_mask=sight)
    if q.device.type == "cpu" and torch.is_grad_enabled() and q.shape[2] <= SHORT:
        return _by_products(q, k, v, sight, causal, dropout)
    if q.shape[2] == 1 and q.dtype == torch.bfloat16 and q.device.type == "cpu" and not dropout:
        return attend_once(q, k, v, sight)
    return functional.scaled_dot_product_attention(
        q, k, v, attn_mask=sight, dropout_p=dropout, is_causal=causal and sight is None
    )


def attend_once(q: Tensor, k: Tensor, v: Tensor, sight: Tensor | None) -> Tensor:
    """The same for a single query, (B, H, 1, D).

    On a CPU in bfloat16 three to five times faster than torch's own, whose blocks are for many queries (measured with
    torch 2.13, 256 and 1,000 keys).
    """
    score = torch.matmul(k, (q / math.sqrt(q.shape[-1])).transpose(-1, -2)).transpose(-1, -2)  # (B, H, 1, S)
    if sight is not None:
        score = score.masked_fill(~sight, -torch.inf)
    return torch.matmul(score.softmax(dim=-1), v)


def _by_products(q: Tensor, k: Tensor, v: Tensor, sight: Tensor | None, causal: bool, dropout: float) -> Tensor:
    """The same by two plain products, its weights in memory: a CPU computes the gradient up to 4 times as fast."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)  # (B, H, T, S)
    if sight is not None:
        scores = scores.masked_fill(~sight, -math.inf)
    elif causal:
        scores = scores + torch.full(scores.shape[-2:], -math.inf, dtype=q.dtype).triu(1)
    weights = scores.softmax(-1)
    return (functional.dropout(weights, dropout) if dropout else weights) @ v


# --- what a token may see ---


def within_documents(document: Tensor, causal: bool, dropout: float) -> Tensor | BlockMask:
    """Tokens see those of their own document (B, T) and, if `causal`, none after them.

    On a GPU a block mask, whose empty blocks are never computed; it knows no dropout, with which a full mask is made.
    """
    if document.device.type == "cuda" and not dropout:
        return document_blocks(document, causal, _flex()[1])
    same = document[:, None, :, None] == document[:, None, None, :]  # (B, 1, T, T)
    return same.tril() if causal else same


def document_blocks(document: Tensor, causal: bool, make: Callable[..., BlockMask] = create_block_mask) -> BlockMask:
    """The same as a block mask of flex_attention (arXiv 2412.05496)."""

    def sees(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        same = document[b, q] == document[b, k]
        return same & (k <= q) if causal else same

    n_rows, length = document.shape
    return make(sees, B=n_rows, H=None, Q_LEN=length, KV_LEN=length, device=document.device)


@functools.cache
def _flex() -> tuple[Callable[..., Any], Callable[..., BlockMask]]:
    # Neither is fast unless compiled; compiling starts at the first call. Has not been run on a GPU by us yet.
    return torch.compile(flex_attention), torch.compile(create_block_mask)


# --- what has been read ---


class Cache:
    """Keys and values of the tokens that a causal model has read, in memory set aside at once.

    `start` (B,) is each row's first real token, where prompts of different lengths are filled up on the left: what lies
    before it is seen by nobody, and positions are counted from it. `length` tokens have been read.
    """

    def __init__(self, keys: Tensor, values: Tensor, start: Tensor | None = None):
        self.keys, self.values, self.start = keys, values, start  # (layers, B, H, capacity, D)
        self.length = 0

    @property
    def capacity(self) -> int:
        """The most tokens it can hold."""
        return self.keys.shape[3]

    def remember(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of new tokens, (B, H, T, D) -> of all so far, (B, H, length + T, D)"""
        end = self.length + k.shape[2]
        self.keys[layer, :, :, self.length : end] = k
        self.values[layer, :, :, self.length : end] = v
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]

    def sight(self, n_new: int) -> Tensor | None:
        """Which tokens so far each new one sees: (B or 1, 1, T, length + T) bool; None where that is plain."""
        if self.start is None and (self.length == 0 or n_new == 1):
            return None
        end = self.length + n_new
        key = torch.arange(end, device=self.keys.device)
        query = key[self.length :, None]  # (T, 1)
        if self.start is None:
            return (key <= query)[None, None]
        # What fills a row up sees itself, since a softmax over nothing is no number.
        real = key >= self.start[:, None, None]  # (B, 1, S)
        return ((key <= query) & (real | (key == query)))[:, None]

    def place(self, n_new: int) -> slice | Tensor:
        """Positions of the new tokens: a slice, or (B, T) where rows are filled up on the left."""
        if self.start is None:
            return slice(self.length, self.length + n_new)
        index = torch.arange(self.length, self.length + n_new, device=self.keys.device)
        return (index - self.start[:, None]).clamp(min=0)
