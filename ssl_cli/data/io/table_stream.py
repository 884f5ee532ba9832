"""Streaming of a table file of any size as chunks of valid rows, and rejected rows with their lines and reasons."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from ssl_cli.data.io.arrow import READ_ERRORS, FileLayout
from ssl_cli.data.io.chunks import (
    TYPE_NAMES,
    Chunk,
    ColumnTypes,
    RejectedRow,
    RowErrors,
    check_columns,
    parse_texts,
    parsed_type,
)
from ssl_cli.data.io.content import check_is_table
from ssl_cli.data.io.csv_stream import read_csv_chunks
from ssl_cli.errors import InputError

CHUNK_ROWS = 1 << 16  # of a Parquet file
TEXT_TESTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
BINARY_TESTS = (
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_fixed_size_binary,
    pa.types.is_binary_view,
)


def read_chunks(path: Path, wanted: ColumnTypes, layout: FileLayout, keep: Sequence[str] = ()) -> Iterator[Chunk]:
    """Yield the chunks of a CSV (plain or compressed) or Parquet file, in order.

    `wanted` are the columns to convert, `keep` those to copy as they are; a column may be both. Raises
    InputError, before the first chunk, if the file cannot be read or lacks a column.
    """
    if not path.is_file():
        raise InputError(f"{path} is not a file.")
    if path.suffix.lower() == ".npz":
        raise InputError(f"{path}: an npz can't be read in chunks; save it as CSV or Parquet.")
    check_is_table(path)
    try:
        is_parquet = path.suffix.lower() == ".parquet"
        yield from _read_parquet(path, wanted, keep) if is_parquet else read_csv_chunks(path, wanted, layout, keep)
    except READ_ERRORS as error:
        if isinstance(error, InputError):
            raise
        reason = str(error).splitlines()[0] if str(error) else "it is cut off"
        raise InputError(f"{path} can't be read: {reason}.") from error


def _read_parquet(path: Path, wanted: ColumnTypes, keep: Sequence[str]) -> Iterator[Chunk]:
    with pyarrow.parquet.ParquetFile(path) as file:
        columns = list(dict.fromkeys([*keep, *wanted]))
        check_columns(path, columns, file.schema_arrow.names)
        n_rows, size, start = max(file.metadata.num_rows, 1), path.stat().st_size, 0
        for batch in file.iter_batches(CHUNK_ROWS, columns=columns):
            end = start + len(batch)
            yield _make_chunk(path, pa.table(batch), wanted, keep, np.arange(start, end), size * end // n_rows)
            start = end
        if not start:
            yield _make_chunk(path, file.schema_arrow.empty_table(), wanted, keep, np.arange(0), size)


def _is_timestamp(dtype: pa.DataType) -> bool:
    """Return whether a type is a date or a time; a duration is a number of seconds."""
    return pa.types.is_temporal(dtype) and not pa.types.is_duration(dtype)


def _make_chunk(
    path: Path, table: pa.Table, wanted: ColumnTypes, keep: Sequence[str], row: np.ndarray, bytes_read: int
) -> Chunk:
    """Check a table's types and parse its texts.

    Numbers and dates may have any numeric or date type. A text must parse as the wanted type, or its row is rejected.
    """
    columns, errors = {}, RowErrors(len(table))
    for name, dtype in wanted.items():
        values = _plain_values(path, name, table[name])
        if any(test(values.type) for test in TEXT_TESTS):
            values = parse_texts(values.cast(pa.string()).combine_chunks(), dtype, name, errors)
        elif (
            dtype != pa.string()
            and _is_timestamp(values.type) != _is_timestamp(parsed_type(dtype))
            and not pa.types.is_null(values.type)
        ):
            kind = TYPE_NAMES[str(parsed_type(dtype))]
            raise InputError(f"{path}: the column {name} holds {values.type}; it must hold {kind}s.")
        columns[name] = values
    rejects = [
        RejectedRow(int(row[i]), None, reason, str(table.slice(i, 1).to_pylist()[0]))
        for i, reason in errors.sorted_reasons()
    ]
    valid = pa.array(errors.valid)
    kept = {name: _plain_values(path, name, table[name]).filter(valid) for name in keep}
    return Chunk(pa.table(columns).filter(valid), kept, row[errors.valid], rejects, bytes_read)


def _plain_values(path: Path, name: str, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column without Arrow's encodings. Raises InputError if it holds lists or bytes."""
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_string_view(values.type):
        values = values.cast(pa.string())
    if pa.types.is_nested(values.type) or any(test(values.type) for test in BINARY_TESTS):
        raise InputError(f"{path}: the column {name} holds {values.type}, which is neither a number nor a text.")
    return values
