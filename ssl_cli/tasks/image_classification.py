"""Classification of images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import torch

from ssl_cli.data.batches import ArrayDataset
from ssl_cli.data.images.augment import Augment
from ssl_cli.data.images.datasets import ImageData, gather_rows
from ssl_cli.data.protocols import ImageSource
from ssl_cli.errors import InputError
from ssl_cli.tasks.input_classification import SPLITS, ClassMetrics, InputClassification, LabelCount, Monitor

FOLDERS = "put the images of each class in a folder of its own"


@dataclass(frozen=True)
class LabelledImages:
    """Images `x` (N, C, H, W) uint8 of a split, the index of each one's class (N,), and its index in all images (N,).

    `names` are those of the files, or the index as text.
    """

    x: np.ndarray
    label: np.ndarray
    row: np.ndarray
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.label)

    def take(self, rows: np.ndarray) -> "LabelledImages":
        """Return the images at some positions."""
        names = [self.names[k] for k in rows]
        return LabelledImages(gather_rows(self.x, rows), self.label[rows], self.row[rows], names)


class LabelledImageRows(ArrayDataset):
    """Rows of images `x` (B, C, H, W) as bytes, with `label` (B,)."""

    split = "dev"
    throughput_unit = "examples"
    row_name = "images"


class ImageClassification(InputClassification):
    """Classification of images. `augment` makes random views of them in training."""

    method: ClassVar[str] = "ssl_cli.methods.supervised.image_classification.ImageClassificationHead"
    network: ClassVar[str] = "ssl_cli.methods.protocols.EncodesImages"
    source: ClassVar[type] = ImageSource

    def __init__(
        self,
        metrics: ClassMetrics,
        monitor: Monitor,
        labels: LabelCount = None,
        augment: Annotated[Augment | None, "random views in training; null: the images as they are"] = None,
    ):
        super().__init__(metrics, monitor, labels)
        self.augment = augment

    def read(self, data: ImageData, seed: int) -> dict[str, LabelledImages]:
        """Return the labelled images of train, dev and test; those without a class are left out.

        Raises InputError if there are no labels of two classes, none of a split, or fewer than asked for.
        """
        splits = {}
        for name, split in data.splits.items():
            rows = np.arange(0) if split.label is None else np.flatnonzero(split.label >= 0)
            if split.label is not None and len(rows):
                names = [str(k) for k in split.row] if data.names is None else [data.names[k] for k in split.row]
                whole = LabelledImages(split.x, split.label, split.row, names)
                splits[SPLITS[name]] = whole if len(rows) == len(whole) else whole.take(rows)
        if "val" not in data.splits:
            raise InputError("No image is held out, to choose the best weights: set data.val above 0, such as 0.05.")
        if missing := [name for name in ("train", "dev") if name not in splits]:
            which = f"the images of {missing[0]}" if splits else "these images"
            raise InputError(f"task=images needs labels, and {which} have none: {FOLDERS}.")
        train = splits["train"]
        if len(present := np.unique(train.label)) < 2:
            raise InputError(f"All training images are of class {data.classes[present[0]]}: {FOLDERS}.")
        drawn = self.draw(train.label, seed, "class", "images")
        return splits | {"train": train if len(drawn) == len(train) else train.take(drawn)}

    def rows(self, examples: LabelledImages) -> LabelledImageRows:
        """Return the images as a model reads them."""
        label = torch.from_numpy(examples.label.astype(np.int64))
        return LabelledImageRows({"x": examples.x, "label": label}, examples.row)

    def options(self, classes: Sequence[str]) -> dict[str, Any]:
        """Return the arguments of the head besides its network and its augmentation."""
        return {"n_labels": len(classes)}
