"""Say which class a text or a pair of texts is of, how much of something it has, or which of several options fits."""

from typing import Annotated, Literal

import torch
from torch import Tensor
from torch.nn import functional

from ssl_cli.config.types import Count
from ssl_cli.methods.supervised.head import Batch, SupervisedHead, fresh, precisely, summaries
from ssl_cli.models.transformer import Drop, Transformer


class SequenceClassificationHead(SupervisedHead):
    """One layer and a tanh over a sequence's summary, then a score for each class (arXiv 1810.04805, fig. 4a, 4b).

    kind=classification: cross-entropy. kind=regression: squared error of one score. kind=multiple_choice: an example is
    several sequences, one an option; each gets one score, and the softmax goes over those (sec. 4.4). Targets are
    `label` (B,).
    """

    def __init__(
        self,
        network: Annotated[Transformer, "what reads the text"],
        n_labels: Annotated[Count, "classes; 1 for a number, or for options"],
        kind: Annotated[
            Literal["classification", "regression", "multiple_choice"], "what is answered"
        ] = "classification",
        dropout: Annotated[Drop, "share of what is read that is dropped before it is judged"] = 0.1,
    ):
        super().__init__(network, dropout)
        self.kind, self.n_labels = kind, n_labels
        self.pool = fresh(network.width, network.width)
        self.decide = fresh(network.width, n_labels)

    def logits(self, hidden: Tensor, batch: Batch) -> Tensor:
        """(S, n_labels)"""
        pooled = self.pool(summaries(hidden, batch, self.network.causal)).tanh()
        if self.dropout:
            pooled = functional.dropout(pooled, self.dropout, self.training)
        return precisely(self.decide, pooled)

    def losses(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        label = batch["label"]
        if self.kind == "regression":
            return {"loss": functional.mse_loss(logits[:, 0], label.to(logits.dtype))}
        return {"loss": functional.cross_entropy(self._by_example(logits, batch), label.long())}

    def raw_predictions(self, logits: Tensor, batch: Batch) -> list[Tensor]:
        """An example each: (n_labels,) scores of the classes, (1,) a number, or (n,) scores of its options"""
        if self.kind != "multiple_choice":
            return list(logits)
        by_example = self._by_example(logits, batch)
        return [row[row > -torch.inf] for row in by_example]

    def _by_example(self, logits: Tensor, batch: Batch) -> Tensor:
        """(B, n_labels), or of options (B, most), minus infinity where an example has fewer"""
        if self.kind != "multiple_choice":
            return logits
        example = batch["example"]  # (S,), in order
        count = torch.bincount(example)  # (B,)
        nth = torch.arange(len(example), device=example.device) - (count.cumsum(0) - count)[example]
        table = logits.new_full((len(count), int(count.max())), -torch.inf)
        return table.index_put((example, nth), logits[:, 0])
