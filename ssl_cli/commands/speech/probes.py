"""Probes of speech: what linear classifiers read about speakers and words in the codes of a model, and in log-mels.

A probe of frames has one step of a code as a row, with the label of its utterance; one of utterances has a mean over
time, or the means of three thirds, which keep some of the order. docs/speech.md defines each key.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ssl_cli.commands.speech.batches import map_utterances
from ssl_cli.data.audio.datasets import SpeechData
from ssl_cli.data.audio.utterances import SpeechSplit
from ssl_cli.evaluation.metrics.probes import (
    FULL_ITERATIONS,
    ProbeData,
    choose_c,
    linear_accuracy,
    stratified_order,
)

MAX_UTTERANCES = 2000  # of each split
MAX_ROWS, MAX_VALUES = 20_000, 4_000_000  # rows of a probe of frames, and numbers in them
CHOICE_ROWS = 2000  # on which the regularization is chosen
Vectors = list[np.ndarray]  # (T, C) of each utterance


def probe_metrics(model: Any, data: SpeechData, seed: int) -> dict[str, float]:
    """Return the accuracies of probes of the content and of the speaker code, of log-mels, and of chance.

    They learn from training utterances, and are tested on the test split: nothing without one. The speaker code is that
    of the utterance itself; a table of speakers has none. `content_speaker_lead` is the lead of frames of the content
    over chance, as a share of the lead of frames of log-mels.
    """
    test = data.splits.get("test")
    if test is None:
        return {}
    splits = [some(split, seed) for split in (data.splits["train"], test)]
    codes = {"content": [contents(model, data, split) for split in splits]}
    codes["log_mel"] = [np.split(split.frames, split.begin[1:-1]) for split in splits]
    voices = [speaker_codes(model, data, split) for split in splits] if model.hears_reference else None
    metrics: dict[str, float] = {}
    for name in ("speaker", "word"):
        labels = [getattr(split, name) for split in splits]
        known = [np.flatnonzero(each >= 0) for each in labels]
        if len(np.unique(labels[0][known[0]])) < 2 or not len(known[1]):
            continue
        for code, vectors in codes.items():
            own = [[each[u] for u in rows] for each, rows in zip(vectors, known, strict=True)]
            of = [each[rows] for each, rows in zip(labels, known, strict=True)]
            metrics |= {f"{code}_{name}_probe{suffix}": value for suffix, value in accuracies(own, of, seed).items()}
        if voices is not None:
            rows = ProbeData(voices[0][known[0]], voices[1][known[1]], labels[0][known[0]], labels[1][known[1]])
            metrics[f"speaker_code_{name}_probe"] = linear_probe(rows, seed)
        metrics[f"chance_{name}_probe"] = majority_share(labels[0][known[0]], labels[1][known[1]])
    return {f"test/{name}": value for name, value in (metrics | _leads(metrics)).items()}


def _leads(metrics: dict[str, float]) -> dict[str, float]:
    """Return which share of log-mel's lead over chance the content has, in telling speakers apart; 0 if it has none."""
    if "content_speaker_probe" not in metrics:
        return {}
    chance = metrics["chance_speaker_probe"]
    content, log_mel = (metrics[f"{code}_speaker_probe"] - chance for code in ("content", "log_mel"))
    return {"content_speaker_lead": content / log_mel} if log_mel > 0 else {}


def some(split: SpeechSplit, seed: int) -> SpeechSplit:
    """Return at most MAX_UTTERANCES random utterances of a split."""
    rows = np.random.default_rng([seed, 14]).permutation(len(split))[:MAX_UTTERANCES]
    return split.take(np.sort(rows))


def contents(model: Any, data: SpeechData, split: SpeechSplit) -> Vectors:
    """Return the content code (L, C) of each utterance."""
    return _map(model, model.content, data, split, model.stride)


def speaker_codes(model: Any, data: SpeechData, split: SpeechSplit) -> np.ndarray:
    """Return the speaker code that a model hears in each utterance, (N, S)."""
    return np.stack(_map(model, model.speaker_code, data, split, None))


def _map(model: Any, function: Any, data: SpeechData, split: SpeechSplit, stride: int | None) -> Vectors:
    normal = data.reader.utterances(split)
    speaker = np.where(split.speaker < len(data.reader.speakers), split.speaker, -1)
    return map_utterances(model, function, normal, speaker, normal, stride)


def accuracies(vectors: Sequence[Vectors], labels: Sequence[np.ndarray], seed: int) -> dict[str, float]:
    """Return the test accuracy of probes of frames (""), of means and of thirds, from vectors of both splits."""
    train, test = (frame_rows(*pair, seed) for pair in zip(vectors, labels, strict=True))
    found = {"": linear_probe(ProbeData(train[0], test[0], train[1], test[1]), seed)}
    for name, pool in (("_mean", pooled_mean), ("_thirds", pooled_thirds)):
        found[name] = linear_probe(ProbeData(pool(vectors[0]), pool(vectors[1]), labels[0], labels[1]), seed)
    return found


def frame_rows(vectors: Vectors, labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return random steps of utterances as rows (n, C), and the label of each one's utterance, (n,)."""
    steps = np.concatenate(vectors)
    label = np.repeat(labels, [len(each) for each in vectors])
    n = min(MAX_ROWS, MAX_VALUES // steps.shape[1])
    rows = np.random.default_rng([seed, 15]).permutation(len(steps))[:n]
    return steps[rows], label[rows]


def pooled_mean(vectors: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean of each utterance's vectors (T, C), (N, C)."""
    return np.stack([each.mean(0) for each in vectors])


def pooled_thirds(vectors: Sequence[np.ndarray]) -> np.ndarray:
    """Return the means of the first, second and last third of each utterance's vectors (T, C), (N, 3 * C)."""
    return np.stack([np.concatenate([_third(each, k).mean(0) for k in range(3)]) for each in vectors])


def _third(vectors: np.ndarray, k: int) -> np.ndarray:
    """Return the k-th third of vectors (T, C), at least one."""
    begin = k * len(vectors) // 3
    return vectors[begin : max(begin + 1, (k + 1) * len(vectors) // 3)]


def linear_probe(data: ProbeData, seed: int) -> float:
    """Return the test accuracy of logistic regression on all training rows; its regularization is chosen on some."""
    order = stratified_order(data.train_label, np.random.default_rng([seed, 16]))
    chosen = order[:CHOICE_ROWS]
    strength = choose_c(data.train[chosen], data.train_label[chosen])
    return linear_accuracy(data, order, strength, FULL_ITERATIONS)


def majority_share(train_label: np.ndarray, test_label: np.ndarray) -> float:
    """Return the test accuracy of the most frequent label in training: what a probe of nothing has."""
    values, counts = np.unique(train_label, return_counts=True)
    return float((test_label == values[counts.argmax()]).mean())
