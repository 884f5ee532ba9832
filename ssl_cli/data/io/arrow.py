"""Reading of table files into Arrow tables: CSV (plain or compressed), Parquet and npz.

Errors name the file, and the line if possible.
"""

import hashlib
import lzma
import re
import zipfile
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from ssl_cli.config.types import Delimiter
from ssl_cli.data.io.codes import columns_to_check, is_code
from ssl_cli.data.io.content import check_is_table
from ssl_cli.data.io.csv_source import is_beyond_block, open_csv
from ssl_cli.data.io.delimited import (
    CsvDialect,
    check_delimiter,
    check_unique_columns,
    column_names,
    delimiter_character,
)
from ssl_cli.data.io.lines import MAX_LINE_BYTES
from ssl_cli.data.io.records import read_records
from ssl_cli.data.io.utf8 import read_utf8_blocks
from ssl_cli.errors import InputError

# Texts of a CSV that mean a missing value: Arrow's own (empty, NA, NaN, null, ...) and UCI's question mark.
NULL_TEXTS = ["", "?", "NA", "N/A", "#N/A", "NaN", "nan", "NULL", "null", "None", "-nan", "-NaN", "n/a", "<NA>"]
READ_ERRORS = (pa.ArrowException, OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, lzma.LZMAError)


@dataclass(frozen=True)
class FileLayout:
    """Layout of a table file: all columns in order, including the label, and the format of a CSV."""

    columns: list[str]
    header: bool = True
    delimiter: Delimiter = ","
    unlabelled: list[str] = field(default_factory=list)  # the columns without the label and those that were left out


def read_table(
    path: str | Path, names: list[str] | None = None, delimiter: str = ",", texts: Collection[str] = ()
) -> pa.Table:
    """Return the table in one file; `names` are the columns of a CSV without a header.

    Whole numbers of a CSV keep all their digits; columns of codes (`codes.py`) and those named in `texts` are texts as
    they stand in the file. Raises InputError if the file is missing, empty or malformed.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise InputError(f"{path} is not a file.")
    check_is_table(path)
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            table = _drop_pandas_index(pyarrow.parquet.read_table(path))
        elif suffix == ".npz":
            table = _read_npz(path)
        else:
            table = _read_csv(path, names, delimiter_character(delimiter), texts)
            table = table.rename_columns(column_names(table.column_names))
        columns = table.column_names
    except InputError:
        raise
    except READ_ERRORS as error:
        if suffix not in (".parquet", ".npz"):
            _raise_first_fault(path, names, delimiter)
        reason = str(error).splitlines()[0] if str(error) else "it is cut off"
        raise InputError(f"{path} can't be read: {reason}.") from error
    if table.num_rows == 0:
        raise InputError(f"{path} has no rows.")
    check_unique_columns(path, columns, columns)
    check_delimiter(path, columns, "data.delimiter", ";\t|")
    return _plain_columns(path, table)


def _drop_pandas_index(table: pa.Table) -> pa.Table:
    """Drop the columns in which pandas saves a data frame's index: row numbers are not features."""
    index = (table.schema.pandas_metadata or {}).get("index_columns", [])
    return table.drop_columns([name for name in index if name in table.column_names])


def _plain_columns(path: Path, table: pa.Table) -> pa.Table:
    """Decode dictionary-encoded columns. Raises InputError for bytes, which Arrow makes of a CSV that is not UTF-8."""
    for index, column in enumerate(table.schema):
        if pa.types.is_dictionary(column.type):
            table = table.set_column(index, column.name, table[index].cast(column.type.value_type))
        elif pa.types.is_string_view(column.type):
            table = table.set_column(index, column.name, table[index].cast(pa.string()))
        elif pa.types.is_binary(column.type) and path.suffix.lower() not in (".parquet", ".npz"):
            raise InputError(
                f"{path}: the column {column.name} contains bytes that are not valid UTF-8; save the file as UTF-8."
            )
    return table


def _raise_first_fault(path: Path, names: list[str] | None, delimiter: str) -> None:
    """Raise InputError for what is wrong with a CSV that Arrow cannot read, in the words of the reader of records."""
    if names is None:
        first_line = next(iter(next(read_utf8_blocks(path), (b"", 0))[0].decode(errors="replace").splitlines()), "")
        check_delimiter(path, first_line.split(delimiter), "data.delimiter", ";\t|")
    columns = None if names is None else tuple(names)
    dialect = CsvDialect(delimiter, quoting=True, columns=columns, loose_quotes=True)
    for record in read_records(path, dialect, suffix=".csv"):
        if isinstance(record.record, str):
            raise InputError(f"{path}, {record.place}: {record.record}.")


