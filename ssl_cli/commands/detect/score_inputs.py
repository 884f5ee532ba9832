"""Inputs of ssl score: rows of a table, or image files, read and preprocessed for the run's model batch by batch."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from ssl_cli.commands.detect.contributions import column_names
from ssl_cli.commands.detect.score_writer import OWN_COLUMNS
from ssl_cli.data.images.datasets import format_shape
from ssl_cli.data.images.decode import SUFFIXES
from ssl_cli.data.images.reader import ImageReader
from ssl_cli.data.io.arrow import FileLayout
from ssl_cli.data.io.chunks import Chunk, RejectedRow
from ssl_cli.data.io.read_ahead import read_ahead
from ssl_cli.data.io.table_stream import read_chunks
from ssl_cli.data.tables.features import Column
from ssl_cli.data.tables.preprocessing import TablePreprocessor
from ssl_cli.data.tables.reasons import Cell, cell_texts
from ssl_cli.errors import InputError

MB = 1 << 20  # bytes
NAME = "name"  # column with an image's file
TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".gz", ".bz2", ".xz", ".zst", ".lz4", ".parquet", ".npz")


class TableInput:
    """A CSV or Parquet file of any size, to be iterated over once. `keep` are columns to copy to the output.

    `rows` and `unit` are the words for a row and for what `total` counts.
    """

    rows, unit = "rows", "MB"

    def __init__(
        self,
        preprocessor: TablePreprocessor,
        source: Path,
        keep: list[str],
        header: bool | None,
        delimiter: str | None,
        explain: bool,
    ):
        if source.is_dir() or source.suffix.lower() in (*SUFFIXES, ".zip"):
            raise InputError(f"input={source}: the run was trained on a table, so it must be a CSV or Parquet file.")
        if not source.is_file():
            raise InputError(f"input={source} is not a file.")
        if reserved := (OWN_COLUMNS | set(column_names() if explain else [])) & set(keep):
            raise InputError(f"keep={', '.join(sorted(reserved))}: the output has a column of that name already.")
        self.preprocessor, self.source, self.keep = preprocessor, source, keep
        self.total = max(1, source.stat().st_size // MB)
        training = preprocessor.layout
        header = training.header if header is None else header
        self.layout: FileLayout = replace(training, header=header, delimiter=delimiter or training.delimiter)
        self.current: tuple[pa.Table, pa.Table | None] | None = None  # the rows of the last chunk, and the row before
        self.missing: dict[str, int] = {}  # column without missing values in training -> number of missing values

    def __iter__(self) -> Iterator[tuple[Chunk, np.ndarray, int]]:
        """Yield chunks, their valid rows as the model takes them (N, D), and how much is read so far, in `unit`."""
        before = None  # the last valid row: the time since it is a feature of the next block's first
        chunks = read_chunks(self.source, self.preprocessor.column_types, self.layout, self.keep)
        for chunk in chunks if torch.get_num_threads() == 1 else read_ahead(chunks):
            self._count_missing(chunk.table)
            self.current = chunk.table, before
            yield chunk, self.preprocessor.transform(chunk.table, before), chunk.bytes_read // MB
            before = chunk.table[-1:] if len(chunk.table) else before

    def texts(self, cells: Sequence[tuple[Column, int]]) -> dict[Cell, str]:
        """Return the values of some cells of the last chunk, in the units of the file; see `cell_texts`."""
        assert self.current is not None, "no chunk was read yet"
        table, before = self.current
        return cell_texts(self.preprocessor, table, cells, before)

    def _count_missing(self, table: pa.Table) -> None:
        """Count missing values in columns that had none in training."""
        for column in self.preprocessor.columns:
            if column["kind"] == "number" and not column["missing"] and "part" not in column:
                n_missing = pc.sum(pc.is_null(table[column["name"]], nan_is_null=True)).as_py() or 0
                self.missing[column["name"]] = self.missing.get(column["name"], 0) + n_missing

    def warnings(self) -> list[str]:
        """Return warnings about the rows read so far."""
        counts = [f"{name} {count:,}" for name, count in self.missing.items() if count]
        text = "missing values are replaced by the training mean, in columns that had none in training"
        return [f"{text}: {', '.join(counts)}"] if counts else []

    def locate(self, reject: RejectedRow) -> str:
        """Return where a rejected row is in the file, as text."""
        return f"row {reject.row}" if reject.line is None else f"line {reject.line}"


class ImageInput:
    """An image file, or a folder or zip of images. A row's number is that of its file, in the order of names.

    `rows` and `unit` are the words for a row and for what is counted; `total` is unknown.
    """

    rows, unit = "images", "images"
    total = None

    def __init__(
        self,
        reader: ImageReader,
        source: Path,
        keep: list[str],
        header: bool | None,
        delimiter: str | None,
        explain: bool,
    ):
        training = f"the run was trained on images ({format_shape(reader.shape)})"
        if source.suffix.lower() in TABLE_SUFFIXES and not source.is_dir():
            raise InputError(f"input={source}: {training}, so it must be an image, or a folder or zip of images.")
        if not source.exists():
            raise InputError(f"input={source} is neither a file nor a folder.")
        if keep or header is not None or delimiter is not None:
            raise InputError(f"{training}: keep, header and delimiter are for tables; leave them out.")
        if explain:
            raise InputError(f"{training}: explain=true is for tables; leave it out.")
        self.reader, self.source = reader, source

    def __iter__(self) -> Iterator[tuple[Chunk, np.ndarray, int]]:
        """Yield chunks, their images (N, C, H, W) uint8, and how many files are read so far."""
        for batch in self.reader.read_batches(self.source):
            rejects = [RejectedRow(file_id, None, reason, name) for file_id, name, reason in batch.rejected]
            names = {NAME: pa.array(batch.names, pa.string())}
            yield Chunk(pa.table(names), names, batch.file_ids, rejects, batch.n_done), batch.x, batch.n_done

    def warnings(self) -> list[str]:
        """Return warnings about the files besides the images."""
        return self.reader.warnings

    def locate(self, reject: RejectedRow) -> str:
        """Return the name of a rejected file."""
        return reject.text
