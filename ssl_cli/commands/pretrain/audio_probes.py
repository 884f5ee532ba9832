"""What a model of speech has learned without labels: linear probes of words from few labels, beside log-mels."""

from typing import Any

import numpy as np

from ssl_cli.commands.speech.batches import map_utterances
from ssl_cli.commands.speech.probes import pooled_mean, pooled_thirds, some
from ssl_cli.data.audio.datasets import SpeechData
from ssl_cli.data.audio.utterances import SpeechSplit
from ssl_cli.evaluation.metrics.probes import ProbeData, linear_accuracy, stratified_order

LABELS = (10, 100)  # that a probe learns from
DRAWS = 5  # of these labels, the same for all vectors: their accuracies are paired
C = 1.0  # scikit-learn's: with a label for each class there is nothing to choose it on
LAST = -1  # the layer that is probed
POOLS = {"mean": pooled_mean, "thirds": pooled_thirds}
Vectors = list[np.ndarray]  # (T, C) of each utterance


def few_label_metrics(model: Any, data: SpeechData, seed: int) -> dict[str, float]:
    """Return test/word_probe_10_mean, ...: the mean test accuracy of probes that learn words from 10 labels.

    They read the last layer's vectors, or log_mel, pooled over an utterance as mean and as thirds. Empty without a test
    split, or unless the training utterances are of two words or more, and have enough labels.
    """
    splits = [known_words(data, name, seed) for name in ("train", "test")]
    labels = [split.word for split in splits]
    n_classes = len(np.unique(labels[0]))
    if n_classes < 2 or not len(labels[1]):
        return {}
    vectors = {"": [layer_vectors(model, data, split, LAST) for split in splits]}
    vectors["log_mel_"] = [data.reader.utterances(split) for split in splits]
    return {
        f"test/{name}word_probe_{n}_{pool}": float(accuracies(own, labels, n, pool, seed).mean())
        for n in LABELS
        if n_classes <= n <= len(labels[0])
        for pool in POOLS
        for name, own in vectors.items()
    }


def accuracies(vectors: list[Vectors], labels: list[np.ndarray], n: int, pool: str, seed: int) -> np.ndarray:
    """Return the test accuracy of a probe for each draw of n labels, (DRAWS,), given vectors and labels of train and
    test."""
    train, test = (POOLS[pool](each).astype(np.float32) for each in vectors)
    rows = ProbeData(train, test, labels[0], labels[1])
    orders = (stratified_order(labels[0], np.random.default_rng([seed, 16, draw])) for draw in range(DRAWS))
    return np.array([linear_accuracy(rows, order[:n], C) for order in orders])


def known_words(data: SpeechData, name: str, seed: int) -> SpeechSplit:
    """Return the utterances of a split whose word is known, at most some thousands; none if there is no such split."""
    split = data.splits.get(name, data.splits["train"].take(np.array([], np.int64)))
    return some(split.take(split.word >= 0), seed)


def layer_vectors(model: Any, data: SpeechData, split: SpeechSplit, layer: int) -> Vectors:
    """Return the vectors (T, C) of one layer for each utterance."""
    frames, speaker = data.reader.utterances(split), np.full(len(split), -1)
    references = [each[:1] for each in frames]
    return map_utterances(model, lambda batch: model.hidden_layers(batch)[layer].float(), frames, speaker, references)
