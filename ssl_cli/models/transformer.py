"""Transformer encoder and decoder: BERT, RoBERTa and GPT-2 are configurations of this one network."""

import math
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_cli.config.types import Count, Natural, Positive, Range
from ssl_cli.errors import InputError
from ssl_cli.models.attention import Attention, AttentionMask, KVCache, document_mask
from ssl_cli.models.positions import document_positions, look_up_rows, position_angles

Size = Literal["tiny", "mini", "small", "base", "large"]
# Layers and width of the published BERT models (arXiv 1810.04805; the small ones: 1908.08962).
SIZES: dict[Size, tuple[int, int]] = {
    "tiny": (2, 128),
    "mini": (4, 256),
    "small": (4, 512),
    "base": (12, 768),
    "large": (24, 1024),
}
HEAD_WIDTH = 64  # features per head
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": functional.gelu,
    "gelu_tanh": partial(functional.gelu, approximate="tanh"),
    "relu": functional.relu,
}
Activation = Literal["gelu", "gelu_tanh", "relu"]
DropRate = Annotated[float, Range(0, 1, open_high=True)]
INITIAL_STD = 0.02


class Block(nn.Module):
    """Transformer block: attention, then a feedforward network on each token, (B, T, C) -> (B, T, C).

    Both have a residual connection. norm=post normalizes the sums (arXiv 1706.03762), norm=pre the input of each part
    (GPT-2).
    """

    def __init__(
        self,
        width: int,
        heads: int,
        feedforward: int,
        norm: Literal["pre", "post"],
        activation: Activation,
        dropout: float,
        attention_dropout: float,
        norm_eps: float,
    ):
        super().__init__()
        self.is_pre, self.dropout, self.activation = norm == "pre", dropout, ACTIVATIONS[activation]
        self.attention_norm = nn.LayerNorm(width, norm_eps)
        self.attention = Attention(width, heads, attention_dropout)
        self.feedforward_norm = nn.LayerNorm(width, norm_eps)
        self.up = nn.Linear(width, feedforward)
        self.down = nn.Linear(feedforward, width)

    def forward(self, x: Tensor, *attention_args: Any) -> Tensor:
        """Return the block's output; `attention_args` are the arguments of Attention besides x."""
        if self.is_pre:
            x = x + self._drop(self.attention(self.attention_norm(x), *attention_args))
            return x + self._drop(self._feedforward(self.feedforward_norm(x)))
        x = self.attention_norm(x + self._drop(self.attention(x, *attention_args)))
        return self.feedforward_norm(x + self._drop(self._feedforward(x)))

    def _feedforward(self, x: Tensor) -> Tensor:
        return self.down(self.activation(self.up(x)))

    def _drop(self, x: Tensor) -> Tensor:
        return functional.dropout(x, self.dropout, self.training) if self.dropout else x


