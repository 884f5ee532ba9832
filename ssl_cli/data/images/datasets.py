"""Images: files in a published layout -> arrays of bytes (N, C, H, W), in the splits that a verb asks for."""

import hashlib
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np

from ssl_cli.config.choices import nearest
from ssl_cli.config.types import Path as FilePath
from ssl_cli.config.types import Range
from ssl_cli.data.images.idx import read_idx
from ssl_cli.data.images.parquet import Parted, read_hub, source, where_from
from ssl_cli.data.images.reader import ImageReader
from ssl_cli.data.one_class import OneClass, OneClassData, OneClassSplit
from ssl_cli.errors import InputError

Hub = Annotated[
    FilePath | None, "data set on the Hugging Face hub, for where `dir` is absent; or a folder of its Parquet files"
]
ABOUT = ("class", "file")  # what `Pictures.about` tells
TEST_SHARE = 0.2  # of the images, where no test split was published


@dataclass
class RawImages:
    """A set of images as it was read. `x` (N, C, H, W) uint8; `label` (N,) says which of `classes`, -1 for unknown.

    `is_test` (N,) bool is the published split, None where there is none; `names` are the files', where each has its
    own. `warnings` say what could not be read.
    """

    x: np.ndarray
    label: np.ndarray | None
    classes: list[str]
    fingerprint: str
    is_test: np.ndarray | None = None
    names: list[str] | None = None
    warnings: list[str] = field(default_factory=list)

    def about(self, index: int) -> list[str]:
        """An image's class and file; empty where it has none"""
        label = -1 if self.label is None else int(self.label[index])
        return [self.classes[label] if label >= 0 else "", self.names[index] if self.names else ""]

    @property
    def reader(self) -> ImageReader:
        """What makes new files images like these."""
        return ImageReader([int(size) for size in self.x.shape[1:]], self.classes)


@dataclass
class ImageSplit:
    """Some of the images: `x` (N, C, H, W) uint8, `label` (N,) or None, `row` (N,) their number in the whole set."""

    x: np.ndarray
    label: np.ndarray | None
    row: np.ndarray


@dataclass
class ImageData:
    """What `ssl reconstruct` needs of a data set. `splits`: train, test, and val where some are held out."""

    splits: dict[str, ImageSplit]
    classes: list[str]
    fingerprint: str
    warnings: list[str] = field(default_factory=list)

    @property
    def reader(self) -> ImageReader:
        """What makes new files images like these."""
        return ImageReader(self.facts["shape"], self.classes)

    @property
    def facts(self) -> dict[str, list[int]]:
        return {"shape": [int(size) for size in self.splits["train"].x.shape[1:]]}


@dataclass(kw_only=True)
class OneClassImages(OneClassData):
    """`pictures` are the images as they were read, for whoever must show one as its owner knows it."""

    rows: ClassVar[str] = "images"

    images: RawImages

    @property
    def size(self) -> str:
        return in_words(self.facts["shape"])


@dataclass(kw_only=True)
class Images(OneClass):
    """Images, and how each verb parts them; each data set says how it is read."""

    kind: ClassVar[str] = "image"
    rows: ClassVar[str] = "images"

    val: Annotated[float, Range(0, 1, open_high=True), "share of the training images held out to watch"] = 0.05
    normal: Annotated[int | str | list[int | str], "the class (or classes) of normal images, by name or number"] = 0

    def read(self) -> RawImages:
        """The images as they are. Raises InputError where they can't be found or read."""
        raise NotImplementedError(f"{type(self).__name__} doesn't say how it is read")

    def image_splits(self, seed: int) -> ImageData:
        """Read, and part into train, val and test: as published, what wasn't by the seed."""
        found = self.read()
        n = len(found.x)
        rng = np.random.default_rng([seed, 1])
        order = rng.permutation(n)
        is_test = found.is_test
        if is_test is None:
            is_test = np.zeros(n, bool)
            is_test[order[: round(TEST_SHARE * n)]] = True
        train = order[~is_test[order]]
        n_val = round(self.val * len(train))
        index = {"train": train[n_val:], "val": train[:n_val], "test": np.flatnonzero(is_test)}
        if len(index["train"]) < 2 or not len(index["test"]):
            held_out = f" with data.val={self.val}" if len(index["val"]) else ""
            left = ", ".join(f"{len(rows):,} {name}" for name, rows in index.items() if name != "val" or held_out)
            raise InputError(
                f"The {n:,} images can't be parted{held_out}: that leaves {left}, and there must be two to train on "
                "and one to test on at least."
            )
        splits = {
            name: ImageSplit(gathered(found.x, rows), None if found.label is None else found.label[rows], rows)
            for name, rows in ((name, np.sort(rows)) for name, rows in index.items() if len(rows))
        }
        return ImageData(splits, found.classes, found.fingerprint, found.warnings)

    def one_class_splits(
        self, seed: int, hold_out: bool = True, val: bool = False, dev: bool = False
    ) -> OneClassImages:
        """Read, and part by the one-class protocol (see `OneClass.part`): some classes are normal, others anomalies.

        A published split is not kept to: it parts each class, and here the anomalies' training images would be lost.
        """
        found = self.read()
        anomaly = ~np.isin(found.label, self._normal(found)) if found.label is not None else self._unlabelled()
        index = self.split(anomaly, None, seed, hold_out, val, dev)
        splits = {
            name: OneClassSplit(gathered(found.x, rows), anomaly[rows], rows, rows) for name, rows in index.items()
        }
        strange = [name for k, name in enumerate(found.classes) if k not in self._normal(found)]
        names = ", ".join(found.classes[k] for k in self._normal(found))
        return OneClassImages(
            splits=splits,
            images=found,
            preprocessor=found.reader,
            fingerprint=found.fingerprint,
            notes=[f"normal: {names}; anomalies: {', '.join(strange) or 'none'}"],
            warnings=found.warnings,
        )

    def _unlabelled(self) -> np.ndarray:
        raise InputError(
            "These images have no labels, so nothing says which are normal (data.normal): put each class in a folder "
            "of its own."
        )

    def _normal(self, found: RawImages) -> list[int]:
        """The numbers of the normal classes. A number in `normal` is first looked for among the classes' names."""
        assert found.label is not None
        if (found.label < 0).any():
            n = int((found.label < 0).sum())
            raise InputError(f"{n:,} images have no label, so nothing says whether they are normal.")
        numbered = not any(name.isdigit() for name in found.classes)  # else 3 could mean two classes
        wanted = []
        for value in self.normal if isinstance(self.normal, list) else [self.normal]:
            if str(value) in found.classes:
                wanted.append(found.classes.index(str(value)))
            elif numbered and isinstance(value, int) and 0 <= value < len(found.classes):
                wanted.append(value)
            else:
                hint = nearest(str(value), found.classes)
                raise InputError(
                    f"data.normal={value} is no class.{hint} The classes are {', '.join(found.classes[:50])}."
                )
        if not wanted:
            raise InputError(f"data.normal names no class; the classes are {', '.join(found.classes[:50])}.")
        return sorted(set(wanted))


