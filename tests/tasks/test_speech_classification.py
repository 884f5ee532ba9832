"""The task on utterances: classes, labels drawn by the seed, predictions and scores."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ssl_cli.data.audio.utterances import SpeechSplit
from ssl_cli.errors import InputError
from ssl_cli.tasks.speech_classification import SpeechClassification

WORDS, SPEAKERS = ["no", "oh", "yes"], ["ann", "bob", "unheard"]


def split_of(word: list[int], speaker: list[int]) -> SpeechSplit:
    n = len(word)
    frames, begin = np.zeros((2 * n, 3), np.float32), 2 * np.arange(n + 1)
    names = [f"{k}.wav" for k in range(n)]
    return SpeechSplit(frames, begin, np.array(speaker), np.array(word), None, names, np.arange(n))


def data_of(**splits: SpeechSplit) -> Any:
    """Return data whose training has no word 1 (oh), and in which the third speaker is unheard."""
    train = split_of([0, 2] * 10 + [-1], [0] * 10 + [1] * 10 + [0])
    reader = SimpleNamespace(speakers=SPEAKERS[:2])
    return SimpleNamespace(splits={"train": train, **splits}, words=WORDS, speakers=SPEAKERS, reader=reader)


VAL = split_of([0, 1, 2, -1], [0, 0, 1, 1])


def task_of(target: str = "word", labels: int | None = None) -> SpeechClassification:
    return SpeechClassification(target, ["accuracy", "macro_f1"], "accuracy", labels)  # type: ignore[arg-type,list-item]


def test_words_are_those_of_training_and_utterances_of_others_are_left_out() -> None:
    data = data_of(val=VAL, unheard=split_of([2], [2]))
    task = task_of()
    classes = task.classes(data)
    assert classes == ["no", "yes"]
    examples = task.read(data, classes, seed=0)
    assert {name: each.label.tolist() for name, each in examples.items() if name != "train"} == {
        "dev": [0, 1],
        "unheard": [1],
    }
    assert examples["dev"].split.names == ["0.wav", "2.wav"]
    assert (len(examples["train"]), examples["train"].split.names[-1]) == (20, "19.wav")


def test_speakers_are_those_of_training() -> None:
    data, task = data_of(val=VAL, unheard=split_of([2], [2])), task_of("speaker")
    classes = task.classes(data)
    assert classes == ["ann", "bob"]
    examples = task.read(data, classes, seed=0)
    assert set(examples) == {"train", "dev"}
    assert examples["dev"].label.tolist() == [0, 0, 1, 1]


def test_labels_are_drawn_by_the_seed_as_many_of_each_class() -> None:
    data, draws = data_of(val=VAL), []
    for seed in (0, 0, 1):
        train = task_of(labels=6).read(data, ["no", "yes"], seed)["train"]
        assert np.bincount(train.label).tolist() == [3, 3]
        draws.append(train.split.names)
    assert draws[0] == draws[1] != draws[2]


@pytest.mark.parametrize("labels", [21, 1000])
def test_more_labels_than_there_are_are_refused(labels: int) -> None:
    with pytest.raises(InputError, match=rf"task.labels={labels}: .* from 2, one for each word, to 20,"):
        task_of(labels=labels).read(data_of(val=VAL), ["no", "yes"], 0)


def test_what_has_no_classes_is_refused() -> None:
    data = data_of(val=VAL)
    data.splits["train"] = split_of([-1, -1], [0, 0])
    with pytest.raises(InputError, match=r"have no words. Set data.pattern"):
        task_of().classes(data)
    data.reader.speakers = ["ann"]
    with pytest.raises(InputError, match="have only one speaker"):
        task_of("speaker").classes(data)
