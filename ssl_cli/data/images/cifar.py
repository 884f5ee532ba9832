"""CIFAR-10: 60,000 colour photographs of ten classes (Krizhevsky, 2009), 32 x 32."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ssl_cli.data.images.datasets import Hub, Images, RawImages, published
from ssl_cli.data.images.parquet import read_hub, source, where_from
from ssl_cli.errors import InputError

PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html (the binary version)"
SHAPE = [3, 32, 32]
RECORD = 1 + 3 * 32 * 32  # bytes: the label, then red, green and blue, row by row
CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
FILES = {"train": [f"data_batch_{k}.bin" for k in range(1, 6)], "test": ["test_batch.bin"]}


@dataclass(kw_only=True)
class Cifar10(Images):
    """Its published binary files, or Parquet, as on the hub. The pickles of the "python version" are not read."""

    dir: str
    hub: Hub = None

    def read(self) -> RawImages:
        folder = Path(self.dir).expanduser()
        otherwise = where_from(folder, PAGE)
        if (hub := source(folder, self.hub)) is not None:
            return published(read_hub(hub, ("img", "label"), SHAPE, otherwise), CLASSES)
        folder = next((place for place in (folder, folder / "cifar-10-batches-bin") if _is_binary(place)), folder)
        _refuse_pickles(folder, otherwise)
        parted = {}
        for split, names in FILES.items():
            records = np.concatenate([_records(folder / name, otherwise) for name in names])  # (N, RECORD)
            parted[split] = records[:, 1:].reshape(-1, *SHAPE), records[:, 0]
        return published(parted, _class_names(folder))


def _is_binary(folder: Path) -> bool:
    return (folder / FILES["train"][0]).is_file()


def _refuse_pickles(folder: Path, otherwise: str) -> None:
    if _is_binary(folder):
        return
    for place in (folder, folder / "cifar-10-batches-py"):
        if (pickle := place / "data_batch_1").is_file():
            raise InputError(f"{pickle} is a pickle, which may run code when it is read, so it isn't. {otherwise}")


def _records(path: Path, otherwise: str) -> np.ndarray:
    """(N, RECORD) uint8"""
    try:
        raw = np.frombuffer(path.read_bytes(), np.uint8)
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing. {otherwise}") from error
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}.") from error
    if not len(raw) or len(raw) % RECORD:
        raise InputError(f"{path} is damaged: its {len(raw):,} bytes are no whole number of records of {RECORD:,}.")
    return raw.reshape(-1, RECORD)


def _class_names(folder: Path) -> list[str]:
    """Those of batches.meta.txt, a name a line, where it lies there too."""
    path = folder / "batches.meta.txt"
    if not path.is_file():
        return CLASSES
    names = path.read_text(encoding="utf-8", errors="replace").split()
    if len(names) != len(CLASSES) or len(set(names)) != len(names):
        raise InputError(f"{path} must name {len(CLASSES)} classes, one a line, not {len(names)}.")
    return names