@dataclass(kw_only=True)
class Digits(Images):
    """Handwritten digits, embedded in scikit-learn: 1,797 images of 8 x 8 (UCI's optdigits test set)."""

    def read(self) -> RawImages:
        from sklearn.datasets import load_digits

        raw = load_digits()
        x = np.round(raw.images * (255 / 16)).astype(np.uint8)[:, None]
        label = raw.target.astype(np.int64)
        return RawImages(x, label, [str(name) for name in raw.target_names], digest(x, label))


@dataclass(kw_only=True)
class Mnist(Images):
    """MNIST and what is published like it: four idx files, gzipped or not; or Parquet, as on the hub."""

    page: ClassVar[str] = "https://huggingface.co/datasets/ylecun/mnist or http://yann.lecun.com/exdb/mnist"
    classes: ClassVar[list[str]] = [str(digit) for digit in range(10)]

    dir: str
    hub: Hub = None

    def read(self) -> RawImages:
        folder = Path(self.dir).expanduser()
        otherwise = where_from(folder, self.page)
        if (hub := source(folder, self.hub)) is not None:
            return published(read_hub(hub, ("image", "label"), [1, 28, 28], otherwise), self.classes)
        parts = {"train": "train", "test": "t10k"}
        images = {name: read_idx(folder, f"{part}-images-idx3-ubyte", 3, otherwise) for name, part in parts.items()}
        labels = {name: read_idx(folder, f"{part}-labels-idx1-ubyte", 1, otherwise) for name, part in parts.items()}
        return published({name: (images[name][:, None], labels[name]) for name in parts}, self.classes)


@dataclass(kw_only=True)
class FashionMnist(Mnist):
    """Zalando's articles of clothing, published like MNIST (arXiv 1708.07747)."""

    page: ClassVar[str] = "https://github.com/zalandoresearch/fashion-mnist"
    classes: ClassVar[list[str]] = [
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ]


def published(parted: Parted, classes: list[str]) -> RawImages:
    """Images and labels that come in the splits train and test. Raises InputError where they don't fit each other."""
    for split, (x, label) in parted.items():
        if len(x) != len(label):
            raise InputError(f"The {split} split has {len(x):,} images and {len(label):,} labels.")
        if len(label) and not (label.min() >= -1 and label.max() < len(classes)):
            raise InputError(f"The {split} split has a label {label.max()}; there are {len(classes)} classes, from 0.")
    images, labels = zip(*parted.values(), strict=True)
    if len({x.shape[1:] for x in images}) > 1:
        raise InputError(f"The images differ in size: {', '.join(str(x.shape[1:]) for x in images)}.")
    if 0 in images[0].shape[1:]:
        raise InputError(f"The images have no pixels: they are {' x '.join(map(str, images[0].shape[1:]))}.")
    x, label = np.concatenate(images), np.concatenate(labels).astype(np.int64)
    is_test = np.repeat([split == "test" for split in parted], [len(x) for x in images])
    return RawImages(x, label, classes, digest(x, label, is_test), is_test)


def gathered(x: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """`x[rows]`: in memory where x is, else mapped from a file without a name, which goes when it is used no more."""
    if not isinstance(x, np.memmap):
        return x[rows]
    with tempfile.TemporaryFile(dir=Path(str(x.filename)).parent) as file:
        for start in range(0, len(rows), 4096):
            file.write(x[rows[start : start + 4096]].tobytes())
        file.flush()
        return np.memmap(file, np.uint8, "r+", shape=(len(rows), *x.shape[1:]))


def in_words(shape: list[int]) -> str:
    """Of an image (C, H, W): 28 x 28 grey"""
    channels, height, width = shape
    return f"{height} x {width} {'grey' if channels == 1 else 'RGB'}"


def digest(*arrays: np.ndarray) -> str:
    """Of the images, and of what else of them decides how a run comes out: labels, and the published split."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()
