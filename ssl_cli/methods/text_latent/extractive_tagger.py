"""Unsupervised summaries by a tagger that has learned from a search which words to choose."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_cli.config.types import Count, Range, Share
from ssl_cli.data.articles.words import join_words, words_of
from ssl_cli.data.batches import ArrayDataset
from ssl_cli.methods.text_latent.extractive_search import ExtractiveSearch
from ssl_cli.models.word_tagger import WordTagger, hash_words

TEXTS_AT_A_TIME = 256


class ExtractiveTagger(nn.Module):
    """Learn what a search chooses (as arXiv 2205.08221 learns from one), without the search's models of language.

    The loss is the binary cross-entropy of each word, in nats. A word is chosen if its logit is above a threshold that
    makes summaries of held-out articles as long as those of the search, and the likeliest `max_words` of them.
    """

    reads: ClassVar[tuple[str, ...]] = ("articles", "titles")
    threshold: Tensor

    def __init__(
        self,
        teacher: Annotated[ExtractiveSearch, "the search that it learns from"],
        layers: Annotated[Count, "blocks of the transformer"] = 2,
        width: Annotated[Count, "numbers in a word's vector"] = 128,
        heads: Annotated[Count | None, "attention heads; null: one for every 64 numbers"] = None,
        dropout: Annotated[Share, "share of numbers dropped in training"] = 0.1,
        num_buckets: Annotated[int, Range(2, 1_000_000), "hash buckets of the words; fewer confuse more"] = 8192,
    ):
        super().__init__()
        self.teacher = teacher
        self.network = WordTagger(teacher.first_words, num_buckets, layers, width, heads, dropout)
        self.register_buffer("threshold", torch.zeros(()))

    def rows(self, articles: Sequence[str]) -> ArrayDataset:
        """Return articles with what the search chooses of each: `words`, `length` (N,) and `chosen` (N, T)."""
        words = self._first_words(articles)
        hashed, length = hash_words(words, self.teacher.first_words, self.network.num_buckets)
        chosen = np.zeros(hashed.shape[:2], np.float32)
        for row, places in enumerate(self.teacher.choose(words)):
            chosen[row, places] = 1
        return ArrayDataset({"words": hashed, "length": length, "chosen": chosen})

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss, and the share of words on which tagger and search agree."""
        logits, is_real = self._logits(batch)
        chosen = batch["chosen"]
        loss = functional.binary_cross_entropy_with_logits(logits[is_real], chosen[is_real])
        agree = ((logits > 0) == (chosen > 0.5))[is_real].float().mean()
        return {"loss": loss, "agreement": agree.detach()}

    def _logits(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return logits (B, T) in float32, and which words are real."""
        n = batch["words"].shape[1]
        is_real = torch.arange(n, device=batch["length"].device) < batch["length"][:, None]
        return self.network(batch["words"], batch["length"]).float(), is_real

    def set_threshold(self, batches: Iterable[Mapping[str, Tensor]]) -> None:
        """Set the threshold by articles that were not learned from: as many words are above it as the search chose."""
        logits, n_chosen = list[Tensor](), 0
        for batch in batches:
            found, is_real = self._logits(batch)
            logits.append(found[is_real])
            n_chosen += int(batch["chosen"].sum())
        highest = torch.cat(logits).sort(descending=True).values
        self.threshold.copy_(highest[max(n_chosen, 1) - 1])

    def summarize(self, texts: Sequence[str]) -> list[str]:
        """Return a summary of each text; "" of one without words."""
        words = self._first_words(texts)
        summaries: list[str] = []
        for first in range(0, len(words), TEXTS_AT_A_TIME):
            some = words[first : first + TEXTS_AT_A_TIME]
            summaries += [
                join_words([of[k] for k in places]) for of, places in zip(some, self._choose(some), strict=True)
            ]
        return summaries

    def _choose(self, texts: Sequence[Sequence[str]]) -> list[list[int]]:
        hashed, length = hash_words(texts, self.teacher.first_words, self.network.num_buckets)
        batch = {"words": torch.from_numpy(hashed), "length": torch.from_numpy(length)}
        batch = {name: value.to(self.threshold.device) for name, value in batch.items()}
        with torch.inference_mode():
            logits, _ = self._logits(batch)
        chosen = []
        for row, n in zip(logits.cpu().numpy(), length, strict=True):
            best = np.argsort(-row[:n], kind="stable")[: self.teacher.max_words]
            above = [int(place) for place in best if row[place] >= float(self.threshold)]
            chosen.append(sorted(above or best[:1].tolist()))
        return chosen

    def _first_words(self, texts: Sequence[str]) -> list[list[str]]:
        return [words_of(text)[: self.teacher.first_words] for text in texts]