class Transformer(nn.Module):
    """Transformer from token ids to a vector per token: an encoder or, if `causal`, a decoder.

    Sources: arXiv 1706.03762, 1810.04805; GPT-2. `size` sets layers and width; `layers` and `width` override it.
    norm=post has a norm after the embeddings, as in BERT. norm=pre has a norm after the last block, and smaller initial
    weights in the layers that add to the residual stream, as in GPT-2. Raises InputError if the sizes do not fit.
    """

    cos: Tensor
    sin: Tensor

    def __init__(
        self,
        # The upper bounds are beyond any existing model: a config that asks for more would only fill the memory.
        vocab_size: Annotated[int, Range(1, 1_000_000), "tokens in the vocabulary"],
        context: Annotated[int, Range(8, 131_072), "tokens it can read at once"],
        size: Annotated[
            Size | None, "BERT's published layers x width: 2x128, 4x256, 4x512, 12x768, 24x1024; null: your own"
        ] = None,
        layers: Annotated[Annotated[int, Range(1, 1000)] | None, "blocks; null: those of the size"] = None,
        width: Annotated[Count | None, "numbers in a token's vector; null: those of the size"] = None,
        heads: Annotated[Count | None, "attention heads; null: one for each 64 numbers"] = None,
        feedforward: Annotated[Count | None, "numbers in a block's hidden layer; null: 4 times the width"] = None,
        positions: Annotated[Literal["learned", "sinusoidal", "rotary"], "how positions are encoded"] = "learned",
        norm: Annotated[Literal["pre", "post"], "layer norm before or after each part of a block"] = "post",
        causal: Annotated[bool, "true: a token does not see those after it"] = False,
        segments: Annotated[Natural, "kinds of segment a token can belong to; 0: none"] = 0,
        activation: Annotated[Activation, "in a block's hidden layer; gelu_tanh is GPT-2's approximation"] = "gelu",
        dropout: Annotated[
            DropRate, "share of numbers dropped after the embeddings and after each part of a block"
        ] = 0.1,
        attention_dropout: Annotated[DropRate, "share of attention weights dropped; slower if above 0"] = 0.0,
        norm_eps: Annotated[Positive, "added to the variance in a layer norm"] = 1e-12,
    ):
        super().__init__()
        layers, width = _layers_and_width(size, layers, width)
        heads = heads or max(1, width // HEAD_WIDTH)
        check_head_sizes(width, heads, positions)
        self.vocab_size, self.context, self.width, self.heads = vocab_size, context, width, heads
        self.layers, self.feedforward = layers, feedforward or 4 * width
        self.causal, self.positions, self.norm, self.segments = causal, positions, norm, segments
        self.activation, self.norm_eps = activation, norm_eps
        self.dropout, self.attention_dropout = dropout, attention_dropout

        self.token_table = nn.Embedding(vocab_size, width)
        self.segment_table = nn.Embedding(segments, width) if segments else None
        self.position_table = nn.Embedding(context, width) if positions == "learned" else None
        if positions != "learned":
            angles = position_angles(context, width if positions == "sinusoidal" else width // heads)
            self.register_buffer("cos", angles.cos(), persistent=False)
            self.register_buffer("sin", angles.sin(), persistent=False)
        self.first_norm = nn.LayerNorm(width, norm_eps) if norm == "post" else None
        shape = (width, heads, self.feedforward, norm, activation, dropout, attention_dropout, norm_eps)
        self.blocks = nn.ModuleList(Block(*shape) for _ in range(layers))
        self.last_norm = nn.LayerNorm(width, norm_eps) if norm == "pre" else None
        self._init_weights(self)

    @property
    def options(self) -> dict[str, Any]:
        """Constructor arguments of a network of the same shape."""
        names = ("vocab_size", "context", "layers", "width", "heads", "feedforward", "positions", "norm", "causal")
        more_names = ("segments", "activation", "dropout", "attention_dropout", "norm_eps")
        return {name: getattr(self, name) for name in (*names, *more_names)}

    def reinitialize_top(self, layers: int) -> None:
        """Reinitialize the last `layers` blocks and the norm after them (arXiv 2006.05987)."""
        for part in [*self.blocks[len(self.blocks) - layers :], *filter(None, [self.last_norm])]:
            for norm in part.modules():
                if isinstance(norm, nn.LayerNorm):
                    norm.reset_parameters()
            self._init_weights(part)

    def forward(
        self, ids: Tensor, segment: Tensor | None = None, document: Tensor | None = None, cache: KVCache | None = None
    ) -> Tensor:
        """Return hidden states (B, T, C) of token ids (B, T).

        `segment` (B, T) defaults to 0. With `document` (B, T), a token sees only its own document, and positions
        restart in each. With a `cache`, `ids` are the next tokens of rows whose earlier tokens it holds.
        Raises InputError if there are more tokens than the context or the cache has room for.
        """
        position, mask = self._positions_and_mask(ids, document, cache)
        x = self._embed(ids, segment, position)
        rotation = self._rotation(position) if self.positions == "rotary" else None
        causal = self.causal and (cache is None or cache.length == 0)
        for layer, block in enumerate(self.blocks):
            x = block(x, mask, causal, rotation, partial(cache.update, layer) if cache else None)
        if cache is not None:
            cache.length += ids.shape[1]
        return x if self.last_norm is None else self.last_norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        """Return logits (..., V) of hidden states (..., C), by the tied token embeddings (arXiv 1608.05859)."""
        return functional.linear(hidden, self.token_table.weight)

    def new_cache(self, rows: int, capacity: int | None = None, left_padding: Tensor | None = None) -> KVCache:
        """Return an empty cache for rows of `capacity` tokens each, by default the context.

        `left_padding` (B,): see KVCache.
        """
        assert self.causal, "only a causal model can be read token by token"
        weight = self.token_table.weight
        shape = (self.layers, rows, self.heads, capacity or self.context, self.width // self.heads)
        keys, values = (torch.empty(shape, dtype=weight.dtype, device=weight.device) for _ in range(2))
        return KVCache(keys, values, left_padding)

    # --- positions and masks ---

    def _positions_and_mask(
        self, ids: Tensor, document: Tensor | None, cache: KVCache | None
    ) -> tuple[slice | Tensor, AttentionMask]:
        """Return the tokens' positions, as an index into a table, and their attention mask."""
        length = ids.shape[1]
        if cache is not None:
            assert document is None, "a cache holds one document per row"
            check_length(cache.length + length, min(self.context, cache.capacity))
            return cache.positions(length), cache.mask(length)
        check_length(length, self.context)
        if document is None:
            return slice(0, length), None
        dropout = self.attention_dropout if self.training else 0.0
        return document_positions(document), document_mask(document, self.causal, dropout)

    def _embed(self, ids: Tensor, segment: Tensor | None, position: slice | Tensor) -> Tensor:
        """Return the embeddings of tokens, positions and segments: (B, T) -> (B, T, C)."""
        x = self.token_table(ids)
        if self.position_table is not None:
            x = x + look_up_rows(self.position_table.weight, position)
        elif self.positions == "sinusoidal":
            waves = torch.cat([self.sin, self.cos], dim=1)[:, : self.width]
            x = x * math.sqrt(self.width) + look_up_rows(waves, position)  # the scale: arXiv 1706.03762, sec. 3.4
        if self.segment_table is not None:
            x = x + (self.segment_table.weight[0] if segment is None else self.segment_table(segment))
        if self.first_norm is not None:
            x = self.first_norm(x)
        return functional.dropout(x, self.dropout, self.training) if self.dropout else x

    def _rotation(self, position: slice | Tensor) -> tuple[Tensor, Tensor]:
        """Return cosines and sines, (1, T, D/2) or (B, 1, T, D/2): the same for every head."""
        return self.cos[position].unsqueeze(-3), self.sin[position].unsqueeze(-3)

    # --- initialization ---

    def _init_weights(self, part: nn.Module) -> None:
        """Initialize weights from a normal distribution and biases with 0, in the whole network or a part."""
        for module in part.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=INITIAL_STD)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
        if self.norm == "pre":
            # The sum of all blocks then starts as large as one block: GPT-2, sec. 2.3.
            for block in part.modules():
                if isinstance(block, Block):
                    for last in (block.attention.out, block.down):
                        nn.init.normal_(last.weight, std=INITIAL_STD / math.sqrt(2 * self.layers))


def check_length(length: int, max_length: int) -> None:
    """Raise InputError if there are more tokens than the model can read."""
    if length > max_length:
        raise InputError(f"{length:,} tokens are more than the model's context of {max_length:,}: shorten the text.")


def _layers_and_width(size: Size | None, layers: int | None, width: int | None) -> tuple[int, int]:
    if size is None and (layers is None or width is None):
        raise InputError("A transformer needs a size, such as mini, or both layers and width.")
    of_size = SIZES[size] if size else (0, 0)
    return layers or of_size[0], width or of_size[1]


def check_head_sizes(width: int, heads: int, positions: str) -> None:
    """Raise InputError if the width is no multiple of the heads, or a head has an odd size with rotary positions."""
    if width % heads:
        raise InputError(f"A width of {width} can't be split into {heads} heads: it must be a multiple of {heads}.")
    if positions == "rotary" and (width // heads) % 2:
        raise InputError(
            f"Rotary positions need an even number of features in each head: a width of {width} in {heads} heads "
            f"makes {width // heads}."
        )
