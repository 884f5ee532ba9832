"""A finished run on articles: `ssl_cli.load("latest").summarize([text])`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ssl_cli.commands.finished import Finished, open_run, runs_that_can
from ssl_cli.commands.pretrain.finished import TOKENIZER
from ssl_cli.data.articles.words import words_of
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.errors import InputError
from ssl_cli.methods.text_latent.protocols import RebuildsTexts, Summarizes
from ssl_cli.runs.folder import find_run


def reopen(run: str | Path, outputs: str | Path, trust: str | None) -> "ArticleRun":
    """Return the finished run that the options name; `latest` is the newest that can summarize.

    Raises InputError if there is none.
    """
    trusted = tuple((trust or "").split())
    run_filter = runs_that_can("summarize (model=extractive_search)", Summarizes, trust=trusted)
    finished = open_run(find_run(run, outputs, "reconstruct", finished=True, run_filter=run_filter), trusted)
    if not isinstance(finished, ArticleRun):
        raise InputError(f"{finished.folder} is not a run on articles: name one on data=text_pairs or data=reuters.")
    return finished


class ArticleRun(Finished):
    """A summarizer that learned from articles and from titles of others."""

    def restore(self) -> None:
        """Restore the tokenizer, if the model has one, and summarize one text, to check that the run is whole."""
        if isinstance(self.model, RebuildsTexts):
            self.model.use_tokenizer(Tokenizer.load(self.folder / TOKENIZER))
        self.model.summarize(["One sentence."])

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Return the mean vector of each text in the generator's encoder, (N, C) float32.

        Raises InputError if the model has none: only model=text_ae has.
        """
        if not isinstance(self.model, RebuildsTexts):
            raise InputError(f"{self.folder}: model={self.config.choices.model} has no vector of a text; text_ae has.")
        return self.model.embed(texts).float().numpy()

    def summarize(self, texts: Sequence[str]) -> list[str]:
        """Return a summary of each text. Raises InputError for a text without words."""
        for number, text in enumerate(texts, start=1):
            if not words_of(text):
                raise InputError(f"Text {number:,}, {text[:50]!r}, has no words to summarize.")
        return self.model.summarize(texts)
