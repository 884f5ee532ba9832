"""Guess the next token of a text: GPT."""

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from ssl_cli.config.types import Positive
from ssl_cli.methods.language import network_options as network
from ssl_cli.models.attention import Cache
from ssl_cli.models.losses import IGNORED, chunked_cross_entropy
from ssl_cli.models.transformer import Transformer

Batch = Mapping[str, Tensor]


class CausalLM(nn.Module):
    """Cross-entropy of each token given those before it (Radford et al., 2018 and 2019).

    Where documents are kept apart, the first token of one isn't guessed from the end of another.
    """

    reads: ClassVar[tuple[str, ...]] = ("ids",)
    is_matmul_bound: ClassVar[bool] = True
    no_decay_on_vectors: ClassVar[bool] = True
    target_offset: ClassVar[int] = 1
    split_at_documents: ClassVar[bool] = False

    def __init__(
        self,
        vocab_size: network.Vocabulary,
        bytes_per_token: Annotated[
            Positive | None, "of the text in UTF-8, on average; null where its tokens don't give it back as it was"
        ],
        size: network.Size = "mini",
        context: network.Context = 128,
        positions: network.Positions = "rotary",
        norm: network.Norm = "pre",
        layers: network.Layers = None,
        width: network.Width = None,
        heads: network.Heads = None,
        feedforward: network.Feedforward = None,
        activation: network.Activation = "gelu_tanh",
        dropout: network.Dropout = 0.0,
        attention_dropout: network.AttentionDropout = 0.0,
        norm_eps: network.NormEps = 1e-5,
    ):
        super().__init__()
        self.network = Transformer(
            vocab_size, context, size=size, layers=layers, width=width, heads=heads, feedforward=feedforward,
            positions=positions, norm=norm, causal=True, segments=0, activation=activation, dropout=dropout,
            attention_dropout=attention_dropout, norm_eps=norm_eps,
        )  # fmt: skip
        self.bytes_per_token, self.row_length = bytes_per_token, context

    def make_inputs(self, batch: Batch) -> dict[str, Tensor]:
        """A batch of text, `ids` (B, T + 1), as forward takes it: `inputs` and `targets` (B, T), each token's next one.

        Where documents are kept apart also `document` (B, T); a target in another document than its input is IGNORED.
        """
        given = {"inputs": batch["ids"][:, :-1], "targets": batch["ids"][:, 1:]}
        if "document" in batch:
            document = batch["document"]
            given["document"] = document[:, :-1]
            given["targets"] = given["targets"].masked_fill(document[:, 1:] != document[:, :-1], IGNORED)
        return given

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """loss a token, in nats"""
        given = self.make_inputs(batch)
        hidden = self.network(given["inputs"], document=given.get("document"))  # (B, T, C)
        table, targets = self.network.token_table.weight, given["targets"].flatten()
        return {"loss": chunked_cross_entropy(hidden.flatten(0, 1), table, None, targets)}

    def derived_metrics(self, means: Mapping[str, float]) -> dict[str, float]:
        """Perplexity a token; and bits a byte of text, which compare across tokenizers that lose nothing of it"""
        found = {"perplexity": float(torch.tensor(means["loss"]).exp())}
        if self.bytes_per_token is not None:
            found["bits_per_byte"] = means["loss"] / math.log(2) / self.bytes_per_token
        return found

    def next_logits(self, ids: Tensor, cache: Cache | None = None) -> Tensor:
        """Token ids (B, T), or the next ones of the rows in a `cache` -> (B, V), of the token after the last"""
        return self.network.logits(self.network(ids, cache=cache)[:, -1])
