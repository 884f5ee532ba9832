"""Encoder-decoder over token ids: BART, MASS and T5 are configurations of this one network."""

from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_cli.config.types import Count, Range
from ssl_cli.models.attention import AttentionMask, KVCache, as_numbers, same_document, score_dtype
from ssl_cli.models.blocks import BlockShape, DecoderBlock
from ssl_cli.models.cross_attention import CrossAttention, KeysAndValues, Memory, Seq2SeqCache, open_empty_rows
from ssl_cli.models.encoder import (
    INITIAL_STD,
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
    Positions,
    PositionsOption,
    SizeOption,
    layers_and_width,
)
from ssl_cli.models.positions import document_positions
from ssl_cli.models.transformer import Transformer, check_length

PADDING = -1  # the document of padding in a source: nothing else sees it


class Decoder(Encoder):
    """Causal blocks that also read a source by cross-attention: embedded tokens (B, T, C) -> (B, T, C)."""

    def __init__(self, context: int, layers: int, positions: Positions, shape: BlockShape):
        super().__init__({}, context, layers, positions, True, shape, DecoderBlock)

    def _init_weights(self, part: nn.Module) -> None:
        super()._init_weights(part)
        for module in part.modules():
            if isinstance(module, CrossAttention):
                module.look_for_same_token()

    def keys_and_values(self, memory: Tensor) -> list[KeysAndValues]:
        """Return each block's keys and values of an encoded source (B, S, C)."""
        blocks = [block for block in self.blocks if isinstance(block, DecoderBlock)]
        return [block.cross_attention.keys_and_values(memory) for block in blocks]

    def new_cache(self, rows: int, capacity: int, like: Tensor) -> KVCache:
        """Return an empty cache of the decoder's own tokens, in the data type and on the device of a tensor."""
        return KVCache.empty((self.layers, rows, self.heads, capacity, self.head_width), like)


