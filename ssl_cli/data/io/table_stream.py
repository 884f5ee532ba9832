"""A file of any size -> chunks of sound rows, and the rows that are not sound, each with its line and the reason."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from ssl_cli.data.io.arrow import UNREADABLE, FileLayout
from ssl_cli.data.io.chunks import WORDS, Chunk, Reject, RowErrors, Types, converted, refuse_missing
from ssl_cli.data.io.csv_stream import csv_chunks
from ssl_cli.errors import InputError

CHUNK_ROWS = 1 << 16  # of a Parquet file
TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
BYTES = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary, pa.types.is_binary_view)


def stream(path: Path, wanted: Types, layout: FileLayout) -> Iterator[Chunk]:
    """The chunks of a CSV (plain or compressed) or Parquet file, in order.

    Raises InputError, before the first chunk, where the file can't be read or lacks a column.
    """
    if not path.is_file():
        raise InputError(f"{path} is not a file.")
    if path.suffix.lower() == ".npz":
        raise InputError(f"{path}: an npz can't be read piece by piece; save it as CSV or Parquet.")
    try:
        yield from _parquet(path, wanted) if path.suffix.lower() == ".parquet" else csv_chunks(path, wanted, layout)
    except UNREADABLE as error:
        if isinstance(error, InputError):
            raise
        reason = str(error).splitlines()[0] if str(error) else "it is cut off"
        raise InputError(f"{path} can't be read: {reason}.") from error


def _parquet(path: Path, wanted: Types) -> Iterator[Chunk]:
    with pyarrow.parquet.ParquetFile(path) as file:
        refuse_missing(path, list(wanted), file.schema_arrow.names)
        n_rows, size, start = max(file.metadata.num_rows, 1), path.stat().st_size, 0
        for batch in file.iter_batches(CHUNK_ROWS, columns=list(wanted)):
            end = start + len(batch)
            yield _of_types(path, pa.table(batch), wanted, np.arange(start, end), size * end // n_rows)
            start = end
        if not start:
            yield _of_types(path, file.schema_arrow.empty_table(), wanted, np.arange(0), size)


def _is_moment(kind: pa.DataType) -> bool:
    """Dates and times; a duration is a number of seconds."""
    return pa.types.is_temporal(kind) and not pa.types.is_duration(kind)


def _of_types(path: Path, table: pa.Table, wanted: Types, row: np.ndarray, done: int) -> Chunk:
    """Numbers and dates may have any such type; texts must stand for what is wanted, or their row is rejected."""
    columns, faults = {}, RowErrors(len(table))
    for name, kind in wanted.items():
        values = table[name]
        if pa.types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        if pa.types.is_nested(values.type) or any(test(values.type) for test in BYTES):
            raise InputError(f"{path}: the column {name} holds {values.type}, which is neither a number nor a text.")
        if any(test(values.type) for test in TEXTS):
            values = converted(values.cast(pa.string()).combine_chunks(), kind, name, faults)
        elif kind != pa.string() and _is_moment(values.type) != _is_moment(kind) and not pa.types.is_null(values.type):
            raise InputError(f"{path}: the column {name} holds {values.type}; it must hold {WORDS[str(kind)]}s.")
        columns[name] = values
    rejects = [Reject(int(row[i]), None, why, str(table.slice(i, 1).to_pylist()[0])) for i, why in faults.found()]
    sound = pa.array(faults.sound)
    return Chunk(pa.table(columns).filter(sound), row[faults.sound], rejects, done)
