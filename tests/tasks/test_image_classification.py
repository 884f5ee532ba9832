"""The task on images: labelled images of each split, their names, and what is refused."""

import numpy as np
import pytest

from ssl_cli.data.images.datasets import ImageData, ImageSplit
from ssl_cli.errors import InputError
from ssl_cli.tasks.image_classification import ImageClassification

CLASSES = ["cat", "dog"]


def split_of(label: list[int] | None, first: int) -> ImageSplit:
    n = 4 if label is None else len(label)
    rows = np.arange(first, first + n)
    x = np.repeat(rows.astype(np.uint8), 4).reshape(n, 1, 2, 2)
    return ImageSplit(x, None if label is None else np.array(label), rows)


def data_of(train: list[int] | None, val: list[int] | None = (0, 1), test: list[int] | None = (1, 0)) -> ImageData:  # type: ignore[assignment]
    splits = {"train": split_of(train, 0), "val": split_of(val, 10), "test": split_of(test, 20)}
    return ImageData(splits, CLASSES, "")


def task(labels: int | None = None) -> ImageClassification:
    return ImageClassification(["accuracy"], "accuracy", labels)


def test_images_without_a_class_are_left_out() -> None:
    examples = task().read(data_of([0, -1, 1, 1, 0]), seed=0)
    assert list(examples) == ["train", "dev", "test"]
    train = examples["train"]
    assert (train.label.tolist(), train.row.tolist(), train.names) == ([0, 1, 1, 0], [0, 2, 3, 4], ["0", "2", "3", "4"])
    assert train.x[:, 0, 0, 0].tolist() == [0, 2, 3, 4]
    batch = task().rows(train)[3, slice(1, 3), 1.0]
    assert (batch["label"].tolist(), batch["x"][:, 0, 1, 1].tolist()) == ([1, 1], [2, 3])


def test_names_are_those_of_the_files() -> None:
    data = data_of([0, 1])
    data.names = [f"{k}.png" for k in range(30)]
    examples = task(2).read(data, seed=0)
    assert examples["train"].names == ["0.png", "1.png"]
    assert examples["test"].names == ["20.png", "21.png"]


def test_a_test_split_may_lack_labels() -> None:
    assert list(task().read(data_of([0, 1], test=[-1, -1]), seed=0)) == ["train", "dev"]


def test_what_can_not_be_learned_from_is_refused() -> None:
    with pytest.raises(InputError, match=r"needs labels, and these images have none: put the images of each class"):
        task().read(data_of(None, None, None), 0)
    with pytest.raises(InputError, match=r"needs labels, and the images of dev have none"):
        task().read(data_of([0, 1], [-1]), 0)
    with pytest.raises(InputError, match=r"All training images are of class dog"):
        task().read(data_of([1, 1]), 0)
    with pytest.raises(InputError, match=r"task.labels=9: .* from 2, one for each class, to 3, the labelled training"):
        task(9).read(data_of([0, 1, 1]), 0)
    data = data_of([0, 1])
    del data.splits["val"]
    with pytest.raises(InputError, match=r"set data.val above 0"):
        task().read(data, 0)
