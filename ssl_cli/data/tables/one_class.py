"""Tables under the one-class protocol: a file's columns, labels of its rows -> encoded splits."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import pyarrow as pa

from ssl_cli.data.io.arrow import FileLayout
from ssl_cli.data.one_class import OneClass, OneClassData, OneClassSplit
from ssl_cli.data.tables.preprocessing import Scaling, TablePreprocessor
from ssl_cli.errors import InputError


@dataclass
class LabelledTable:
    """A file's feature columns; `anomaly` (N,) bool, or None where nothing says which rows are normal.

    `parts` (N,) tells a published split ("train" or "test"), where there is one, and `row` (N,) its number in the file.
    `layout` is the file's, where there is one.
    """

    columns: pa.Table
    anomaly: np.ndarray | None
    fingerprint: str
    parts: np.ndarray | None = None
    row: np.ndarray | None = None
    layout: FileLayout | None = None


@dataclass(kw_only=True)
class TableData(OneClassData):
    """`columns` is the table as it was read, for whoever must show a row as its owner knows it."""

    rows: ClassVar[str] = "rows"

    columns: pa.Table

    @property
    def size(self) -> str:
        return f"{len(self.preprocessor.features)} features"


@dataclass(kw_only=True)
class OneClassTable(OneClass):
    """A table under the one-class protocol; each data set says how it is read."""

    kind: ClassVar[str] = "table"
    rows: ClassVar[str] = "rows"

    scaling: Annotated[Scaling, "power: make skewed numbers symmetric before they are standardised"] = "standard"

    def read(self) -> LabelledTable:
        """The file as it is. Raises InputError where it can't be found or read."""
        raise NotImplementedError(f"{type(self).__name__} doesn't say how it is read")

    def one_class_splits(self, seed: int, hold_out: bool = True, val: bool = False, dev: bool = False) -> TableData:
        """Read, split by the seed (see `OneClass.part`), fit the encoder on the training rows, encode every split."""
        table = self.read()
        n_rows = table.columns.num_rows
        anomaly = np.zeros(n_rows, bool) if table.anomaly is None else table.anomaly
        index = self.split(anomaly, table.parts, seed, hold_out, val, dev)
        encoder = TablePreprocessor.fit(table.columns.take(pa.array(index["train"])), self.scaling, table.layout)
        x = encoder.transform(table.columns)  # (N, D)
        number = np.arange(n_rows) if table.row is None else table.row
        splits = {
            name: OneClassSplit(x[rows], None if table.anomaly is None else table.anomaly[rows], number[rows], rows)
            for name, rows in index.items()
        }
        notes = [f"column {name} is left out: {reason}" for name, reason in encoder.dropped.items()]
        return TableData(
            splits=splits, columns=table.columns, preprocessor=encoder, fingerprint=table.fingerprint, notes=notes
        )


def find(given: str | None, folder: str | Path, published: list[str], page: str, override: str = "data.file") -> Path:
    """The path given by `override`, or the first of the published file names that lies in `folder`.

    Raises InputError, with the page to download it from, where there is none.
    """
    if given is not None:
        return Path(given).expanduser()
    folder = Path(folder).expanduser()
    for name in published:
        if (folder / name).is_file():
            return folder / name
    raise InputError(
        f"{folder / published[0]} is missing. Download it from {page} and put it there, or say {override}=PATH."
    )
