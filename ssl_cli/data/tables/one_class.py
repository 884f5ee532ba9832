"""Tables under the one-class protocol: a file's columns and labels become preprocessed splits."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, cast, get_args

import numpy as np
import pyarrow as pa

from ssl_cli.config.types import Pattern
from ssl_cli.data.io.arrow import FileLayout
from ssl_cli.data.io.cells import read_cells
from ssl_cli.data.one_class import OneClass, OneClassData, OneClassSplit
from ssl_cli.data.tables.dates import MISSING
from ssl_cli.data.tables.downloads import PublishedFile, fetch_file
from ssl_cli.data.tables.features import Column, Scaling
from ssl_cli.data.tables.preprocessing import TablePreprocessor
from ssl_cli.data.tables.readings import ReadAs, Reading, ReadingOptions, parse_read_as
from ssl_cli.data.tables.reasons import Cell, cell_texts
from ssl_cli.errors import InputError

# Hydra divides {a:b:drop} at its first colon: the rest of a name may stand before its reading.
ReadingAfterColon = Annotated[str, Pattern(rf".*:({'|'.join(get_args(ReadAs))})", "a reading")]
ReadingsText = Annotated[str, Pattern(r"[^:]+:.*", "a reading for each name, such as {zip:category}")]


@dataclass
class LabelledTable:
    """The feature columns of a file, and its labels.

    `anomaly` (N,) bool, or None without labels. `published_split` (N,): "train" or "test", if there is one. `row` (N,):
    the rows' numbers in their file, if they are not 0, 1, 2, ... `layout`: that of the file, if there is one; `files`:
    the files that the rows are from, in order. `readings`: what there is to say of columns that are not features.
    """

    columns: pa.Table
    anomaly: np.ndarray | None
    fingerprint: str
    published_split: np.ndarray | None = None
    row: np.ndarray | None = None
    layout: FileLayout | None = None
    files: tuple[Path, ...] = ()
    readings: list[Reading] = field(default_factory=list)


@dataclass(kw_only=True)
class TableData(OneClassData):
    """One-class splits of a table. `columns` is the table as it was read, `files` are those that it was read from."""

    rows: ClassVar[str] = "rows"

    columns: pa.Table
    files: tuple[Path, ...] = ()

    @property
    def size(self) -> str:
        """The number of features, for messages."""
        return f"{len(self.preprocessor.feature_names)} features"

    @property
    def categories(self) -> list[list[int]]:
        """Return the first and end feature of each category."""
        return [
            [block.start, block.stop]
            for column, block in self.preprocessor.feature_slices
            if column["kind"] == "symbol"
        ]

    def original_values(self, cells: Sequence[tuple[Column, int]]) -> dict[Cell, str]:
        """Return the values of some cells as they are in the file, "(missing)" if there is none; see `cell_texts`.

        Each cell is a column of the preprocessor, and a row's position in the table.
        """
        whole = list(dict.fromkeys(column["name"] for column, _ in cells if "part" not in column))
        written = read_cells(self.files, self.preprocessor.layout, whole, sorted({row for _, row in cells}))
        shown = cell_texts(self.preprocessor, self.columns, cells, None)
        return {place: text if text == MISSING else written.get(place, text) for place, text in shown.items()}


@dataclass(kw_only=True)
class OneClassTable(OneClass):
    """A table under the one-class protocol. Each data set implements `read`."""

    kind: ClassVar[str] = "table"
    rows: ClassVar[str] = "rows"

    scaling: Annotated[Scaling, "standard; or power: make skewed numbers symmetric before they are standardised"] = (
        "standard"
    )
    read_as: Annotated[
        dict[str, ReadAs | ReadingAfterColon] | ReadingsText,
        "how to read columns, by name: {zip: category, amount: number, when: date, note: drop}",
    ] = field(default_factory=dict)

    @property
    def reading_options(self) -> ReadingOptions:
        """What the user decides of how columns are read."""
        read_as = parse_read_as(self.read_as) if isinstance(self.read_as, str) else self.read_as
        pairs = [f"{name}:{reading}".rpartition(":") for name, reading in read_as.items()]
        return ReadingOptions({name: cast(ReadAs, reading) for name, _, reading in pairs})

    def read(self) -> LabelledTable:
        """Return the file's table. Raises InputError if it cannot be found or read."""
        raise NotImplementedError(f"{type(self).__name__} must implement read")

    def one_class_splits(self, seed: int, hold_out: int = 1, val: bool = False, dev: bool = False) -> TableData:
        """Read the table, split it by the seed, fit the preprocessor on the training rows and transform every split.

        The options are those of `OneClass.split`.
        """
        table = self.read()
        n_rows = table.columns.num_rows
        anomaly = np.zeros(n_rows, bool) if table.anomaly is None else table.anomaly
        index = self.split(anomaly, table.published_split, seed, hold_out, val, dev)
        preprocessor = TablePreprocessor.fit(
            table.columns, self.scaling, table.layout, index["train"], self.reading_options
        )
        preprocessor.readings += table.readings
        x = preprocessor.transform(table.columns)  # (N, D)
        row = np.arange(n_rows) if table.row is None else table.row
        splits = {
            name: OneClassSplit(x[chosen], None if table.anomaly is None else anomaly[chosen], row[chosen], chosen)
            for name, chosen in index.items()
        }
        return TableData(
            splits=splits,
            columns=table.columns,
            files=table.files,
            preprocessor=preprocessor,
            fingerprint=table.fingerprint,
        )


def find_file(
    path: str | None,
    folder: str | Path,
    published: list[str],
    page: str,
    option: str = "data.file",
    source: PublishedFile | None = None,
    download: bool = False,
) -> Path:
    """Return `path` if it is set by the user's `option`, or the first of the published file names found in `folder`.

    If there is none, `download` fetches it from `source`. Raises InputError, with the page to download it from, if it
    isn't to be fetched, or can't be.
    """
    if path is not None:
        return Path(path).expanduser()
    folder = Path(folder).expanduser()
    for name in published:
        if (folder / name).is_file():
            return folder / name
    by_hand = f"Download it from {page} and put it there, or set {option}=PATH"
    if source is not None and download:
        return fetch_file(source, folder / published[0], f"{by_hand}.")
    fetched = "" if source is None else f"; data.download=true fetches it from {source.site}, without an account"
    raise InputError(f"{folder / published[0]} is missing. {by_hand}{fetched}.")
