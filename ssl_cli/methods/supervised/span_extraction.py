"""Span extraction: predict the start and the end of a question's answer in a passage."""

from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional

from ssl_cli.methods.supervised.head import Batch, SupervisedHead, linear_in_float32, new_linear
from ssl_cli.models.encoder import DropRate
from ssl_cli.models.losses import IGNORE_INDEX
from ssl_cli.models.transformer import Transformer


class SpanExtractionHead(SupervisedHead):
    """Two vectors score each token as the answer's first and last one (arXiv 1810.04805, sec. 4.2).

    A sequence is a question with a window of the passage. The softmax is over its tokens that are `allowed` (R, L):
    those of the passage, and the one that stands for no answer. Targets are `start` and `end` (B,), tokens of the
    sequence. The loss is the mean of the two cross-entropies; sequences with a target of IGNORE_INDEX don't count.
    """

    reads = ("ids", "document", "begin", "length", "allowed")

    def __init__(
        self,
        network: Annotated[Transformer, "the transformer that encodes the text"],
        dropout: Annotated[DropRate, "dropout of the head's inputs"] = 0.1,
    ):
        super().__init__(network, dropout)
        self.decide = new_linear(network.width, 2)

    def logits(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Return start and end scores (R * L, 2) of all tokens, given hidden states (R * L, C)."""
        return linear_in_float32(self.decide, hidden)

    def losses(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return the mean of the start and end losses, and both of them, given scores (R * L, 2)."""
        by_sequence = _by_sequence(logits, batch)
        start = _cross_entropy(by_sequence[:, 0], batch["start"])
        end = _cross_entropy(by_sequence[:, 1], batch["end"])
        return {"loss": (start + end) / 2, "start_loss": start.detach(), "end_loss": end.detach()}

    def raw_predictions(self, logits: Tensor, batch: Batch) -> list[Tensor]:
        """Return the scores (2, length) of each sequence, minus infinity where the answer can't be."""
        by_sequence = _by_sequence(logits, batch)
        return [scores[:, :length] for scores, length in zip(by_sequence, batch["length"].tolist(), strict=True)]


def _by_sequence(logits: Tensor, batch: Batch) -> Tensor:
    """Return scores (R * L, 2) as (S, 2, L): those of each sequence from its first token on."""
    row_length = batch["ids"].shape[1]
    place = torch.arange(row_length, device=logits.device)
    at = (batch["begin"][:, None] + place).clamp(max=len(logits) - 1)  # (S, L)
    allowed = (batch["allowed"].flatten()[at] > 0) & (place < batch["length"][:, None])
    return logits[at].masked_fill(~allowed[:, :, None], -torch.inf).transpose(1, 2)


def _cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Return the mean over the sequences that have a target, 0 if none has."""
    total = functional.cross_entropy(logits, target.long(), ignore_index=IGNORE_INDEX, reduction="sum")
    return total / (target != IGNORE_INDEX).sum().clamp(min=1)
