"""Transformer encoder over vectors: blocks of attention and feedforward networks, with the positions they read.

`models.transformer` puts token embeddings before it, `models.frame_transformer` frames of speech.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_cli.config.types import Count, Positive, Range
from ssl_cli.errors import InputError
from ssl_cli.models.attention import Attention, AttentionMask, KVCache
from ssl_cli.models.positions import look_up_rows, position_angles

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
# The options of every encoder, with their meanings. The upper bounds are beyond any existing model: a config that asks
# for more would only fill the memory.
SizeOption = Annotated[
    Size | None, "BERT's published layers x width: 2x128, 4x256, 4x512, 12x768, 24x1024; null: your own"
]
Layers = Annotated[Annotated[int, Range(1, 1000)] | None, "blocks; null: those of the size"]
Heads = Annotated[Count | None, "attention heads; null: one for each 64 numbers"]
Feedforward = Annotated[Count | None, "numbers in a block's hidden layer; null: 4 times the width"]
Positions = Literal["learned", "sinusoidal", "rotary"]
PositionsOption = Annotated[Positions, "how positions are encoded"]
Norm = Annotated[Literal["pre", "post"], "layer norm before or after each part of a block"]
ActivationOption = Annotated[Activation, "in a block's hidden layer; gelu_tanh is GPT-2's approximation"]
Dropout = Annotated[DropRate, "share of numbers dropped after the embeddings and after each part of a block"]
AttentionDropout = Annotated[DropRate, "share of attention weights dropped; slower if above 0"]
NormEps = Annotated[Positive, "added to the variance in a layer norm"]
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


class Encoder(nn.Module):
    """Encoder or, if `causal`, decoder over vectors with positions: (B, T, C) -> (B, T, C).

    Sources: arXiv 1706.03762, 1810.04805; GPT-2. `tables` are the layers that make its vectors, by the names that their
    weights have. norm=post has a norm after the embeddings, as in BERT. norm=pre has a norm after the last block, and
    smaller initial weights in the layers that add to the residual stream, as in GPT-2. Raises InputError if the sizes
    do not fit.
    """

    cos: Tensor
    sin: Tensor

    def __init__(
        self,
        tables: Mapping[str, nn.Module | None],
        context: int,
        layers: int,
        width: int,
        heads: int | None,
        feedforward: int | None,
        positions: Positions,
        norm: Literal["pre", "post"],
        causal: bool,
        activation: Activation,
        dropout: float,
        attention_dropout: float,
        norm_eps: float,
    ):
        super().__init__()
        heads = heads or max(1, width // HEAD_WIDTH)
        check_head_sizes(width, heads, positions)
        self.context, self.width, self.heads = context, width, heads
        self.layers, self.feedforward = layers, feedforward or 4 * width
        self.causal, self.positions, self.norm = causal, positions, norm
        self.activation, self.norm_eps = activation, norm_eps
        self.dropout, self.attention_dropout = dropout, attention_dropout

        for name, table in tables.items():
            setattr(self, name, table)
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
    def shape_options(self) -> dict[str, Any]:
        """Constructor arguments of an encoder of the same shape, without those of its tables."""
        names = ("context", "layers", "width", "heads", "feedforward", "positions", "norm", "causal", "activation")
        return {name: getattr(self, name) for name in (*names, "dropout", "attention_dropout", "norm_eps")}

    def reinitialize_top(self, layers: int) -> None:
        """Reinitialize the last `layers` blocks and the norm after them (arXiv 2006.05987)."""
        for part in [*self.blocks[len(self.blocks) - layers :], *filter(None, [self.last_norm])]:
            for norm in part.modules():
                if isinstance(norm, nn.LayerNorm):
                    norm.reset_parameters()
            self._init_weights(part)

    def encode(
        self, x: Tensor, position: slice | Tensor, mask: AttentionMask, causal: bool, cache: KVCache | None = None
    ) -> Tensor:
        """Return hidden states (B, T, C) of embedded vectors (B, T, C).

        `position` is an index into a table. `causal` applies if `mask` is None. The vectors follow those in the cache.
        """
        rotation = self._rotation(position) if self.positions == "rotary" else None
        for layer, block in enumerate(self.blocks):
            x = block(x, mask, causal, rotation, partial(cache.update, layer) if cache else None)
        return x if self.last_norm is None else self.last_norm(x)

    def add_positions(self, x: Tensor, position: slice | Tensor) -> Tensor:
        """Return vectors (B, T, C) with their positions added, unless those are rotary."""
        if self.position_table is not None:
            return x + look_up_rows(self.position_table.weight, position)
        if self.positions == "sinusoidal":
            waves = torch.cat([self.sin, self.cos], dim=1)[:, : self.width]
            return x * math.sqrt(self.width) + look_up_rows(waves, position)  # the scale: arXiv 1706.03762, sec. 3.4
        return x

    def normalize_and_drop(self, x: Tensor) -> Tensor:
        """Return embeddings (B, T, C) after the first norm of norm=post, and dropout."""
        if self.first_norm is not None:
            x = self.first_norm(x)
        return functional.dropout(x, self.dropout, self.training) if self.dropout else x

    def _rotation(self, position: slice | Tensor) -> tuple[Tensor, Tensor]:
        """Return cosines and sines, (1, T, D/2) or (B, 1, T, D/2): the same for every head."""
        return self.cos[position].unsqueeze(-3), self.sin[position].unsqueeze(-3)

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


def layers_and_width(size: Size | None, layers: int | None, width: int | None) -> tuple[int, int]:
    """Return the blocks and the width of a size, unless they are given. Raises InputError if neither is."""
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
