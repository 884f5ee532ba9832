"""Images as the Hugging Face hub publishes them: Parquet files, a column of encoded images and one of labels."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ssl_cli.data.images.archive import THREADS
from ssl_cli.data.images.decode import decoded
from ssl_cli.data.io.hub_errors import in_words
from ssl_cli.errors import InputError

AT_ONCE = 1024  # images
SPLITS = ("train", "test")
Parted = dict[str, tuple[np.ndarray, np.ndarray]]  # split -> images (N, C, H, W) uint8, labels (N,)


def source(folder: Path, hub: str | None) -> str | Path | None:
    """Where Parquet files are had from: `hub` where that is a folder, `folder` where it holds some, and the hub where
    there is no such folder. None: from nowhere, so that the folder's other files are to be read.

    Raises InputError where `folder` is a file.
    """
    if folder.is_file():
        raise InputError(f"data.dir={folder} is a file: name the folder that it lies in.")
    if hub is not None and Path(hub).expanduser().is_dir():
        return hub
    if folder.is_dir():
        return folder if parquet_files(folder) else None
    return hub


def where_from(folder: Path, page: str) -> str:
    """What to do where a published data set isn't there."""
    return (
        f"Download its files from {page} and put them in {folder}, or say data.dir=PATH where they lie elsewhere, "
        "or data.hub=ID for a data set of the hub (or a folder of its Parquet files)."
    )


def parquet_files(folder: Path) -> dict[str, list[str]]:
    """The Parquet files of each split in a folder, or one below it, named as the hub does: train-00000-of-00001."""
    found = sorted(path for pattern in ("*.parquet", "*/*.parquet") for path in folder.glob(pattern))
    parted = {split: [str(path) for path in found if path.name.startswith(split)] for split in SPLITS}
    return {split: paths for split, paths in parted.items() if paths}


def read_hub(hub: str | Path, columns: tuple[str, str], shape: list[int], otherwise: str) -> Parted:
    """The splits train and test of a folder of Parquet files, or of a data set on the hub by its id.

    `columns` are those of the image and the label; all images must have the `shape` (C, H, W). Raises InputError, which
    ends in `otherwise`, where they can't be had.
    """
    try:
        sets = _opened(hub)
        return {split: _decoded(str(hub), sets[split], columns, shape) for split in SPLITS}
    except InputError as error:
        raise InputError(f"{error} {otherwise}") from error
    except Exception as error:  # the hub, the network and the disk fail in many ways
        raise InputError(f"{hub} can't be read: {in_words(error)}. {otherwise}") from error


def _opened(hub: str | Path) -> Any:
    """Split -> what gives Arrow tables. Only a data set of the hub is kept in the cache of `datasets`."""
    import datasets  # takes half a second, and is needed here only

    datasets.disable_progress_bars()
    folder = Path(hub).expanduser()
    if not folder.is_dir():
        return datasets.load_dataset(str(hub))
    files = parquet_files(folder)
    if set(files) != set(SPLITS):
        raise InputError(f"{folder} must hold Parquet files whose names begin with train, and others with test.")
    return datasets.load_dataset("parquet", data_files=files, streaming=True)


def _decoded(hub: str, dataset: Any, columns: tuple[str, str], shape: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, C, H, W) and labels (N,)"""
    x, label = [], []
    with ThreadPoolExecutor(THREADS) as threads:
        for table in _tables(dataset):
            if absent := [name for name in columns if name not in table.column_names]:
                raise InputError(f"{hub} lacks the column {absent[0]}; it has {', '.join(table.column_names)}.")
            contents = table[columns[0]].combine_chunks()
            contents = contents.field("bytes") if pa.types.is_struct(contents.type) else contents
            images = threads.map(lambda content: decoded(content.as_py() or b"", shape, stretch=False), contents)
            try:
                x += list(images)
            except InputError as error:
                raise InputError(f"{hub}: the image {len(x)} can't be read: {error}.") from error
            label.append(_labels(hub, columns[1], table[columns[1]]))
    if not x:
        raise InputError(f"{hub} holds no image.")
    return np.stack(x), np.concatenate(label)


def _labels(hub: str, name: str, values: pa.ChunkedArray) -> np.ndarray:
    """(N,) int64"""
    if not pa.types.is_integer(values.type) or values.null_count:
        raise InputError(f"{hub}: the column {name} must hold the classes' numbers, all of them; it has {values.type}.")
    return values.to_numpy().astype(np.int64)


def _tables(dataset: Any) -> Iterator[pa.Table]:
    yield from dataset.with_format("arrow").iter(batch_size=AT_ONCE)
