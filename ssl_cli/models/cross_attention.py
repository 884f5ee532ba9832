"""Cross-attention: what a decoder sees of its source, and the cache of both kinds of attention."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ssl_cli.models.attention import AttentionMask, KVCache, attend

KeysAndValues = tuple[Tensor, Tensor]  # (B, H, S, D) each


@dataclass(frozen=True)
class Memory:
    """A source as a decoder reads it: its vectors (B, S, C), or each layer's keys and values if they are there already.

    `mask`: which of them each token sees, None for all. `sees_any` (B, T, 1) is false for tokens that see none, whose
    attention is then 0; None if all see some.
    """

    vectors: Tensor | None
    mask: AttentionMask = None
    sees_any: Tensor | None = None
    keys_and_values: Sequence[KeysAndValues] = ()


class CrossAttention(nn.Module):
    """Multi-head attention of a decoder's tokens to a source (arXiv 1706.03762, sec. 3.2.3): (B, T, C) -> (B, T, C).

    One matrix makes keys and values.
    """

    def __init__(self, width: int, heads: int, dropout: float, head_width: int, biases: bool):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.q = nn.Linear(width, heads * head_width, biases)
        self.kv = nn.Linear(width, 2 * heads * head_width, biases)
        self.out = nn.Linear(heads * head_width, width, biases)

    def look_for_same_token(self) -> None:
        """Initialize keys like queries, so that a token looks first at those of the source that are equal to it.

        A BART then copies after half as many steps. A T5 needs an order of its tokens as well to find what its
        sentinels stand for (`positions.prefer_near_keys`).
        """
        k = self.kv.weight[: len(self.q.weight)]
        nn.init.normal_(self.q.weight, std=self.q.in_features**-0.5)
        with torch.no_grad():
            k.copy_(self.q.weight)

    def keys_and_values(self, vectors: Tensor) -> KeysAndValues:
        """Return the keys and values (B, H, S, D) of a source (B, S, C)."""
        k, v = self.kv(vectors).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind()
        return k, v

    def forward(self, x: Tensor, memory: Memory, layer: int) -> Tensor:
        """Return the attention output (B, T, C) of tokens (B, T, C) in the `layer`-th block."""
        q = self.q(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, H, T, D)
        if memory.keys_and_values:
            k, v = memory.keys_and_values[layer]
        else:
            assert memory.vectors is not None
            k, v = self.keys_and_values(memory.vectors)
        dropout = self.dropout if self.training else 0.0
        mixed = attend(q, k, v, memory.mask, False, dropout).transpose(1, 2).flatten(2)  # (B, T, H * D)
        return self.out(mixed if memory.sees_any is None else mixed * memory.sees_any)


def open_empty_rows(mask: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return the mask (B, 1, T, S) with rows that see nothing made to see everything, and which rows see something.

    A softmax over nothing would be NaN. The second is (B, T, 1), or None if it is known that all rows see something.
    """
    sees_any = mask.any(-1, keepdim=True)  # (B, 1, T, 1)
    if mask.device.type == "cpu" and bool(sees_any.all()):  # to ask a GPU would make the CPU wait for it
        return mask, None
    return mask | ~sees_any, sees_any[:, 0]


class Seq2SeqCache:
    """Keys and values of a decoder's own tokens, and those of the sources that it reads, which are computed once."""

    def __init__(self, own: KVCache, memory: Memory, source_row: Tensor):
        self.own, self.memory = own, memory
        self._source_row = source_row  # (B,): which of the sources each row reads

    @property
    def length(self) -> int:
        """The number of a row's tokens read so far."""
        return self.own.length

    def select(self, rows: Tensor) -> "Seq2SeqCache":
        """Return a cache of these rows (B',), in this order; a row may be there several times, as in beam search.

        The sources are not copied if each row still reads the same one.
        """
        own, source_row = self.own.select(rows), self._source_row[rows]
        if torch.equal(source_row, self._source_row):
            return Seq2SeqCache(own, self.memory, source_row)
        old = self.memory
        mask = old.mask[rows] if isinstance(old.mask, Tensor) else None
        sees_any = None if old.sees_any is None else old.sees_any[rows]
        stored = [(k[rows], v[rows]) for k, v in old.keys_and_values]
        return Seq2SeqCache(own, Memory(None, mask, sees_any, stored), source_row)
