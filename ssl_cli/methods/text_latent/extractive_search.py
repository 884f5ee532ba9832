"""Unsupervised summaries by search: the words of an article that make the best headline."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from safetensors.numpy import load_file, save_file

from ssl_cli.config.types import Count, NonNegative
from ssl_cli.data.articles.words import WordVocabulary, join_words, words_of
from ssl_cli.errors import InputError
from ssl_cli.methods.text_latent.subsequences import best_subsequences
from ssl_cli.models.ngram import ORDER, TrigramModel

WEIGHTS = "model.safetensors"
NAMES = [f"{name}_{order}" for order in range(1, ORDER + 1) for name in ("ngrams", "counts")]
SMOOTHING = 0.5  # added to the count of each word of articles


class ExtractiveSearch:
    """Choose the words of an article, in their order, that look most like a headline and least like any article.

    A summary y of the article x is worth log p(y) - `body_weight` log q(y) plus, for each word, `word_bonus` less
    `position_cost` times how many words of the article stand before it: p is a trigram model of titles, q the
    frequencies of single words in articles. The best one is found exactly. After arXiv 2005.01791 and 2205.08221,
    with a likelihood ratio in the place of their similarity, since words that every article has say little.
    """

    reads: ClassVar[tuple[str, ...]] = ("articles", "titles")

    def __init__(
        self,
        first_words: Annotated[Count, "words at the beginning of an article to choose from"] = 30,
        max_words: Annotated[Count, "most words of a summary"] = 7,
        body_weight: Annotated[NonNegative, "how much words count that are frequent in articles: against them"] = 1.1,
        position_cost: Annotated[NonNegative, "what a word costs for each one before it in the article, in nats"] = 0.3,
        word_bonus: Annotated[float, "what each word is worth, in nats; more makes summaries longer"] = 1.75,
    ):
        self.first_words, self.max_words = first_words, max_words
        self.body_weight, self.position_cost, self.word_bonus = body_weight, position_cost, word_bonus

    def fit_texts(self, articles: Sequence[str], titles: Sequence[str]) -> None:
        """Count the words of articles, and the trigrams of titles."""
        in_articles, in_titles = [words_of(text) for text in articles], [words_of(text) for text in titles]
        self.vocabulary = WordVocabulary.of_texts([*in_articles, *in_titles])
        numbers = np.array([n for words in in_articles for n in self.vocabulary.encode(words)], np.int64)
        self.counts = np.bincount(numbers, minlength=len(self.vocabulary))
        sentences = [self.vocabulary.encode(words) for words in in_titles]
        self.headlines = TrigramModel(sentences, len(self.vocabulary), self.vocabulary.end)

    def summarize(self, texts: Sequence[str]) -> list[str]:
        """Return the best summary of each text; "" of one without words."""
        words = [words_of(text)[: self.first_words] for text in texts]
        return [join_words([of[k] for k in places]) for of, places in zip(words, self.choose(words), strict=True)]

    def choose(self, texts: Sequence[Sequence[str]]) -> list[list[int]]:
        """Return the positions of the words of each text that make its summary; none of a text without words."""
        articles = [self.vocabulary.encode(words) for words in texts]
        log_frequency = np.log(self.counts + SMOOTHING) - np.log((self.counts + SMOOTHING).sum())
        scores = [
            self.word_bonus - self.body_weight * log_frequency[words] - self.position_cost * np.arange(len(words))
            for words in articles
        ]
        return best_subsequences(self.headlines, articles, scores, self.max_words, self.vocabulary.end)

    def save(self, folder: Path) -> None:
        """Write the vocabulary and all counts into a run folder."""
        words = np.frombuffer("\n".join(self.vocabulary.words).encode(), np.uint8)
        arrays = {"words": words, "word_counts": self.counts, **self.headlines.arrays}
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / WEIGHTS)

    def restore(self, folder: Path) -> None:
        """Read back what `save` wrote. Raises InputError if it is damaged."""
        arrays = load_file(folder / WEIGHTS)
        if {"words", "word_counts", *NAMES} != arrays.keys():
            raise InputError(f"{folder / WEIGHTS} is damaged: it does not hold the counts of words and trigrams.")
        self.vocabulary = WordVocabulary(arrays["words"].tobytes().decode().split("\n"))
        self.counts, n_words = arrays["word_counts"], len(self.vocabulary)
        shapes = [(n_words,), *(shape for order in range(1, ORDER + 1) for shape in [(-1, order), (-1,)])]
        for name, shape in zip(("word_counts", *NAMES), shapes, strict=True):
            array = arrays[name]
            fits = len(array.shape) == len(shape) and all(n in (-1, m) for n, m in zip(shape, array.shape, strict=True))
            if not fits or array.dtype != np.int64 or len(array) == 0:
                raise InputError(f"{folder / WEIGHTS} is damaged: {name} has the shape {array.shape}.")
        self.headlines = TrigramModel.from_arrays({name: arrays[name] for name in NAMES}, n_words)
