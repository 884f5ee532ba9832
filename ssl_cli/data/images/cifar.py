"""CIFAR-10: 60,000 colour photographs of ten classes, 32 x 32 pixels (Krizhevsky, 2009)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ssl_cli.data.images.datasets import Hub, Images, RawImages, join_splits
from ssl_cli.data.images.parquet import download_hint, parquet_source, read_parquet_splits
from ssl_cli.errors import InputError

PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html (the binary version)"
SHAPE = [3, 32, 32]
RECORD_BYTES = 1 + 3 * 32 * 32  # the label, then red, green and blue, row by row
CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
FILES = {"train": [f"data_batch_{k}.bin" for k in range(1, 6)], "test": ["test_batch.bin"]}


@dataclass(kw_only=True)
class Cifar10(Images):
    """CIFAR-10 from its binary files, or from Parquet, as on the hub. Its "python version", pickles, is not read."""

    dir: str
    hub: Hub = None

    def read(self) -> RawImages:
        """Read both splits. Raises InputError if files are missing or damaged."""
        folder = Path(self.dir).expanduser()
        hint = download_hint(folder, PAGE)
        if (parquet := parquet_source(folder, self.hub)) is not None:
            return join_splits(read_parquet_splits(parquet, ("img", "label"), SHAPE, hint), CLASSES)
        folder = next((path for path in (folder, folder / "cifar-10-batches-bin") if _is_binary(path)), folder)
        _check_not_pickled(folder, hint)
        splits = {}
        for split, names in FILES.items():
            records = np.concatenate([_read_records(folder / name, hint) for name in names])  # (N, RECORD_BYTES)
            splits[split] = records[:, 1:].reshape(-1, *SHAPE), records[:, 0]
        return join_splits(splits, _class_names(folder))


def _is_binary(folder: Path) -> bool:
    return (folder / FILES["train"][0]).is_file()


def _check_not_pickled(folder: Path, hint: str) -> None:
    if _is_binary(folder):
        return
    for place in (folder, folder / "cifar-10-batches-py"):
        if (pickle := place / "data_batch_1").is_file():
            raise InputError(f"{pickle} is a pickle, which may run code when it is read, so it is not read. {hint}")


def _read_records(path: Path, hint: str) -> np.ndarray:
    """Return the records of a file, (N, RECORD_BYTES) uint8."""
    try:
        raw = np.frombuffer(path.read_bytes(), np.uint8)
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing. {hint}") from error
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}.") from error
    if not len(raw) or len(raw) % RECORD_BYTES:
        raise InputError(
            f"{path} is damaged: its {len(raw):,} bytes are not a whole number of records of {RECORD_BYTES:,} bytes."
        )
    return raw.reshape(-1, RECORD_BYTES)


def _class_names(folder: Path) -> list[str]:
    """Return the names in batches.meta.txt, one per line, if there is such a file, else the usual ones."""
    path = folder / "batches.meta.txt"
    if not path.is_file():
        return CLASSES
    names = path.read_text(encoding="utf-8", errors="replace").split()
    if len(names) != len(CLASSES) or len(set(names)) != len(names):
        raise InputError(f"{path} must name {len(CLASSES)} classes, one per line, not {len(names)}.")
    return names
