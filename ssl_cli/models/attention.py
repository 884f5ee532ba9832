"""Attention, masks that say which tokens each token sees, and the key-value cache of a causal model."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from ssl_cli.models.cpu import attend_by_matmul, attend_single_query, mask_to_add
from ssl_cli.models.positions import apply_rotary, neighbour_biases

# (B, 1, T, S) bool, true where a token sees another, or numbers that are added to the scores, (B, H, T, S) with -inf
# where it does not; None: it sees all.
AttentionMask = Tensor | BlockMask | None
MAX_MATMUL_TOKENS = 512  # for that many tokens a CPU has room for all attention weights


class Attention(nn.Module):
    """Multi-head scaled dot-product attention (arXiv 1706.03762, sec. 3.2): (B, T, C) -> (B, T, C).

    One matrix makes queries, keys and values: one large product in place of three.
    """

    def __init__(self, width: int, heads: int, dropout: float, head_width: int, biases: bool):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.qkv = nn.Linear(width, 3 * heads * head_width, biases)
        self.out = nn.Linear(heads * head_width, width, biases)

    def look_at_neighbours(self, causal: bool) -> None:
        """Initialize the biases for rotary positions, so that a token looks first at the one before or after it.

        Heads look to the left and to the right by turns; causal ones only to the left. Without this a model learns for
        long which tokens are frequent, before it learns that their order matters.
        """
        q, k, _ = self.qkv.bias.view(3, self.heads, -1)  # (H, D) each
        with torch.no_grad():
            for head in range(self.heads):
                q[head], k[head] = neighbour_biases(q.shape[1], offset=-1 if causal or head % 2 == 0 else 1)

    def forward(
        self,
        x: Tensor,
        mask: AttentionMask,
        causal: bool,
        rotation: tuple[Tensor, Tensor] | None = None,
        update_cache: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None,
    ) -> Tensor:
        """Return the attention output (B, T, C).

        `rotation`: cosines and sines of rotary positions. `update_cache` stores new keys and values and returns all of
        them so far.
        """
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind()  # (B, H, T, D) each
        if rotation is not None:
            q, k = apply_rotary(q, *rotation), apply_rotary(k, *rotation)
        if update_cache is not None:
            k, v = update_cache(k, v)
        mixed = attend(q, k, v, mask, causal, self.dropout if self.training else 0.0)  # (B, H, T, D)
        return self.out(mixed.transpose(1, 2).flatten(2))


def attend(q: Tensor, k: Tensor, v: Tensor, mask: AttentionMask, causal: bool, dropout: float) -> Tensor:
    """Compute attention: (B, H, T, D), (B, H, S, D), (B, H, S, D) -> (B, H, T, D).

    `causal` applies only if `mask` is None.
    """
    if isinstance(mask, BlockMask):
        return _flex()[0](q, k, v, block_mask=mask)
    if q.device.type == "cpu" and torch.is_grad_enabled() and q.shape[2] <= MAX_MATMUL_TOKENS:
        return attend_by_matmul(q, k, v, mask, causal, dropout)
    if q.shape[2] == 1 and q.dtype == torch.bfloat16 and q.device.type == "cpu" and not dropout:
        return attend_single_query(q, k, v, mask)
    return functional.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, dropout_p=dropout, is_causal=causal and mask is None
    )


# --- masks ---


def as_numbers(mask: AttentionMask, dtype: torch.dtype) -> AttentionMask:
    """Return a mask of bool on a CPU as numbers to add, and any other as it is."""
    if isinstance(mask, Tensor) and mask.dtype == torch.bool and mask.device.type == "cpu":
        return mask_to_add(mask, dtype)
    return mask


def score_dtype(x: Tensor) -> torch.dtype:
    """Return the data type in which the scores of vectors are computed: that of autocast if it is on."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


def document_mask(document: Tensor, causal: bool, dropout: float) -> Tensor | BlockMask:
    """Return a mask in which tokens see only their own document (B, T) and, if `causal`, no later tokens.

    On a GPU it is a block mask, whose empty blocks are never computed. A block mask does not support dropout: with
    dropout the mask is a full one.
    """
    if document.device.type == "cuda" and not dropout:
        return document_block_mask(document, causal, _flex()[1])
    same = same_document(document, document)  # (B, 1, T, T)
    return same.tril() if causal else same


