"""Image datasets: files in a published layout -> arrays of bytes (N, C, H, W), in the splits that a verb needs."""

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np

from ssl_cli.config.choices import did_you_mean
from ssl_cli.config.types import Path as FilePath
from ssl_cli.config.types import Range
from ssl_cli.data.images.idx import read_idx
from ssl_cli.data.images.parquet import LabelledSplits, download_hint, parquet_source, read_parquet_splits
from ssl_cli.data.images.reader import ImageReader
from ssl_cli.data.one_class import OneClass, OneClassData, OneClassSplit
from ssl_cli.errors import InputError

Hub = Annotated[
    FilePath | None, "dataset on the Hugging Face hub, used if `dir` does not exist; or a folder of its Parquet files"
]
DESCRIPTION_COLUMNS = ("class", "file")  # what `RawImages.describe` returns
TEST_SHARE = 0.2  # of the images, if no test split is published
# Facts on what random views may be, defaults of `Augment`'s options: of things, which stay the same in a mirror or half
# out of the picture; and of letters and digits, which do not, but which people write at an angle.
VIEWS_OF_THINGS = {"view_crop": 0.2, "view_flip": 0.5, "view_turn": 0.0, "view_shear": 0.0}
VIEWS_OF_LETTERS = {"view_crop": 0.5, "view_flip": 0.0, "view_turn": 15.0, "view_shear": 0.2}


@dataclass
class RawImages:
    """A dataset as it was read. `x` (N, C, H, W) uint8; `label` (N,) indexes `classes`, -1 if unknown.

    `is_test` (N,) bool is the published split, None if there is none; `names` are those of the files, if each image
    has a file. `warnings` say what could not be read.
    """

    x: np.ndarray
    label: np.ndarray | None
    classes: list[str]
    fingerprint: str
    is_test: np.ndarray | None = None
    names: list[str] | None = None
    warnings: list[str] = field(default_factory=list)

    def describe(self, index: int) -> list[str]:
        """Return the class and the file of an image, each "" if it has none."""
        label = -1 if self.label is None else int(self.label[index])
        return [self.classes[label] if label >= 0 else "", self.names[index] if self.names else ""]

    @property
    def reader(self) -> ImageReader:
        """Return the reader that converts new files to images like these."""
        return ImageReader([int(size) for size in self.x.shape[1:]], self.classes)


@dataclass
class ImageSplit:
    """A split: `x` (N, C, H, W) uint8, `label` (N,) or None, and `row` (N,), the images' index in the whole dataset."""

    x: np.ndarray
    label: np.ndarray | None
    row: np.ndarray


@dataclass
class ImageData:
    """Data to learn from without labels. `splits`: train, test, and val if some images are held out.

    `views` says what random views of these images may be. `names` are those of all images' files, by `row`, if each
    has one; `test_is_published` says whether the test images are the same for every seed.
    """

    splits: dict[str, ImageSplit]
    classes: list[str]
    fingerprint: str
    warnings: list[str] = field(default_factory=list)
    views: Mapping[str, float] = field(default_factory=lambda: VIEWS_OF_THINGS)
    names: list[str] | None = None
    test_is_published: bool = False

    @property
    def reader(self) -> ImageReader:
        """Return the reader that converts new files to images like these."""
        return ImageReader(self.facts["shape"], self.classes)

    @property
    def facts(self) -> dict[str, Any]:
        """Return the facts for the config: the shape (C, H, W) of an image, which has no categories, and what its
        random views may be."""
        shape = [int(size) for size in self.splits["train"].x.shape[1:]]
        return {"shape": shape, "categories": [], **self.views}


@dataclass(kw_only=True)
class OneClassImages(OneClassData):
    """Data of `ssl detect`. `images` are the images as they were read, with their names and classes for reports."""

    rows: ClassVar[str] = "images"

    images: RawImages

    @property
    def size(self) -> str:
        """Return the shape of an image as text."""
        return format_shape(self.facts["shape"])


