"""Say of each word which kind it is of: a name's beginning, a verb."""

from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional

from ssl_cli.config.types import Count
from ssl_cli.methods.supervised.head import Batch, SupervisedHead, fresh, precisely
from ssl_cli.models.losses import IGNORED
from ssl_cli.models.transformer import Drop, Transformer


class TokenClassificationHead(SupervisedHead):
    """A score for each tag at the first token of each word; cross-entropy (arXiv 1810.04805, sec. 5.3, fig. 4d).

    By token, (R, L): `word` is 1 where a word is to be tagged, `label` its tag, or IGNORED. The loss is the mean over
    the words of the batch whose tags are known, and 0 where none is.
    """

    def __init__(
        self,
        network: Annotated[Transformer, "what reads the text"],
        n_labels: Annotated[Count, "tags"],
        dropout: Annotated[Drop, "share of what is read that is dropped before it is judged"] = 0.1,
    ):
        super().__init__(network, dropout)
        self.n_labels = n_labels
        self.decide = fresh(network.width, n_labels)

    def logits(self, hidden: Tensor, batch: Batch) -> Tensor:
        """(W, n_labels): of the words alone, in the order in which they stand in the rows"""
        return precisely(self.decide, hidden[_words(batch)])

    def losses(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        label = batch["label"].flatten()[_words(batch)].long()  # (W,)
        total = functional.cross_entropy(logits, label, ignore_index=IGNORED, reduction="sum")
        return {"loss": total / (label != IGNORED).sum().clamp(min=1)}

    def raw_predictions(self, logits: Tensor, batch: Batch) -> list[Tensor]:
        """A sequence each: (words of it, n_labels) scores"""
        before = functional.pad((batch["word"].flatten() > 0).long().cumsum(0), (1, 0))  # (R * L + 1,) words so far
        first, last = before[batch["begin"]], before[batch["begin"] + batch["length"]]
        return [logits[start:stop] for start, stop in zip(first.tolist(), last.tolist(), strict=True)]


def _words(batch: Batch) -> Tensor:
    """Where words are in the R * L tokens: (W,)"""
    return torch.nonzero(batch["word"].flatten()).squeeze(1)