def same_document(document: Tensor, other: Tensor) -> Tensor:
    """Return which tokens are of the same document: (B, T), (B, S) -> (B, 1, T, S) bool."""
    return document[:, None, :, None] == other[:, None, None, :]


def document_block_mask(
    document: Tensor, causal: bool, create: Callable[..., BlockMask] = create_block_mask
) -> BlockMask:
    """Return the same mask as a block mask of flex_attention (arXiv 2412.05496)."""

    def sees(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        same = document[b, q] == document[b, k]
        return same & (k <= q) if causal else same

    n_rows, length = document.shape
    return create(sees, B=n_rows, H=None, Q_LEN=length, KV_LEN=length, device=document.device)


@functools.cache
def _flex() -> tuple[Callable[..., Any], Callable[..., BlockMask]]:
    # Both are slow unless compiled; they are compiled at the first call. We have not run this on a GPU yet.
    return torch.compile(flex_attention), torch.compile(create_block_mask)


# --- the cache ---


class KVCache:
    """Keys and values of the tokens that a causal model has read, in memory allocated in advance.

    `left_padding` (B,) is the number of padding tokens at the left of each row, for prompts of different lengths. No
    token sees them, and positions are counted from the first real token. `length` is the number of tokens read.
    """

    def __init__(self, keys: Tensor, values: Tensor, left_padding: Tensor | None = None):
        self.keys, self.values, self.left_padding = keys, values, left_padding  # (layers, B, H, capacity, D)
        self.length = 0

    @classmethod
    def empty(cls, shape: Sequence[int], like: Tensor, left_padding: Tensor | None = None) -> "KVCache":
        """Return a cache of a shape (layers, B, H, capacity, D), in the data type and on the device of a tensor."""
        return cls(like.new_empty(shape), like.new_empty(shape), left_padding)

    @property
    def capacity(self) -> int:
        """The largest number of tokens it can hold."""
        return self.keys.shape[3]

    def update(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store keys and values of new tokens (B, H, T, D), and return all of the layer's, (B, H, length + T, D)."""
        end = self.length + k.shape[2]
        self.keys[layer, :, :, self.length : end] = k
        self.values[layer, :, :, self.length : end] = v
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]

    def select(self, rows: Tensor) -> "KVCache":
        """Return a cache of these rows (B',), in this order; a row may be there several times, as in beam search."""
        keys, values = (_select_tokens(stored, rows, self.length) for stored in (self.keys, self.values))
        selected = KVCache(keys, values, None if self.left_padding is None else self.left_padding[rows])
        selected.length = self.length
        return selected

    def mask(self, n_new: int) -> Tensor | None:
        """Return which tokens each of `n_new` new ones sees, (B or 1, 1, T, length + T) bool.

        Returns None if no mask is needed: the new token sees everything, or the model's own causal mask is enough.
        """
        if self.left_padding is None and (self.length == 0 or n_new == 1):
            return None
        end = self.length + n_new
        key = torch.arange(end, device=self.keys.device)
        query = key[self.length :, None]  # (T, 1)
        if self.left_padding is None:
            return (key <= query)[None, None]
        # A padding token sees itself: a softmax over nothing would be NaN.
        real = key >= self.left_padding[:, None, None]  # (B, 1, S)
        return ((key <= query) & (real | (key == query)))[:, None]

    def positions(self, n_new: int) -> slice | Tensor:
        """Return the positions of `n_new` new tokens: a slice, or (B, T) if rows are padded on the left."""
        if self.left_padding is None:
            return slice(self.length, self.length + n_new)
        index = torch.arange(self.length, self.length + n_new, device=self.keys.device)
        return (index - self.left_padding[:, None]).clamp(min=0)


def _select_tokens(stored: Tensor, rows: Tensor, length: int) -> Tensor:
    """Return the first `length` tokens of some rows in memory for as many as before: (layers, B, H, capacity, D)."""
    selected = stored.new_empty(stored.shape[0], len(rows), *stored.shape[2:])
    selected[:, :, :, :length] = stored[:, rows, :, :length]
    return selected
