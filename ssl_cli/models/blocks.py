"""Blocks of a transformer: attention and a feedforward network, with their norms and residual connections."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn import functional

from ssl_cli.errors import InputError
from ssl_cli.models.attention import Attention
from ssl_cli.models.cross_attention import CrossAttention, Memory

HEAD_WIDTH = 64  # features per head
gelu_tanh = partial(functional.gelu, approximate="tanh")
Activation = Literal["gelu", "gelu_tanh", "relu", "geglu", "swiglu"]
# The gated ones multiply a second linear map of the input (arXiv 2002.05202).
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": functional.gelu,
    "gelu_tanh": gelu_tanh,
    "relu": functional.relu,
    "geglu": gelu_tanh,
    "swiglu": functional.silu,
}
GATED = ("geglu", "swiglu")
NormPlace = Literal["pre", "post"]
Normalization = Literal["layer", "rms"]


@dataclass(frozen=True)
class BlockShape:
    """Options of a block, which are those of its encoder; `feedforward` is the width of the hidden layer."""

    width: int
    heads: int
    head_width: int
    feedforward: int
    norm: NormPlace
    normalization: Normalization
    biases: bool
    activation: Activation
    dropout: float
    attention_dropout: float
    norm_eps: float

    def new_norm(self) -> nn.Module:
        """Return a norm over the width: with mean and bias, or by the root mean square alone (arXiv 1910.07467)."""
        if self.normalization == "layer":
            return nn.LayerNorm(self.width, self.norm_eps)
        return nn.RMSNorm(self.width, self.norm_eps)


def block_shape(
    width: int,
    heads: int | None,
    feedforward: int | None,
    positions: str,
    head_width: int | None = None,
    normalization: Normalization = "layer",
    biases: bool = True,
    **rest: Any,
) -> BlockShape:
    """Return a shape with the usual numbers for those that are None. Raises InputError if they do not fit."""
    heads = heads or max(1, width // HEAD_WIDTH)
    check_head_sizes(width, heads, positions, head_width)
    sizes = (width, heads, head_width or width // heads, feedforward or 4 * width)
    return BlockShape(*sizes, normalization=normalization, biases=biases, **rest)


def check_head_sizes(width: int, heads: int, positions: str, head_width: int | None = None) -> None:
    """Raise InputError if the width is no multiple of the heads, or a head has an odd size with rotary positions.

    With a `head_width` of their own the heads need not divide the width.
    """
    if head_width is None and width % heads:
        raise InputError(f"A width of {width} can't be split into {heads} heads: it must be a multiple of {heads}.")
    if positions == "rotary" and (head_width or width // heads) % 2:
        makes = f"head_width={head_width}" if head_width else f"a width of {width} in {heads} heads"
        raise InputError(
            f"Rotary positions need an even number of features in each head: {makes} makes "
            f"{head_width or width // heads}."
        )


class Block(nn.Module):
    """Transformer block: attention, then a feedforward network on each token, (B, T, C) -> (B, T, C).

    Both have a residual connection. norm=post normalizes the sums (arXiv 1706.03762), norm=pre the input of each part
    (GPT-2).
    """

    def __init__(self, shape: BlockShape):
        super().__init__()
        self.is_pre, self.dropout = shape.norm == "pre", shape.dropout
        self.activation, self.is_gated = ACTIVATIONS[shape.activation], shape.activation in GATED
        attention = (shape.width, shape.heads, shape.attention_dropout, shape.head_width, shape.biases)
        self.attention_norm = shape.new_norm()
        self.attention = Attention(*attention)
        self._add_parts(shape, attention)
        self.feedforward_norm = shape.new_norm()
        n_up = shape.feedforward * (2 if self.is_gated else 1)
        self.up = nn.Linear(shape.width, n_up, shape.biases)
        self.down = nn.Linear(shape.feedforward, shape.width, shape.biases)

    def _add_parts(self, shape: BlockShape, attention: tuple[Any, ...]) -> None:
        """Add what stands between attention and the feedforward network: nothing."""

    def forward(self, x: Tensor, *attention_args: Any) -> Tensor:
        """Return the block's output; `attention_args` are the arguments of Attention besides x."""
        x = self._residual(x, self.attention_norm, self.attention, *attention_args)
        return self._residual(x, self.feedforward_norm, self._feedforward)

    def residual_outputs(self) -> list[nn.Linear]:
        """Return the layers whose outputs are added to the residual stream."""
        return [self.attention.out, self.down]

    def _residual(self, x: Tensor, norm: nn.Module, part: Callable[..., Tensor], *args: Any) -> Tensor:
        if self.is_pre:
            return x + self._drop(part(norm(x), *args))
        return norm(x + self._drop(part(x, *args)))

    def _feedforward(self, x: Tensor) -> Tensor:
        hidden = self.up(x)
        if self.is_gated:
            gate, values = hidden.chunk(2, dim=-1)
            return self.down(self.activation(gate) * values)
        return self.down(self.activation(hidden))

    def _drop(self, x: Tensor) -> Tensor:
        return functional.dropout(x, self.dropout, self.training) if self.dropout else x


class DecoderBlock(Block):
    """Block of a decoder that reads a source: cross-attention stands between its two parts (arXiv 1706.03762)."""

    def _add_parts(self, shape: BlockShape, attention: tuple[Any, ...]) -> None:
        self.cross_norm = shape.new_norm()
        self.cross_attention = CrossAttention(*attention)

    def forward(self, x: Tensor, *attention_args: Any, memory: Memory | None = None, layer: int = 0) -> Tensor:
        """Return the output of the block, the `layer`-th of its decoder, which reads the `memory`."""
        assert memory is not None, "this block reads a source"
        x = self._residual(x, self.attention_norm, self.attention, *attention_args)
        x = self._residual(x, self.cross_norm, self.cross_attention, memory, layer)
        return self._residual(x, self.feedforward_norm, self._feedforward)

    def residual_outputs(self) -> list[nn.Linear]:
        """Return the layers whose outputs are added to the residual stream."""
        return [*super().residual_outputs(), self.cross_attention.out]
