"""Transformer over token ids: BERT, RoBERTa and GPT-2 are configurations of this one network."""

from typing import Annotated, Any

from torch import Tensor, nn
from torch.nn import functional

from ssl_cli.config.types import Count, Natural, Range
from ssl_cli.errors import InputError
from ssl_cli.models.attention import AttentionMask, KVCache
from ssl_cli.models.blocks import block_shape
from ssl_cli.models.encoder import (
    ActivationOption,
    AttentionDropout,
    Biases,
    Dropout,
    Encoder,
    Feedforward,
    Heads,
    HeadWidth,
    Layers,
    Norm,
    NormalizationOption,
    NormEps,
    PositionsOption,
    SizeOption,
    layers_and_width,
)
from ssl_cli.models.positions import document_positions


class Transformer(Encoder):
    """Transformer from token ids to a vector per token: an encoder or, if `causal`, a decoder.

    `size` sets layers and width; `layers` and `width` override it. Raises InputError if the sizes do not fit.
    """

    token_table: nn.Embedding
    segment_table: nn.Embedding | None

    def __init__(
        self,
        vocab_size: Annotated[int, Range(1, 1_000_000), "tokens in the vocabulary"],
        context: Annotated[int, Range(8, 131_072), "tokens it can read at once"],
        size: SizeOption = None,
        layers: Layers = None,
        width: Annotated[Count | None, "numbers in a token's vector; null: those of the size"] = None,
        heads: Heads = None,
        feedforward: Feedforward = None,
        positions: PositionsOption = "learned",
        norm: Norm = "post",
        causal: Annotated[bool, "true: a token does not see those after it"] = False,
        segments: Annotated[Natural, "kinds of segment a token can belong to; 0: none"] = 0,
        activation: ActivationOption = "gelu",
        dropout: Dropout = 0.1,
        attention_dropout: AttentionDropout = 0.0,
        norm_eps: NormEps = 1e-12,
        head_width: HeadWidth = None,
        normalization: NormalizationOption = "layer",
        biases: Biases = True,
    ):
        layers, width = layers_and_width(size, layers, width)
        rest: dict[str, Any] = {"norm": norm, "norm_eps": norm_eps, "activation": activation}
        rest |= {"dropout": dropout, "attention_dropout": attention_dropout}
        shape = block_shape(width, heads, feedforward, positions, head_width, normalization, biases, **rest)
        tables = {
            "token_table": nn.Embedding(vocab_size, width),
            "segment_table": nn.Embedding(segments, width) if segments else None,
        }
        super().__init__(tables, context, layers, positions, causal, shape)
        self.vocab_size, self.segments = vocab_size, segments
        self.normalization, self.biases = normalization, biases

    @property
    def options(self) -> dict[str, Any]:
        """Constructor arguments of a network of the same shape."""
        names = ("segments", "head_width", "normalization", "biases")
        return {"vocab_size": self.vocab_size, **self.shape_options, **{name: getattr(self, name) for name in names}}

    def forward(
        self,
        ids: Tensor,
        segment: Tensor | None = None,
        document: Tensor | None = None,
        cache: KVCache | None = None,
        vectors: Tensor | None = None,
    ) -> Tensor:
        """Return hidden states (B, T, C) of token ids (B, T).

        `segment` (B, T) defaults to 0. With `document` (B, T), a token sees only its own document, and positions
        restart in each. With a `cache`, `ids` are the next tokens of rows whose earlier tokens it holds. `vectors`
        (B, T, C) are in place of the tokens' embeddings.
        Raises InputError if there are more tokens than the context or the cache has room for.
        """
        position, mask = self._positions_and_mask(ids, document, cache)
        x = self._embed(ids, segment, position, vectors)
        hidden = self.encode(x, position, mask, self.causal and (cache is None or cache.length == 0), cache)
        if cache is not None:
            cache.length += ids.shape[1]
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """Return logits (..., V) of hidden states (..., C), by the tied token embeddings (arXiv 1608.05859)."""
        return functional.linear(hidden, self.token_table.weight)

    def new_cache(self, rows: int, capacity: int | None = None, left_padding: Tensor | None = None) -> KVCache:
        """Return an empty cache for rows of `capacity` tokens each, by default the context.

        `left_padding` (B,): see KVCache.
        """
        assert self.causal, "only a causal model can be read token by token"
        weight = self.token_table.weight
        shape = (self.layers, rows, self.heads, capacity or self.context, self.head_width)
        return KVCache.empty(shape, weight, left_padding)

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
        return document_positions(document), self.mask_of(document)

    def _embed(self, ids: Tensor, segment: Tensor | None, position: slice | Tensor, vectors: Tensor | None) -> Tensor:
        """Return the embeddings of tokens, positions and segments: (B, T) -> (B, T, C)."""
        x = self.add_positions(self.token_table(ids) if vectors is None else vectors, position)
        if self.segment_table is not None:
            x = x + (self.segment_table.weight[0] if segment is None else self.segment_table(segment))
        return self.normalize_and_drop(x)


def check_length(length: int, max_length: int) -> None:
    """Raise InputError if there are more tokens than the model can read."""
    if length > max_length:
        raise InputError(f"{length:,} tokens are more than the model's context of {max_length:,}: shorten the text.")