@dataclass(kw_only=True)
class Images(OneClass):
    """An image dataset and its splits for each verb; subclasses define how it is read."""

    kind: ClassVar[str] = "image"
    rows: ClassVar[str] = "images"
    offers: ClassVar[Mapping[str, type]] = {**OneClass.offers, **dict.fromkeys(VIEWS_OF_THINGS, float)}
    views: ClassVar[Mapping[str, float]] = VIEWS_OF_THINGS

    val: Annotated[float, Range(0, 1, open_high=True), "share of the training images held out for validation"] = 0.05
    normal: Annotated[int | str | list[int | str], "the class (or classes) of normal images, by name or number"] = 0

    def read(self) -> RawImages:
        """Return all images. Raises InputError if they can't be found or read."""
        raise NotImplementedError(f"{type(self).__name__} does not define read")

    def image_splits(self, seed: int) -> ImageData:
        """Read the images and split them into train, val and test: as published; otherwise at random, by the seed."""
        images = self.read()
        n = len(images.x)
        rng = np.random.default_rng([seed, 1])
        order = rng.permutation(n)
        is_test = images.is_test
        if is_test is None:
            is_test = np.zeros(n, bool)
            is_test[order[: round(TEST_SHARE * n)]] = True
        train = order[~is_test[order]]
        n_val = round(self.val * len(train))
        index = {"train": train[n_val:], "val": train[:n_val], "test": np.flatnonzero(is_test)}
        if len(index["train"]) < 2 or not len(index["test"]):
            held_out = f" with data.val={self.val}" if len(index["val"]) else ""
            sizes = ", ".join(f"{len(rows):,} {name}" for name, rows in index.items() if name != "val" or held_out)
            raise InputError(
                f"The {n:,} images can't be split{held_out}: that leaves {sizes}, but at least two are needed for "
                "training and one for the test."
            )
        splits = {
            name: ImageSplit(gather_rows(images.x, rows), None if images.label is None else images.label[rows], rows)
            for name, rows in ((name, np.sort(rows)) for name, rows in index.items() if len(rows))
        }
        is_published = images.is_test is not None
        about = (images.warnings, self.views, images.names, is_published)
        return ImageData(splits, images.classes, images.fingerprint, *about)

    def one_class_splits(
        self, seed: int, hold_out: int = 1, val: bool = False, dev: bool = False
    ) -> OneClassImages:
        """Read the images and split them by the one-class protocol (see `OneClass.split`): some classes are normal.

        A published split is ignored: it splits each class, and the training images of anomalous classes would be lost.
        """
        images = self.read()
        if images.label is None:
            raise InputError(
                "These images have no labels, so it is unknown which are normal (data.normal): put the images of each "
                "class in a separate folder."
            )
        normal = self._normal_classes(images)
        anomaly = ~np.isin(images.label, normal)
        index = self.split(anomaly, None, seed, hold_out, val, dev)
        splits = {
            name: OneClassSplit(gather_rows(images.x, rows), anomaly[rows], rows, rows) for name, rows in index.items()
        }
        normal_names = ", ".join(images.classes[k] for k in normal)
        anomalous_names = ", ".join(name for k, name in enumerate(images.classes) if k not in normal)
        return OneClassImages(
            splits=splits,
            images=images,
            preprocessor=images.reader,
            fingerprint=images.fingerprint,
            notes=[f"normal: {normal_names}; anomalies: {anomalous_names or 'none'}"],
            warnings=images.warnings,
        )

    def _normal_classes(self, images: RawImages) -> list[int]:
        """Return the indices of the normal classes. A number in `normal` may also be the name of a class."""
        assert images.label is not None
        if (images.label < 0).any():
            n = int((images.label < 0).sum())
            raise InputError(f"{n:,} images have no label, so it is unknown whether they are normal.")
        by_index = not any(name.isdigit() for name in images.classes)  # else 3 could mean two classes
        normal = []
        for value in self.normal if isinstance(self.normal, list) else [self.normal]:
            if str(value) in images.classes:
                normal.append(images.classes.index(str(value)))
            elif by_index and isinstance(value, int) and 0 <= value < len(images.classes):
                normal.append(value)
            else:
                hint = did_you_mean(str(value), images.classes)
                raise InputError(
                    f"data.normal={value} is not a class.{hint} The classes are {', '.join(images.classes[:50])}."
                )
        if not normal:
            raise InputError(f"data.normal names no class; the classes are {', '.join(images.classes[:50])}.")
        return sorted(set(normal))


