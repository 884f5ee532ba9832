"""Image datasets of the Hugging Face hub: Parquet files with a column of encoded images and one of labels."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ssl_cli.data.images.archive import THREADS
from ssl_cli.data.images.decode import decode_image
from ssl_cli.data.io.hub import hub_access
from ssl_cli.data.io.hub_errors import describe_hub_error
from ssl_cli.errors import InputError

PARQUET_BATCH_IMAGES = 1024
SPLITS = ("train", "test")
LabelledSplits = dict[str, tuple[np.ndarray, np.ndarray]]  # split -> images (N, C, H, W) uint8, labels (N,)


def parquet_source(folder: Path, hub: str | None) -> str | Path | None:
    """Return the source of Parquet files, or None if the folder's other files are to be read.

    The source is `hub` if that is a folder, `folder` if it holds Parquet files, and the dataset `hub` if there is no
    such folder. Raises InputError if `folder` is a file.
    """
    if folder.is_file():
        raise InputError(f"data.dir={folder} is a file: name the folder that contains it.")
    if hub is not None and Path(hub).expanduser().is_dir():
        return hub
    if folder.is_dir():
        return folder if parquet_files(folder) else None
    return hub


def download_hint(folder: Path, page: str) -> str:
    """Return a sentence that says how to provide a published dataset that is missing."""
    return (
        f"Download its files from {page} and put them in {folder}, set data.dir=PATH if they are elsewhere, or set "
        "data.hub=ID for a dataset of the hub (or a folder of its Parquet files)."
    )


def parquet_files(folder: Path) -> dict[str, list[str]]:
    """Return the Parquet files of each split in a folder or its sub-folders, named as on the hub (train-*)."""
    paths = sorted(path for pattern in ("*.parquet", "*/*.parquet") for path in folder.glob(pattern))
    files = {split: [str(path) for path in paths if path.name.startswith(split)] for split in SPLITS}
    return {split: names for split, names in files.items() if names}


def read_parquet_splits(hub: str | Path, columns: tuple[str, str], shape: list[int], hint: str) -> LabelledSplits:
    """Return the splits train and test of a folder of Parquet files, or of a dataset on the hub.

    `columns` are those of the images and the labels; all images must have the `shape` (C, H, W). Raises InputError,
    whose message ends in `hint`, if they can't be read.
    """
    try:
        tables = _open(hub)
        return {split: _decode_split(str(hub), tables[split], columns, shape) for split in SPLITS}
    except InputError as error:
        raise InputError(f"{error} {hint}") from error
    except Exception as error:  # the hub, the network and the disk fail in many ways
        raise InputError(f"{hub} can't be read: {describe_hub_error(error)}. {hint}") from error


def _open(hub: str | Path) -> Any:
    """Return a dataset per split. Only those of the hub are kept in the cache of the library `datasets`."""
    import datasets  # takes half a second, and is needed here only

    datasets.disable_progress_bars()
    folder = Path(hub).expanduser()
    if not folder.is_dir():
        with hub_access(str(hub)):
            return datasets.load_dataset(str(hub))
    files = parquet_files(folder)
    if set(files) != set(SPLITS):
        raise InputError(f"{folder} must hold Parquet files whose names begin with train, and others with test.")
    return datasets.load_dataset("parquet", data_files=files, streaming=True)


def _decode_split(hub: str, dataset: Any, columns: tuple[str, str], shape: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return images (N, C, H, W) uint8 and labels (N,)."""
    x, label = [], []
    with ThreadPoolExecutor(THREADS) as threads:
        for table in _tables(dataset):
            if missing := [name for name in columns if name not in table.column_names]:
                raise InputError(f"{hub} has no column {missing[0]}; it has {', '.join(table.column_names)}.")
            contents = table[columns[0]].combine_chunks()
            contents = contents.field("bytes") if pa.types.is_struct(contents.type) else contents
            images = threads.map(lambda content: decode_image(content.as_py() or b"", shape, stretch=False), contents)
            try:
                x += list(images)
            except InputError as error:
                raise InputError(f"{hub}: the image {len(x)} can't be read: {error}.") from error
            label.append(_labels(hub, columns[1], table[columns[1]]))
    if not x:
        raise InputError(f"{hub} holds no image.")
    return np.stack(x), np.concatenate(label)


def _labels(hub: str, name: str, values: pa.ChunkedArray) -> np.ndarray:
    """Return the labels, (N,) int64. Raises InputError if they are not integers, or some are missing."""
    if not pa.types.is_integer(values.type) or values.null_count:
        nulls = f" with {values.null_count:,} null" if values.null_count else ""
        raise InputError(f"{hub}: the column {name} must hold a class number in every row, not {values.type}{nulls}.")
    return values.to_numpy().astype(np.int64)


def _tables(dataset: Any) -> Iterator[pa.Table]:
    yield from dataset.with_format("arrow").iter(batch_size=PARQUET_BATCH_IMAGES)
