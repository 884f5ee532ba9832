"""The transformer: BERT, RoBERTa and GPT-2 are settings of this one network."""

import math
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_cli.config.types import Count, Natural, Positive, Range
from ssl_cli.errors import InputError
from ssl_cli.models.attention import Attention, Cache, Sight, within_documents
from ssl_cli.models.positions import angles, looked_up, positions_within

Size = Literal["tiny", "mini", "small", "base", "large"]
# Layers and width, as BERT was published (arXiv 1810.04805; the small ones: 1908.08962); 64 numbers a head.
SIZES: dict[Size, tuple[int, int]] = {
    "tiny": (2, 128),
    "mini": (4, 256),
    "small": (4, 512),
    "base": (12, 768),
    "large": (24, 1024),
}
HEAD_WIDTH = 64
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": functional.gelu,
    "gelu_tanh": partial(functional.gelu, approximate="tanh"),
    "relu": functional.relu,
}
Activation = Literal["gelu", "gelu_tanh", "relu"]
Drop = Annotated[float, Range(0, 1, open_high=True)]
INITIAL_STD = 0.02


class Block(nn.Module):
    """Attention, then two layers at each token by itself; each adds to what it was given: (B, T, C) -> (B, T, C)

    norm=post normalises the sums (arXiv 1706.03762), norm=pre what each part is given (GPT-2).
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

    def forward(self, x: Tensor, *how: Any) -> Tensor:
        """`how`: what Attention takes besides x"""
        if self.is_pre:
            x = x + self._drop(self.attention(self.attention_norm(x), *how))
            return x + self._drop(self._think(self.feedforward_norm(x)))
        x = self.attention_norm(x + self._drop(self.attention(x, *how)))
        return self.feedforward_norm(x + self._drop(self._think(x)))

    def _think(self, x: Tensor) -> Tensor:
        return self.down(self.activation(self.up(x)))

    def _drop(self, x: Tensor) -> Tensor:
        return functional.dropout(x, self.dropout, self.training) if self.dropout else x


class Transformer(nn.Module):
    """Tokens to a vector each, as an encoder or, if `causal`, a decoder (arXiv 1706.03762, 1810.04805; GPT-2).

    `size` stands for layers and width, which override it where given. norm=post has a norm after the embeddings, as
    BERT does; norm=pre one after the last block, and smaller weights at first where blocks add to their input, as
    GPT-2 does. Raises InputError where the sizes don't fit each other.
    """

    cos: Tensor
    sin: Tensor

    def __init__(
        self,
        vocab_size: Annotated[Count, "tokens in the vocabulary"],
        context: Annotated[Count, "tokens that it reads at most"],
        size: Annotated[Size | None, "BERT's published layers x width: 2x128, 4x256, 4x512, 12x768, 24x1024"] = None,
        layers: Annotated[Count | None, "blocks; null: those of the size"] = None,
        width: Annotated[Count | None, "numbers that stand for a token; null: those of the size"] = None,
        heads: Annotated[Count | None, "of attention; null: one for each 64 numbers"] = None,
        feedforward: Annotated[Count | None, "numbers within a block; null: 4 times the width"] = None,
        positions: Annotated[Literal["learned", "sinusoidal", "rotary"], "how it is told a token's place"] = "learned",
        norm: Annotated[Literal["pre", "post"], "before each part of a block, or after it"] = "post",
        causal: Annotated[bool, "true: a token sees none after it"] = False,
        segments: Annotated[Natural, "kinds of segment that tokens belong to; 0: none"] = 0,
        activation: Annotated[Activation, "within a block; gelu_tanh is GPT-2's approximation"] = "gelu",
        dropout: Annotated[Drop, "share of numbers dropped after the embeddings and each part of a block"] = 0.1,
        attention_dropout: Annotated[Drop, "share of attention dropped; above 0 it is slower"] = 0.0,
        norm_eps: Annotated[Positive, "added to the variance in a norm"] = 1e-12,
    ):
        super().__init__()
        layers, width = _sizes(size, layers, width)
        heads = heads or max(1, width // HEAD_WIDTH)
        refuse_misfits(width, heads, positions)
        self.vocab_size, self.context, self.width, self.heads = vocab_size, context, width, heads
        self.layers, self.feedforward = layers, feedforward or 4 * width
        self.causal, self.positions, self.norm, self.segments = causal, positions, norm, segments
        self.activation, self.norm_eps = activation, norm_eps
        self.dropout, self.attention_dropout = dropout, attention_dropout

        self.token_table = nn.Embedding(vocab_size, width)
        self.segment_table = nn.Embedding(segments, width) if segments else None
        self.position_table = nn.Embedding(context, width) if positions == "learned" else None
        if positions != "learned":
            turns = angles(context, width if positions == "sinusoidal" else width // heads)
            self.register_buffer("cos", turns.cos(), persistent=False)
            self.register_buffer("sin", turns.sin(), persistent=False)
        self.first_norm = nn.LayerNorm(width, norm_eps) if norm == "post" else None
        shape = (width, heads, self.feedforward, norm, activation, dropout, attention_dropout, norm_eps)
        self.blocks = nn.ModuleList(Block(*shape) for _ in range(layers))
        self.last_norm = nn.LayerNorm(width, norm_eps) if norm == "pre" else None
        self._start(self)

    @property
    def options(self) -> dict[str, Any]:
        """The arguments that make a network of its shape."""
        names = ("vocab_size", "context", "layers", "width", "heads", "feedforward", "positions", "norm", "causal")
        further = ("segments", "activation", "dropout", "attention_dropout", "norm_eps")
        return {name: getattr(self, name) for name in (*names, *further)}

    def restart(self, layers: int) -> None:
        """Give so many blocks at the top, and the norm after them, the weights of a new network (arXiv 2006.05987)."""
        for part in [*self.blocks[len(self.blocks) - layers :], *filter(None, [self.last_norm])]:
            for norm in part.modules():
                if isinstance(norm, nn.LayerNorm):
                    norm.reset_parameters()
            self._start(part)

    def forward(
        self, ids: Tensor, segment: Tensor | None = None, document: Tensor | None = None, cache: Cache | None = None
    ) -> Tensor:
        """Token ids (B, T) -> (B, T, C).

        `segment` (B, T), 0 where not given. `document` (B, T): a token sees its own document only, and positions start
        anew in each. With a `cache` these are the next tokens of rows whose earlier ones it holds.
        Raises InputError where there are more tokens than the context or the cache has room for.
        """
        place, sight = self._surroundings(ids, document, cache)
        x = self._embedded(ids, segment, place)
        turn = self._turn(place) if self.positions == "rotary" else None
        causal = self.causal and (cache is None or cache.length == 0)
        for layer, block in enumerate(self.blocks):
            x = block(x, sight, causal, turn, partial(cache.remember, layer) if cache else None)
        if cache is not None:
            cache.length += ids.shape[1]
        return x if self.last_norm is None else self.last_norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., C) -> (..., V), by the table of tokens: the output is tied to the input (arXiv 1608.05859)."""
        return functional.linear(hidden, self.token_table.weight)

    def cache(self, rows: int, capacity: int | None = None, start: Tensor | None = None) -> Cache:
        """Room for `capacity` tokens (the context, where None) of so many rows. `start` (B,): see Cache."""
        assert self.causal, "only a causal model can be read token by token"
        weight = self.token_table.weight
        shape = (self.layers, rows, self.heads, capacity or self.context, self.width // self.heads)
        keys, values = (torch.empty(shape, dtype=weight.dtype, device=weight.device) for _ in range(2))
        return Cache(keys, values, start)

    # --- where tokens stand, and what they see ---

    def _surroundings(self, ids: Tensor, document: Tensor | None, cache: Cache | None) -> tuple[slice | Tensor, Sight]:
        """The tokens' positions, as an index into a table of them; and what they see."""
        length = ids.shape[1]
        if cache is not None:
            assert document is None, "a cache holds one document a row"
            refuse_longer(cache.length + length, min(self.context, cache.capacity))
            return cache.place(length), cache.sight(length)
        refuse_longer(length, self.context)
        if document is None:
            return slice(0, length), None
        dropout = self.attention_dropout if self.training else 0.0
        return positions_within(document), within_documents(document, self.causal, dropout)

    def _embedded(self, ids: Tensor, segment: Tensor | None, place: slice | Tensor) -> Tensor:
        """(B, T) -> (B, T, C)"""
        x = self.token_table(ids)
        if self.position_table is not None:
            x = x + looked_up(self.position_table.weight, place)
        elif self.positions == "sinusoidal":
            waves = torch.cat([self.sin, self.cos], dim=1)[:, : self.width]
            x = x * math.sqrt(self.width) + looked_up(waves, place)  # the scale: arXiv 1706.03762, sec. 3.4
        if self.segment_table is not None:
            x = x + (self.segment_table.weight[0] if segment is None else self.segment_table(segment))
        if self.first_norm is not None:
            x = self.first_norm(x)
        return functional.dropout(x, self.dropout, self.training) if self.dropout else x

    def _turn(self, place: slice | Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines, (1, T, D/2) or (B, 1, T, D/2): the same for every head"""
        return self.cos[place].unsqueeze(-3), self.sin[place].unsqueeze(-3)

    # --- before training ---

    def _start(self, part: nn.Module) -> None:
        """Weights from a normal distribution, biases 0; of all, or of a part."""
        for module in part.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=INITIAL_STD)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
        if self.norm == "pre":
            # So that the sum of all blocks starts as large as one of them: GPT-2, sec. 2.3.
            for block in part.modules():
                if isinstance(block, Block):
                    for last in (block.attention.out, block.down):
                        nn.init.normal_(last.weight, std=INITIAL_STD / math.sqrt(2 * self.layers))


def refuse_longer(length: int, most: int) -> None:
    """Raise InputError where there are more tokens than a model can read."""
    if length > most:
        raise InputError(f"{length:,} tokens are more than the model's context of {most:,}: shorten the text.")


def _sizes(size: Size | None, layers: int | None, width: int | None) -> tuple[int, int]:
    if size is None and (layers is None or width is None):
        raise InputError("A transformer needs model.size, such as mini, or both layers and width.")
    of_size = SIZES[size] if size else (0, 0)
    return layers or of_size[0], width or of_size[1]


def refuse_misfits(width: int, heads: int, positions: str) -> None:
    """Raises InputError where so many heads can't share the width, or can't be turned."""
    if width % heads:
        raise InputError(f"A width of {width} can't be shared by {heads} heads: it must be a multiple of them.")
    if positions == "rotary" and (width // heads) % 2:
        raise InputError(f"Rotary positions turn pairs: {width} numbers in {heads} heads are odd in each.")