@dataclass(kw_only=True)
class Digits(Images):
    """Handwritten digits, installed with scikit-learn: 1,797 images of 8 x 8 (the test set of UCI's optdigits)."""

    views: ClassVar[Mapping[str, float]] = VIEWS_OF_LETTERS

    def read(self) -> RawImages:
        """Read the digits. They have no published split."""
        from sklearn.datasets import load_digits

        raw = load_digits()
        x = np.round(raw.images * (255 / 16)).astype(np.uint8)[:, None]
        label = raw.target.astype(np.int64)
        return RawImages(x, label, [str(name) for name in raw.target_names], hash_arrays(x, label))


@dataclass(kw_only=True)
class Mnist(Images):
    """MNIST and datasets published in its format: four idx files, gzipped or not; or Parquet, as on the hub."""

    views: ClassVar[Mapping[str, float]] = VIEWS_OF_LETTERS
    page: ClassVar[str] = "https://huggingface.co/datasets/ylecun/mnist or http://yann.lecun.com/exdb/mnist"
    classes: ClassVar[list[str]] = [str(digit) for digit in range(10)]

    dir: str
    hub: Hub = None

    def read(self) -> RawImages:
        """Read both splits. Raises InputError if files are missing or damaged."""
        folder = Path(self.dir).expanduser()
        hint = download_hint(folder, self.page)
        if (parquet := parquet_source(folder, self.hub)) is not None:
            return join_splits(read_parquet_splits(parquet, ("image", "label"), [1, 28, 28], hint), self.classes)
        prefixes = {"train": "train", "test": "t10k"}
        images = {split: read_idx(folder, f"{name}-images-idx3-ubyte", 3, hint) for split, name in prefixes.items()}
        labels = {split: read_idx(folder, f"{name}-labels-idx1-ubyte", 1, hint) for split, name in prefixes.items()}
        return join_splits({split: (images[split][:, None], labels[split]) for split in prefixes}, self.classes)


@dataclass(kw_only=True)
class FashionMnist(Mnist):
    """Fashion-MNIST: Zalando's articles of clothing, in the format of MNIST (arXiv 1708.07747)."""

    views: ClassVar[Mapping[str, float]] = VIEWS_OF_THINGS
    page: ClassVar[str] = "https://github.com/zalandoresearch/fashion-mnist"
    classes: ClassVar[list[str]] = [
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ]


def join_splits(splits: LabelledSplits, classes: list[str]) -> RawImages:
    """Return the images of the splits train and test. Raises InputError if images and labels don't match."""
    for split, (x, label) in splits.items():
        if len(x) != len(label):
            raise InputError(f"The {split} split has {len(x):,} images and {len(label):,} labels.")
        if len(label) and not (label.min() >= -1 and label.max() < len(classes)):
            raise InputError(f"The {split} split has a label {label.max()}; there are {len(classes)} classes, from 0.")
    images, labels = zip(*splits.values(), strict=True)
    if len({x.shape[1:] for x in images}) > 1:
        raise InputError(f"The images differ in size: {', '.join(str(x.shape[1:]) for x in images)}.")
    if 0 in images[0].shape[1:]:
        raise InputError(f"The images have no pixels: they are {' x '.join(map(str, images[0].shape[1:]))}.")
    x, label = np.concatenate(images), np.concatenate(labels).astype(np.int64)
    is_test = np.repeat([split == "test" for split in splits], [len(x) for x in images])
    return RawImages(x, label, classes, hash_arrays(x, label, is_test), is_test)


def gather_rows(x: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return `x[rows]`, in memory if x is; otherwise mapped from an unnamed file that is deleted after its last use."""
    if not isinstance(x, np.memmap):
        return x[rows]
    with tempfile.TemporaryFile(dir=Path(str(x.filename)).parent) as file:
        for start in range(0, len(rows), 4096):
            file.write(x[rows[start : start + 4096]].tobytes())
        file.flush()
        return np.memmap(file, np.uint8, "r+", shape=(len(rows), *x.shape[1:]))


def format_shape(shape: list[int]) -> str:
    """Return the shape (C, H, W) of an image as text, such as "28 x 28 grey"."""
    channels, height, width = shape
    return f"{height} x {width} {'grey' if channels == 1 else 'RGB'}"


def hash_arrays(*arrays: np.ndarray) -> str:
    """Return the SHA-256 of arrays: images, and what else affects a run's results, labels and the published split."""
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()