def _read_csv(path: Path, names: list[str] | None, delimiter: str, texts: Collection[str]) -> pa.Table:
    """Read a CSV, in larger blocks if a row does not fit in one of the usual size."""
    try:
        return _read_csv_blocks(path, names, delimiter, texts, None)
    except pa.ArrowInvalid as error:
        if not is_beyond_block(error):
            raise
    return _read_csv_blocks(path, names, delimiter, texts, MAX_LINE_BYTES // 2)  # a row may be in two of them


def _read_csv_blocks(
    path: Path, names: list[str] | None, delimiter: str, texts: Collection[str], block_bytes: int | None
) -> pa.Table:
    """Read a CSV, with columns of codes, and those that turn out not to be numeric, as text.

    Arrow infers a column's type from the first block, and fails at a later value that does not fit: it is tried again
    as a number with a fraction, then as text.
    """
    read = pyarrow.csv.ReadOptions(column_names=names, block_size=block_bytes)
    source, declared = open_csv(path)
    parse = pyarrow.csv.ParseOptions(delimiter=declared or delimiter, newlines_in_values=True)
    with pyarrow.csv.open_csv(source, read, parse, _convert_options({})) as reader:
        inferred = reader.schema
    types = {field.name: pa.float64() for field in inferred if pa.types.is_null(field.type)}
    types |= {field.name: field.type for field in inferred if pa.types.is_integer(field.type)}
    # The names in the file may have blanks around them.
    types |= {name: pa.string() for name in inferred.names if column_names([name])[0] in texts}
    while True:
        try:
            table = pyarrow.csv.read_csv(open_csv(path)[0], read, parse, _convert_options(types))
            break
        except pa.ArrowInvalid as error:
            match = re.search(r"In CSV column #(\d+): .*conversion error", str(error))
            if not match or types.get(column := inferred.names[int(match[1])]) == pa.string():
                raise
            types[column] = pa.float64() if types.get(column) == pa.int64() else pa.string()
    return _with_codes(path, table, read, parse)


def _with_codes(
    path: Path, table: pa.Table, read: pyarrow.csv.ReadOptions, parse: pyarrow.csv.ParseOptions
) -> pa.Table:
    """Replace the numbers of columns of codes by their texts."""
    # Columns without a name, of which there may be several, can't be asked for one by one.
    counts = Counter(table.column_names)
    doubtful = [name for name in columns_to_check(path, table, parse.delimiter) if counts[name] == 1]
    if not doubtful:
        return table
    options = _convert_options(dict.fromkeys(doubtful, pa.string()), doubtful)
    as_texts = pyarrow.csv.read_csv(open_csv(path)[0], read, parse, options)
    for name in doubtful:
        if is_code(as_texts[name]):
            table = table.set_column(table.column_names.index(name), name, as_texts[name])
    return table


def _convert_options(types: dict[str, pa.DataType], columns: list[str] | None = None) -> pyarrow.csv.ConvertOptions:
    return pyarrow.csv.ConvertOptions(
        column_types=types, null_values=NULL_TEXTS, strings_can_be_null=True, include_columns=columns
    )


def _read_npz(path: Path) -> pa.Table:
    """Read the arrays of an npz: a 2-D array `X` becomes the columns X0, X1, ...; a 1-D array becomes one column."""
    columns: list[tuple[str, np.ndarray]] = []
    with np.load(path, allow_pickle=False) as arrays:
        for name in arrays.files:
            array = _load_array(path, name, arrays)
            if array.ndim == 2:
                columns += [(f"{name}{index}", array[:, index]) for index in range(array.shape[1])]
            elif array.ndim == 1:
                columns.append((name, array))
            else:
                raise InputError(f"{path}: the array {name} has {array.ndim} dimensions; a table has 1 or 2.")
    if len({len(column) for _, column in columns}) > 1:
        lengths = ", ".join(f"{name} {len(column)}" for name, column in columns)
        raise InputError(f"{path}: the arrays differ in length ({lengths[:200]}).")
    return pa.table([column for _, column in columns], names=[name for name, _ in columns])


def _load_array(path: Path, name: str, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Load one array in native byte order. Raises InputError for Python objects, which could run code when loaded."""
    try:
        array = arrays[name]
    except ValueError as error:
        raise InputError(f"{path}: the array {name} holds Python objects; save it as numbers or strings.") from error
    return array.astype(array.dtype.newbyteorder("="))


def fingerprint(*paths: Path) -> str:
    """Return the SHA-256 of the files' bytes, in hex."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
