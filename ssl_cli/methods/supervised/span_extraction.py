"""Find the answer to a question in a passage: where it starts, and where it ends."""

from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional

from ssl_cli.methods.supervised.head import Batch, SupervisedHead, fresh, precisely
from ssl_cli.models.losses import IGNORED
from ssl_cli.models.transformer import Drop, Transformer


class SpanExtractionHead(SupervisedHead):
    """Two vectors score each token as the answer's first and as its last one (arXiv 1810.04805, sec. 4.2).

    A sequence is a question with a part of the passage; the softmax goes over its tokens that are `allowed` (R, L):
    the passage's, and the one that stands for no answer. Targets are `start` and `end` (B,), tokens of the sequence.
    The loss is the mean of both cross-entropies; sequences whose targets are ignored (-100) have no part in it.
    """

    reads = ("ids", "document", "begin", "length", "allowed")

    def __init__(
        self,
        network: Annotated[Transformer, "what reads the text"],
        dropout: Annotated[Drop, "share of what is read that is dropped before it is judged"] = 0.1,
    ):
        super().__init__(network, dropout)
        self.decide = fresh(network.width, 2)

    def logits(self, hidden: Tensor, batch: Batch) -> Tensor:
        """(R * L, 2)"""
        return precisely(self.decide, hidden)

    def losses(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        by_sequence = _by_sequence(logits, batch)
        start = _cross_entropy(by_sequence[:, 0], batch["start"])
        end = _cross_entropy(by_sequence[:, 1], batch["end"])
        return {"loss": (start + end) / 2, "start_loss": start.detach(), "end_loss": end.detach()}

    def raw_predictions(self, logits: Tensor, batch: Batch) -> list[Tensor]:
        """A sequence each: (2, length), minus infinity where the answer may not be"""
        by_sequence = _by_sequence(logits, batch)
        return [one[:, :length] for one, length in zip(by_sequence, batch["length"].tolist(), strict=True)]


def _by_sequence(logits: Tensor, batch: Batch) -> Tensor:
    """(R * L, 2) -> (S, 2, L): each sequence's scores from its own beginning"""
    row_length = batch["ids"].shape[1]
    place = torch.arange(row_length, device=logits.device)
    at = (batch["begin"][:, None] + place).clamp(max=len(logits) - 1)  # (S, L)
    allowed = (batch["allowed"].flatten()[at] > 0) & (place < batch["length"][:, None])
    return logits[at].masked_fill(~allowed[:, :, None], -torch.inf).transpose(1, 2)


def _cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """A mean over those with a target; 0 where there is none"""
    total = functional.cross_entropy(logits, target.long(), ignore_index=IGNORED, reduction="sum")
    return total / (target != IGNORED).sum().clamp(min=1)
