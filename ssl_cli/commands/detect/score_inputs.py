"""What `ssl score` reads: a table's rows or image files, piece by piece, made into what the run's model knows."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ssl_cli.commands.detect.score_writer import OWN_COLUMNS
from ssl_cli.data.images.datasets import in_words
from ssl_cli.data.images.decode import SUFFIXES
from ssl_cli.data.images.reader import ImageReader
from ssl_cli.data.io.arrow import FileLayout
from ssl_cli.data.io.chunks import Chunk, Reject, Types
from ssl_cli.data.io.table_stream import stream
from ssl_cli.data.tables.preprocessing import TablePreprocessor
from ssl_cli.errors import InputError

MB = 1 << 20
NAME = "name"  # the column of an image's file
TABLES = (".csv", ".tsv", ".txt", ".gz", ".bz2", ".zst", ".lz4", ".parquet", ".npz")


class TableInput:
    """A CSV or Parquet file of any size; `keep` are columns to carry over. Iterated once."""

    rows, unit = "rows", "MB"

    def __init__(
        self, encoder: TablePreprocessor, source: Path, keep: list[str], header: bool | None, delimiter: str | None
    ):
        if source.is_dir() or source.suffix.lower() in (*SUFFIXES, ".zip"):
            raise InputError(f"input={source}: the run has learned from a table, so it must be a CSV or Parquet file.")
        if not source.is_file():
            raise InputError(f"input={source} is not a file.")
        if taken := OWN_COLUMNS & set(keep):
            raise InputError(f"keep={', '.join(sorted(taken))}: the output has a column of that name already.")
        self.encoder, self.source, self.keep = encoder, source, keep
        self.total = max(1, source.stat().st_size // MB)
        trained = encoder.layout
        header = trained.header if header is None else header
        self.layout: FileLayout = replace(trained, header=header, delimiter=delimiter or trained.delimiter)
        self.missing: dict[str, int] = {}  # column -> missing values, where it had none in training

    def __iter__(self) -> Iterator[tuple[Chunk, np.ndarray, int]]:
        """Sound rows with rejects; the same as the model knows them, (N, D); and how much is done, in units."""
        wanted: Types = dict.fromkeys(self.keep, pa.string()) | self.encoder.read_as
        for chunk in stream(self.source, wanted, self.layout):
            self._count_missing(chunk.table)
            yield chunk, self.encoder.transform(chunk.table), chunk.done // MB

    def _count_missing(self, table: pa.Table) -> None:
        for column in self.encoder.columns:
            if column["kind"] == "number" and not column["missing"]:
                n_missing = pc.sum(pc.is_null(table[column["name"]], nan_is_null=True)).as_py() or 0
                self.missing[column["name"]] = self.missing.get(column["name"], 0) + n_missing

    def remarks(self) -> list[str]:
        some = [f"{name} {count:,}" for name, count in self.missing.items() if count]
        told = "missing values, of which training had none, count as the training mean"
        return [f"{told}: {', '.join(some)}"] if some else []

    def place(self, reject: Reject) -> str:
        return f"row {reject.row}" if reject.line is None else f"line {reject.line}"


class ImageInput:
    """An image, or a folder or zip of images. A row's number is that of its file, in the order of their names."""

    rows, unit, keep = "images", "images", [NAME]
    total = None

    def __init__(self, reader: ImageReader, source: Path, keep: list[str], header: bool | None, delimiter: str | None):
        known = f"the run has learned from images ({in_words(reader.shape)})"
        if source.suffix.lower() in TABLES and not source.is_dir():
            raise InputError(f"input={source}: {known}, so it must be an image, or a folder or zip of images.")
        if not source.exists():
            raise InputError(f"input={source} is neither a file nor a folder.")
        if keep or header is not None or delimiter is not None:
            raise InputError(f"{known}: keep, header and delimiter are for tables; leave them out.")
        self.reader, self.source = reader, source

    def __iter__(self) -> Iterator[tuple[Chunk, np.ndarray, int]]:
        for piece in self.reader.pieces(self.source):
            rejects = [Reject(number, None, reason, name) for number, name, reason in piece.rejected]
            table = pa.table({NAME: pa.array(piece.names, pa.string())})
            yield Chunk(table, piece.number, rejects, piece.done), piece.x, piece.done

    def remarks(self) -> list[str]:
        return []

    def place(self, reject: Reject) -> str:
        return reject.text
