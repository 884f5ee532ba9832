"""Sequence classification, regression and multiple choice: a prediction for a text or a pair of texts."""

from typing import Annotated, Literal

import torch
from torch import Tensor
from torch.nn import functional

from ssl_cli.config.types import Count
from ssl_cli.methods.supervised.head import Batch, SupervisedHead, linear_in_float32, new_linear, summary_tokens
from ssl_cli.models.encoder import DropRate
from ssl_cli.models.transformer import Transformer


class SequenceClassificationHead(SupervisedHead):
    """A linear layer and a tanh on a sequence's summary token, then a score per class (arXiv 1810.04805, fig. 4a, 4b).

    - kind=classification: cross-entropy.
    - kind=regression: squared error of a single score.
    - kind=multiple_choice: an example has several sequences, one per option, with one score each; the softmax is over
      the options (sec. 4.4).

    Targets are `label` (B,).
    """

    def __init__(
        self,
        network: Annotated[Transformer, "the transformer that encodes the text"],
        n_labels: Annotated[Count, "number of classes; 1 for regression and multiple choice"],
        kind: Annotated[
            Literal["classification", "regression", "multiple_choice"], "what is predicted"
        ] = "classification",
        dropout: Annotated[DropRate, "dropout of the head's inputs"] = 0.1,
        summary: Annotated[
            Literal["first", "last"] | None, "token of a text that stands for it; null: the last of a causal network"
        ] = None,  # which configs of earlier versions lack
    ):
        super().__init__(network, dropout)
        self.summary = summary or ("last" if network.causal else "first")
        self.kind, self.n_labels = kind, n_labels
        self.pool = new_linear(network.width, network.width)
        self.decide = new_linear(network.width, n_labels)

    def logits(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Return scores (S, n_labels) of the sequences, given hidden states (R * L, C)."""
        pooled = self.pool(summary_tokens(hidden, batch, self.summary)).tanh()
        if self.dropout:
            pooled = functional.dropout(pooled, self.dropout, self.training)
        return linear_in_float32(self.decide, pooled)

    def losses(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy or squared error of scores (S, n_labels), a mean over the examples."""
        label = batch["label"]
        if self.kind == "regression":
            return {"loss": functional.mse_loss(logits[:, 0], label.to(logits.dtype))}
        return {"loss": functional.cross_entropy(self._by_example(logits, batch), label.long())}

    def raw_predictions(self, logits: Tensor, batch: Batch) -> list[Tensor]:
        """Return for each example its class scores (n_labels,), its number (1,), or its options' scores (n,)."""
        if self.kind != "multiple_choice":
            return list(logits)
        return [scores[scores > -torch.inf] for scores in self._by_example(logits, batch)]

    def _by_example(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return scores (B, n_labels), or of options (B, n), minus infinity where an example has fewer options."""
        if self.kind != "multiple_choice":
            return logits
        example = batch["example"]  # (S,), in order
        count = torch.bincount(example)  # (B,)
        option = torch.arange(len(example), device=example.device) - (count.cumsum(0) - count)[example]
        scores = logits.new_full((len(count), int(count.max())), -torch.inf)
        return scores.index_put((example, option), logits[:, 0])
