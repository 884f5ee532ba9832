"""The cells of some rows of CSV files as they are written: `00501` and not 501."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

from ssl_cli.data.io.arrow import FileLayout
from ssl_cli.data.io.csv_source import is_beyond_block, open_csv
from ssl_cli.data.io.delimited import column_names, delimiter_character
from ssl_cli.data.io.lines import MAX_LINE_BYTES

NOT_CSV = (".parquet", ".npz")


def read_cells(
    paths: Sequence[Path], layout: FileLayout, columns: Sequence[str], rows: Sequence[int]
) -> dict[tuple[str, int], str]:
    """Return (column, row) -> text of the `columns` in some `rows`, whose numbers count through all files from 0.

    The files are read again, a block at a time. Those that hold typed values and no texts have none.
    """
    if any(path.suffix.lower() in NOT_CSV for path in paths) or not rows or not columns:
        return {}
    try:
        return _find_cells(paths, layout, columns, rows, None)
    except pa.ArrowInvalid as error:
        if not is_beyond_block(error):
            raise
    return _find_cells(paths, layout, columns, rows, MAX_LINE_BYTES // 2)


def _find_cells(
    paths: Sequence[Path], layout: FileLayout, columns: Sequence[str], rows: Sequence[int], block_bytes: int | None
) -> dict[tuple[str, int], str]:
    wanted, start, cells = np.unique(rows), 0, dict[tuple[str, int], str]()
    for batch in (batch for path in paths for batch in _read_texts(path, layout, columns, block_bytes)):
        here = wanted[(wanted >= start) & (wanted < start + len(batch))]
        chosen = batch.take(pa.array(here - start))
        for name in columns:
            cells |= {(name, int(row)): text for row, text in zip(here, chosen[name].to_pylist(), strict=True)}
        start += len(batch)
    return cells


def _read_texts(
    path: Path, layout: FileLayout, columns: Sequence[str], block_bytes: int | None
) -> Iterator[pa.RecordBatch]:
    source, declared = open_csv(path)
    read = pyarrow.csv.ReadOptions(column_names=None if layout.header else layout.columns, block_size=block_bytes)
    delimiter = declared or delimiter_character(layout.delimiter)
    parse = pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    with pyarrow.csv.open_csv(source, read, parse) as reader:
        names = dict(zip(column_names(reader.schema.names), reader.schema.names, strict=True))
    texts = dict.fromkeys((names[name] for name in columns), pa.string())
    convert = pyarrow.csv.ConvertOptions(column_types=texts, include_columns=list(texts))
    with pyarrow.csv.open_csv(open_csv(path)[0], read, parse, convert) as reader:
        for batch in reader:
            yield batch.rename_columns(list(columns))
