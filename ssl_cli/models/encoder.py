"""Transformer encoder over vectors: blocks of attention and feedforward networks, with the positions they read.

`models.transformer` puts token embeddings before it, `models.frame_transformer` frames of speech,
`models.patch_transformer` patches of images.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_cli.config.types import Count, Positive, Range
from ssl_cli.errors import InputError
from ssl_cli.models.attention import (
    Attention,
    AttentionMask,
    BlockMask,
    KVCache,
    as_numbers,
    document_mask,
    same_document,
    score_dtype,
)
from ssl_cli.models.blocks import Activation, Block, BlockShape, Normalization, NormPlace
from ssl_cli.models.cpu import mask_to_add
from ssl_cli.models.cross_attention import Memory
from ssl_cli.models.positions import BUCKETS, look_up_rows, position_angles, prefer_near_keys, relative_bias

Size = Literal["tiny", "mini", "small", "base", "large"]
# Layers and width of the published BERT models (arXiv 1810.04805; the small ones: 1908.08962).
SIZES: dict[Size, tuple[int, int]] = {
    "tiny": (2, 128),
    "mini": (4, 256),
    "small": (4, 512),
    "base": (12, 768),
    "large": (24, 1024),
}
DropRate = Annotated[float, Range(0, 1, open_high=True)]
# The options of every encoder, with their meanings. The upper bounds are beyond any existing model: a config that asks
# for more would only fill the memory.
SizeOption = Annotated[
    Size | None, "BERT's published layers x width: 2x128, 4x256, 4x512, 12x768, 24x1024; null: your own"
]
Layers = Annotated[Annotated[int, Range(1, 1000)] | None, "blocks; null: those of the size"]
Heads = Annotated[Count | None, "attention heads; null: one for each 64 numbers"]
HeadWidth = Annotated[Count | None, "numbers in a head; null: the width divided by the heads"]
Feedforward = Annotated[Count | None, "numbers in a block's hidden layer; null: 4 times the width"]
Positions = Literal["learned", "sinusoidal", "rotary", "relative"]
PositionsOption = Annotated[Positions, "how positions are encoded; relative: T5's"]
Norm = Annotated[NormPlace, "norm before or after each part of a block"]
NormalizationOption = Annotated[Normalization, "layer norm, or T5's by the root mean square alone, without a bias"]
Biases = Annotated[bool, "whether the linear layers of blocks have a bias"]
ActivationOption = Annotated[
    Activation, "in a block's hidden layer; gelu_tanh is GPT-2's approximation; geglu and swiglu are gated"
]
Dropout = Annotated[DropRate, "share of numbers dropped after the embeddings and after each part of a block"]
AttentionDropout = Annotated[DropRate, "share of attention weights dropped; slower if above 0"]
NormEps = Annotated[Positive, "added to the variance in a norm"]
INITIAL_STD = 0.02


class Encoder(nn.Module):
    """Encoder or, if `causal`, decoder over vectors with positions: (B, T, C) -> (B, T, C).

    Sources: arXiv 1706.03762, 1810.04805; GPT-2. `tables` are the layers that make its vectors, by the names that their
    weights have. norm=post has a norm after the embeddings, as in BERT. norm=pre has a norm after the last block, and
    smaller initial weights in the layers that add to the residual stream, as in GPT-2. Without `positions` a subclass
    adds its own. Raises InputError if the sizes do not fit.
    """

    looks_at_neighbours: ClassVar[bool] = True  # of new weights with rotary positions
    cos: Tensor
    sin: Tensor

    def __init__(
        self,
        tables: Mapping[str, nn.Module | None],
        context: int,
        layers: int,
        positions: Positions | None,
        causal: bool,
        shape: BlockShape,
        block: type[Block] = Block,
    ):
        super().__init__()
        self.context, self.layers, self.positions, self.causal = context, layers, positions, causal
        self.width, self.heads, self.feedforward, self.norm = shape.width, shape.heads, shape.feedforward, shape.norm
        self.activation, self.norm_eps = shape.activation, shape.norm_eps
        self.dropout, self.attention_dropout = shape.dropout, shape.attention_dropout
        self.block_shape, self.head_width = shape, shape.head_width

        for name, table in tables.items():
            setattr(self, name, table)
        self.position_table = nn.Embedding(context, self.width) if positions == "learned" else None
        self.relative_table = nn.Embedding(BUCKETS, self.heads) if positions == "relative" else None
        self._has_causal_table = causal  # also while an encoder reads from left to right
        if positions in ("sinusoidal", "rotary"):
            angles = position_angles(context, self.width if positions == "sinusoidal" else shape.head_width)
            self.register_buffer("cos", angles.cos(), persistent=False)
            self.register_buffer("sin", angles.sin(), persistent=False)
        self.first_norm = shape.new_norm() if self.norm == "post" else None
        self.blocks = nn.ModuleList(block(shape) for _ in range(layers))
        self.last_norm = shape.new_norm() if self.norm == "pre" else None
        self._init_weights(self)
        if self.relative_table is not None:
            prefer_near_keys(self.relative_table.weight, causal)

    @property
    def shape_options(self) -> dict[str, Any]:
        """Constructor arguments of an encoder of the same shape, without those of its tables."""
        names = ("context", "layers", "width", "heads", "feedforward", "positions", "norm", "causal", "activation")
        return {name: getattr(self, name) for name in (*names, "dropout", "attention_dropout", "norm_eps")}

    def reinitialize_top(self, layers: int) -> None:
        """Reinitialize the last `layers` blocks and the norm after them (arXiv 2006.05987)."""
        for part in [*self.blocks[len(self.blocks) - layers :], *filter(None, [self.last_norm])]:
            for norm in part.modules():
                if isinstance(norm, nn.LayerNorm | nn.RMSNorm):
                    norm.reset_parameters()
            self._init_weights(part)

    def encode(
        self,
        x: Tensor,
        position: slice | Tensor,
        mask: AttentionMask,
        causal: bool,
        cache: KVCache | None = None,
        memory: Memory | None = None,
    ) -> Tensor:
        """Return hidden states (B, T, C) of embedded vectors (B, T, C).

        `position` is an index into a table. `causal` applies if `mask` is None. The vectors follow those in the cache.
        `memory` is the source that blocks with cross-attention read.
        """
        n_before = cache.length if cache else 0
        rotation, mask = self.rotation_and_mask(x, position, mask, causal, n_before)
        for layer, block in enumerate(self.blocks):
            args = (mask, causal, rotation, partial(cache.update, layer) if cache else None)
            x = block(x, *args) if memory is None else block(x, *args, memory=memory, layer=layer)
        return x if self.last_norm is None else self.last_norm(x)

    def rotation_and_mask(
        self, x: Tensor, position: slice | Tensor, mask: AttentionMask, causal: bool, n_before: int = 0
    ) -> tuple[tuple[Tensor, Tensor] | None, AttentionMask]:
        """Return what attention needs besides vectors x (B, T, C): the rotation of rotary positions, and the mask.

        With relative positions the mask is the sum of their bias and the mask's -inf. They count tokens in the row, of
        which `n_before` are in a cache, so a document has to be in one piece; `position` has no effect on them.
        """
        if self.relative_table is not None:
            return None, self._relative_mask(x, mask, causal, n_before)
        mask = as_numbers(mask, score_dtype(x))
        if self.positions != "rotary":
            return None, mask
        # Cosines and sines, (1, T, D/2) or (B, 1, T, D/2): the same for every head.
        return (self.cos[position].unsqueeze(-3), self.sin[position].unsqueeze(-3)), mask

    def _relative_mask(self, x: Tensor, mask: AttentionMask, causal: bool, n_before: int) -> Tensor:
        """Return the bias of relative positions, (B or 1, H, T, S), with -inf where a token does not see another."""
        assert self.relative_table is not None and not isinstance(mask, BlockMask), "a block mask has no bias"
        n_new, n_all = x.shape[1], n_before + x.shape[1]
        bias = relative_bias(self.relative_table.weight, n_new, n_all, self._has_causal_table)[None].to(score_dtype(x))
        if mask is None and causal:
            mask = torch.ones(n_new, n_all, dtype=torch.bool, device=x.device).tril(n_before)
        return bias if mask is None else bias + mask_to_add(mask, bias.dtype)

    def mask_of(self, document: Tensor) -> AttentionMask:
        """Return the mask of attention within documents (B, T)."""
        if self.positions == "relative":  # whose bias a block mask can't have
            same = same_document(document, document)
            return same.tril() if self.causal else same
        return document_mask(document, self.causal, self.attention_dropout if self.training else 0.0)

    @contextmanager
    def left_to_right(self) -> Iterator[None]:
        """Let a token see only those before it while it is open, as in a causal network."""
        was_causal, self.causal = self.causal, True
        try:
            yield
        finally:
            self.causal = was_causal

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

    def _init_weights(self, part: nn.Module) -> None:
        """Initialize weights from a normal distribution and other biases with 0, in the whole network or a part."""
        for module in part.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=INITIAL_STD)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        if self.looks_at_neighbours and self.positions == "rotary":
            for module in part.modules():
                if isinstance(module, Attention) and module.qkv.bias is not None:
                    module.look_at_neighbours(self.causal)
        if self.norm == "pre":
            # The sum of all blocks then starts as large as one block: GPT-2, sec. 2.3.
            for block in part.modules():
                if isinstance(block, Block):
                    outputs = block.residual_outputs()
                    for last in outputs:
                        nn.init.normal_(last.weight, std=INITIAL_STD / math.sqrt(len(outputs) * self.layers))


def layers_and_width(size: Size | None, layers: int | None, width: int | None) -> tuple[int, int]:
    """Return the blocks and the width of a size, unless they are given. Raises InputError if neither is."""
    if size is None and (layers is None or width is None):
        raise InputError("A transformer needs a size, such as mini, or both layers and width.")
    of_size = SIZES[size] if size else (0, 0)
    return layers or of_size[0], width or of_size[1]
