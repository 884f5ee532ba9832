"""Probes of words from few labels: the same draws for all vectors, and none where there is nothing to probe."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ssl_cli.commands.pretrain.audio_probes import DRAWS, accuracies, few_label_metrics
from ssl_cli.data.audio.utterances import SpeechSplit

N, M = 40, 3


class Doubled(nn.Module):
    """A model whose last layer is that of its input, times two."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))

    def hidden_layers(self, batch: dict[str, Tensor]) -> list[Tensor]:
        return [batch["frames"], batch["frames"] * self.scale]


def split_of(seed: int, n_words: int = 2) -> SpeechSplit:
    rng = np.random.default_rng(seed)
    word, length = np.arange(N) % n_words, rng.integers(2, 6, N)
    frames = rng.normal(size=(length.sum(), M)) + np.repeat(word, length)[:, None]
    begin, names = np.concatenate([[0], np.cumsum(length)]), [str(k) for k in range(N)]
    return SpeechSplit(frames.astype(np.float32), begin, np.zeros(N, int), word, None, names, np.arange(N))


def data_of(**splits: SpeechSplit) -> Any:
    reader = SimpleNamespace(utterances=lambda split: np.split(split.frames, split.begin[1:-1]))
    return SimpleNamespace(splits=splits, reader=reader)


def test_vectors_that_say_the_same_are_probed_alike() -> None:
    metrics = few_label_metrics(Doubled(), data_of(train=split_of(0), test=split_of(1)), seed=0)
    assert set(metrics) == {f"test/{of}word_probe_10_{pool}" for of in ("", "log_mel_") for pool in ("mean", "thirds")}
    for pool in ("mean", "thirds"):
        ours, log_mel = (metrics[f"test/{of}word_probe_10_{pool}"] for of in ("", "log_mel_"))
        assert ours == pytest.approx(log_mel, abs=0.02), "the same draws, of features that are standardized"
        assert ours > 0.7


def test_draws_are_of_as_many_labels_of_each_word() -> None:
    """With one label of each of two words far apart, every draw is right."""
    split = split_of(0)
    far = [np.full((3, M), 100.0 * word) for word in split.word]
    assert accuracies([far, far], [split.word, split.word], 2, "mean", 0).tolist() == [1.0] * DRAWS


@pytest.mark.parametrize(
    "splits",
    [
        {"train": split_of(0)},
        {"train": split_of(0, n_words=1), "test": split_of(1)},
        {"train": split_of(0, n_words=11), "test": split_of(1)},
    ],
)
def test_nothing_is_probed_without_a_test_split_two_words_and_a_label_of_each(splits: dict[str, SpeechSplit]) -> None:
    assert few_label_metrics(Doubled(), data_of(**splits), seed=0) == {}
