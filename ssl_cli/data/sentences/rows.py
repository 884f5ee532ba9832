"""Sentences as rows of tokens."""

from collections.abc import Sequence

import numpy as np
import torch

from ssl_cli.data.batches import ArrayDataset
from ssl_cli.data.tokenizers.tokenizer import Tokenizer

UNKNOWN_LABEL = -1


class SentenceRows(ArrayDataset):
    """Rows `ids` (N, L) of tokens padded with 0, `length` (N,), and `label` (N,), -1 where it is not known."""

    row_name = "sentences"

    @property
    def eval_batch_size(self) -> int:
        """Return the rows of a validation batch: their logits over the vocabulary are in memory together."""
        return 128

    def on(self, device: torch.device) -> "SentenceRows":
        """Return the same rows on a device."""
        return SentenceRows({name: array.to(device) for name, array in self.arrays.items()}, self.row_ids)

    def take(self, selection: np.ndarray) -> "SentenceRows":
        """Return some of the rows."""
        chosen = torch.from_numpy(selection)
        return SentenceRows({name: array[chosen] for name, array in self.arrays.items()}, self.row_ids[selection])


def tokens_of(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Return the tokens of each sentence, without special ones."""
    before = " " if tokenizer.is_byte_level else ""  # there the first word of a text is another token than elsewhere
    encoded = tokenizer.library.encode_batch_fast([before + text for text in texts], False, False)
    return [encoding.ids for encoding in encoded]


def sentence_rows(
    tokens: Sequence[Sequence[int]], labels: Sequence[int] | None = None, row_ids: np.ndarray | None = None
) -> SentenceRows:
    """Return sentences, of one token or more each, as rows; without `labels` none is known."""
    length = np.array([len(each) for each in tokens], np.int64)
    ids = np.zeros((len(tokens), max(length, default=1)), np.int64)
    for row, each in enumerate(tokens):
        ids[row, : len(each)] = each
    label = np.full(len(tokens), UNKNOWN_LABEL) if labels is None else np.array(labels, np.int64)
    return SentenceRows({"ids": ids, "length": length, "label": label}, row_ids)
