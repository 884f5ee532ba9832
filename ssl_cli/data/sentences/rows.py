"""Sentences as rows of tokens."""

from collections.abc import Sequence

import numpy as np

from ssl_cli.data.batches import TokenRows

UNKNOWN_LABEL = -1


class SentenceRows(TokenRows):
    """Rows `ids` (N, L) of tokens padded with 0, `length` (N,), and `label` (N,), -1 where it is not known."""

    row_name = "sentences"


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
