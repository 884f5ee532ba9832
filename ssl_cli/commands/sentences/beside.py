"""Another run whose vectors of texts are probed beside the code: a language model, another code, or a summarizer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from ssl_cli.commands.articles.finished import ArticleRun
from ssl_cli.commands.finished import Finished, open_run
from ssl_cli.commands.pretrain.finished import PretrainRun
from ssl_cli.commands.sentences.finished import SentenceRun
from ssl_cli.commands.sentences.prepare import TokenizedSentences
from ssl_cli.commands.sentences.probes import Pair, probed_rows
from ssl_cli.errors import InputError
from ssl_cli.runs.folder import find_run


class EmbedsTexts(Protocol):
    """A finished run with a vector of each text."""

    folder: Path

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Return a vector of each text, (N, C) float32."""


def reopen(run: str | Path, outputs: str | Path) -> EmbedsTexts:
    """Return the finished run that `beside=` names. Raises InputError if it reads no texts."""
    finished: Finished = open_run(find_run(run, outputs, ("reconstruct", "pretrain"), finished=True))
    if not isinstance(finished, SentenceRun | PretrainRun | ArticleRun):
        raise InputError(
            f"beside={run}: {finished.folder} reads no texts; name a run of model=bert, gpt, bart, t5, sentence_vae or "
            "text_ae."
        )
    return finished


def probed_vectors(other: EmbedsTexts | None, sentences: TokenizedSentences, seed: int) -> Pair | None:
    """Return the vectors of the sentences that probes read, of training and test; None without a run.

    Raises InputError if the run cannot embed one of them.
    """
    if other is None:
        return None
    train, test = (
        other.embed(sentences.splits[name].take(rows.tolist()).texts)
        for name, rows in probed_rows(sentences, seed).items()
    )
    return train, test
