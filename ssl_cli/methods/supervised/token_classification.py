"""Token classification: predict a tag for each word, such as a part of speech or the beginning of a name."""

from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional

from ssl_cli.config.types import Count
from ssl_cli.methods.supervised.head import Batch, SupervisedHead, linear_in_float32, new_linear
from ssl_cli.models.encoder import DropRate
from ssl_cli.models.losses import IGNORE_INDEX
from ssl_cli.models.transformer import Transformer


class TokenClassificationHead(SupervisedHead):
    """A score per tag at the first token of each word, with cross-entropy (arXiv 1810.04805, sec. 5.3, fig. 4d).

    Per token, (R, L): `word` is 1 where a tag is predicted, and `label` is that tag, or IGNORE_INDEX if it is unknown.
    The loss is the mean over the batch's words with known tags, and 0 if there are none.
    """

    def __init__(
        self,
        network: Annotated[Transformer, "the transformer that encodes the text"],
        n_labels: Annotated[Count, "number of tags"],
        dropout: Annotated[DropRate, "dropout of the head's inputs"] = 0.1,
    ):
        super().__init__(network, dropout)
        self.n_labels = n_labels
        self.decide = new_linear(network.width, n_labels)

    def logits(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Return scores (W, n_labels) of the words, in the order of the rows, given hidden states (R * L, C)."""
        return linear_in_float32(self.decide, hidden[_word_positions(batch)])

    def losses(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return the mean cross-entropy of scores (W, n_labels)."""
        label = batch["label"].flatten()[_word_positions(batch)].long()  # (W,)
        total = functional.cross_entropy(logits, label, ignore_index=IGNORE_INDEX, reduction="sum")
        return {"loss": total / (label != IGNORE_INDEX).sum().clamp(min=1)}

    def raw_predictions(self, logits: Tensor, batch: Batch) -> list[Tensor]:
        """Return the scores (words, n_labels) of each sequence."""
        n_before = functional.pad((batch["word"].flatten() > 0).long().cumsum(0), (1, 0))  # (R * L + 1,) words so far
        first, last = n_before[batch["begin"]], n_before[batch["begin"] + batch["length"]]
        return [logits[start:stop] for start, stop in zip(first.tolist(), last.tolist(), strict=True)]


def _word_positions(batch: Batch) -> Tensor:
    """Return the positions (W,) of words among the R * L tokens."""
    return torch.nonzero(batch["word"].flatten()).squeeze(1)