class EncoderDecoder(nn.Module):
    """Encoder that reads a source, and decoder that writes a target: ids (B, S) and (B, T) -> (B, T, C).

    Sources: arXiv 1706.03762, 1910.13461 (BART), 1910.10683 (T5). The encoder holds the token table of both. `size`
    sets layers and width; `layers` and `width` override it. Raises InputError if the sizes do not fit.

    Documents are whole numbers by position. A token sees its own document only, and a target's those of the same
    number in the source. Padding of a source has the document -1; padding of a target stands at its end, where no
    other token sees it.
    """

    causal: ClassVar[bool] = False
    segments: ClassVar[int] = 0

    def __init__(
        self,
        vocab_size: Annotated[int, Range(1, 1_000_000), "tokens in the vocabulary"],
        context: Annotated[int, Range(8, 131_072), "tokens that encoder and decoder can each read at once"],
        size: SizeOption = None,
        layers: Layers = None,
        decoder_layers: Annotated[Layers, "blocks of the decoder; null: as many as the encoder has"] = None,
        width: Annotated[Count | None, "numbers in a token's vector; null: those of the size"] = None,
        heads: Heads = None,
        head_width: HeadWidth = None,
        feedforward: Feedforward = None,
        positions: PositionsOption = "learned",
        norm: Norm = "post",
        normalization: NormalizationOption = "layer",
        biases: Biases = True,
        activation: ActivationOption = "gelu",
        dropout: Dropout = 0.1,
        attention_dropout: AttentionDropout = 0.0,
        norm_eps: NormEps = 1e-5,
        tied_output: Annotated[bool, "whether the token embeddings are the output matrix"] = True,
    ):
        super().__init__()
        layers, width = layers_and_width(size, layers, width)
        shape: dict[str, Any] = {"layers": layers, "width": width, "heads": heads, "head_width": head_width}
        shape |= {"feedforward": feedforward, "positions": positions, "biases": biases, "activation": activation}
        shape |= {"norm": norm, "normalization": normalization, "norm_eps": norm_eps}
        shape |= {"dropout": dropout, "attention_dropout": attention_dropout}
        self.encoder = encoder = Transformer(vocab_size, context, **shape)
        self.decoder = Decoder(context, decoder_layers or layers, positions, encoder.block_shape)
        self.output = None if tied_output else nn.Linear(width, vocab_size, bias=False)
        if self.output is not None:
            nn.init.normal_(self.output.weight, std=INITIAL_STD)

        self.vocab_size, self.context, self.positions = vocab_size, context, positions
        self.layers, self.decoder_layers = layers, self.decoder.layers
        self.width, self.heads, self.head_width = width, encoder.heads, encoder.head_width
        self.feedforward, self.activation, self.biases = encoder.feedforward, activation, biases
        self.norm, self.normalization, self.norm_eps = norm, normalization, norm_eps
        self.dropout, self.attention_dropout, self.tied_output = dropout, attention_dropout, tied_output

    # --- shape ---

    @property
    def options(self) -> dict[str, Any]:
        """Constructor arguments of a network of the same shape."""
        shape = {name: value for name, value in self.encoder_options.items() if name not in ("causal", "segments")}
        return shape | {"decoder_layers": self.decoder_layers, "tied_output": self.tied_output}

    @property
    def encoder_options(self) -> dict[str, Any]:
        """Constructor arguments of a Transformer that is the encoder alone."""
        return self.encoder.options

    @property
    def token_table(self) -> nn.Embedding:
        """The embeddings of tokens, shared by encoder and decoder."""
        return self.encoder.token_table

    @property
    def output_weight(self) -> Tensor:
        """The output matrix (V, C), for a cross-entropy in chunks."""
        return self.token_table.weight if self.output is None else self.output.weight

    # --- from ids to hidden states and logits ---

    def forward(
        self,
        source: Tensor,
        ids: Tensor,
        source_document: Tensor | None = None,
        document: Tensor | None = None,
        position: Tensor | None = None,
    ) -> Tensor:
        """Return the decoder's hidden states (B, T, C) for sources (B, S) and its own tokens (B, T)."""
        memory = self.encode(source, source_document)
        return self.decode(ids, memory, document, source_document, position)

    def encode(self, source: Tensor, document: Tensor | None = None, vectors: Tensor | None = None) -> Tensor:
        """Return what the decoder reads of sources (B, S): (B, S, C). `vectors`: see `Transformer`."""
        return self.encoder(source, document=document, vectors=vectors)

    def decode(
        self,
        ids: Tensor,
        memory: Tensor | None,
        document: Tensor | None = None,
        memory_document: Tensor | None = None,
        position: Tensor | None = None,
        cache: Seq2SeqCache | None = None,
    ) -> Tensor:
        """Return hidden states (B, T, C) of a target's tokens (B, T) that read an encoded source (B, S, C).

        Without documents (B, T) of the tokens, each row is one, which sees the whole source but its padding. `position`
        (B, T) is in place of the usual position in the document; relative ones count tokens in any case. With a
        `cache`, `ids` are the next tokens of its rows, and the source is the one it was made for.
        Raises InputError if there are more tokens than the context or the cache has room for.
        """
        n_before, n_new = (cache.length if cache else 0), ids.shape[1]
        check_length(n_before + n_new, min(self.context, cache.own.capacity) if cache else self.context)
        index: slice | Tensor = slice(0, n_new)
        mask: AttentionMask = None
        if cache is not None:
            assert document is None, "a cache holds one document per row"
            index, mask, source = cache.own.positions(n_new), cache.own.mask(n_new), cache.memory
        else:
            assert memory is not None, "without a cache there must be a source"
            source = self._memory(memory, document, memory_document)
            if document is not None:
                index, mask = document_positions(document), self.decoder.mask_of(document)
        index = index if position is None else position
        x = self.decoder.normalize_and_drop(self.decoder.add_positions(self.token_table(ids), index))
        hidden = self.decoder.encode(x, index, mask, n_before == 0, cache.own if cache else None, source)
        if cache is not None:
            cache.own.length += n_new
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """Return logits (..., V) of hidden states (..., C)."""
        return functional.linear(hidden, self.token_table.weight) if self.output is None else self.output(hidden)

    def new_cache(self, memory: Tensor, memory_document: Tensor | None, capacity: int) -> Seq2SeqCache:
        """Return a cache for targets of up to `capacity` tokens, one for each row of an encoded source (B, S, C)."""
        source = self._memory(memory, None, memory_document)
        pairs = self.decoder.keys_and_values(memory)
        stored = [(k.contiguous(), v.contiguous()) for k, v in pairs]  # a product would copy them at each step
        own = self.decoder.new_cache(len(memory), capacity, self.token_table.weight)
        source_row = torch.arange(len(memory), device=memory.device)
        return Seq2SeqCache(own, Memory(None, source.mask, source.sees_any, stored), source_row)

    def _memory(self, memory: Tensor, document: Tensor | None, memory_document: Tensor | None) -> Memory:
        """Return an encoded source (B, S, C) and which of it tokens of these documents (B, T) see."""
        if memory_document is None:
            return Memory(memory)
        if document is None:
            mask = (memory_document != PADDING)[:, None, None, :]  # (B, 1, 1, S)
        else:
            mask = same_document(document, memory_document)  # (B, 1, T, S)
        mask, sees_any = open_empty_rows(mask)
        return Memory(memory, as_numbers(mask, score_dtype(memory)), sees_any)
