"""Causal language modelling: predict the next token of a text (GPT)."""

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from ssl_cli.config.types import Positive
from ssl_cli.errors import InputError
from ssl_cli.models.attention import KVCache
from ssl_cli.models.losses import IGNORE_INDEX, chunked_cross_entropy
from ssl_cli.models.transformer import Transformer

Batch = Mapping[str, Tensor]


class CausalLM(nn.Module):
    """Cross-entropy of each token given the tokens before it (GPT: Radford et al., 2018 and 2019).

    If documents are isolated, the first token of a document is not predicted from the end of another one.
    """

    reads: ClassVar[tuple[str, ...]] = ("ids",)
    is_matmul_bound: ClassVar[bool] = True
    no_decay_on_vectors: ClassVar[bool] = True
    target_offset: ClassVar[int] = 1
    split_at_documents: ClassVar[bool] = False

    def __init__(
        self,
        network: Annotated[Transformer, "a causal transformer"],
        bytes_per_token: Annotated[
            Positive | None, "mean UTF-8 bytes of a token; null if the tokenizer does not restore the text exactly"
        ],
    ):
        super().__init__()
        if not network.causal:
            raise InputError("model.network.causal must be true for this model: it predicts the next token.")
        self.network, self.bytes_per_token, self.row_length = network, bytes_per_token, network.context

    def make_inputs(self, batch: Batch) -> dict[str, Tensor]:
        """Return the inputs of `forward` for a batch of text, `ids` (B, T + 1).

        `inputs` and `targets` (B, T): the target of a token is the next one. If documents are isolated there is also
        `document` (B, T), and a target in another document than its input is IGNORE_INDEX.
        """
        inputs = {"inputs": batch["ids"][:, :-1], "targets": batch["ids"][:, 1:]}
        if "document" in batch:
            document = batch["document"]
            inputs["document"] = document[:, :-1]
            inputs["targets"] = inputs["targets"].masked_fill(document[:, 1:] != document[:, :-1], IGNORE_INDEX)
        return inputs

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss in nats per token."""
        inputs = self.make_inputs(batch)
        hidden = self.network(inputs["inputs"], document=inputs.get("document"))  # (B, T, C)
        token_table, targets = self.network.token_table.weight, inputs["targets"].flatten()
        return {"loss": chunked_cross_entropy(hidden.flatten(0, 1), token_table, None, targets)}

    def derived_metrics(self, means: Mapping[str, float]) -> dict[str, float]:
        """Return the perplexity per token; and bits per byte of text, which compare across lossless tokenizers."""
        metrics = {"perplexity": float(torch.tensor(means["loss"]).exp())}
        if self.bytes_per_token is not None:
            metrics["bits_per_byte"] = means["loss"] / math.log(2) / self.bytes_per_token
        return metrics

    def embed_text(self, batch: Batch) -> Tensor:
        """Return the mean hidden state (B, C) of texts `ids` (B, T)."""
        return self.network(batch["ids"]).mean(1)

    def next_logits(self, ids: Tensor, cache: KVCache | None = None) -> Tensor:
        """Return logits (B, V) of the token that follows ids (B, T), which continue the tokens in `cache` if given."""
        return self.network.logits(self.network(ids, cache=cache)[:, -1])
