"""Files -> Arrow tables. CSV (plain or gzipped), Parquet and npz, with errors that name the file and the line."""

import hashlib
import re
import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from ssl_cli.config.types import Delimiter
from ssl_cli.errors import InputError

# Besides Arrow's own (empty, NA, NaN, null, ...), UCI's question mark.
MISSING = ["", "?", "NA", "N/A", "#N/A", "NaN", "nan", "NULL", "null", "None", "-nan", "-NaN", "n/a", "<NA>"]
TAB = ("tab", "\\t")
UNREADABLE = (pa.ArrowException, OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile)


@dataclass(frozen=True)
class FileLayout:
    """How a table lies in its file: all columns in order, the label's included, and for a CSV how it is written."""

    columns: list[str]
    header: bool = True
    delimiter: Delimiter = ","
    unlabelled: list[str] = field(default_factory=list)  # the columns but for the label and what was left out


def read_table(path: str | Path, names: list[str] | None = None, delimiter: str = ",") -> pa.Table:
    """The table in one file; `names` are the columns of a CSV without a header.

    Raises InputError where the file is missing, empty or malformed.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise InputError(f"{path} is not a file.")
    try:
        if path.suffix == ".parquet":
            table = _without_index(pyarrow.parquet.read_table(path))
        elif path.suffix == ".npz":
            table = _read_npz(path)
        else:
            table = _read_csv(path, names, "\t" if delimiter in TAB else delimiter)
        columns = table.column_names
    except InputError:
        raise
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not in UTF-8: save it so.") from error
    except UNREADABLE as error:
        reason = str(error).splitlines()[0] if str(error) else "it is cut off"
        raise InputError(f"{path} can't be read: {reason}.") from error
    if table.num_rows == 0:
        raise InputError(f"{path} has no rows.")
    if twice := [name for name, count in Counter(columns).items() if count > 1]:
        raise InputError(f"{path} has more than one column called {', '.join(twice)}: rename them.")
    if len(columns) == 1 and (other := next((sign for sign in ";\t|" if sign in columns[0]), None)):
        said = "tab" if other == "\t" else f"'{other}'"
        raise InputError(
            f"{path} has the single column {columns[0]!r}: its fields seem parted by {said}; say data.delimiter={said}."
        )
    return _plain(path, table)


def _without_index(table: pa.Table) -> pa.Table:
    """Without the columns in which pandas keeps a frame's index: row numbers are no features."""
    index = (table.schema.pandas_metadata or {}).get("index_columns", [])
    return table.drop_columns([name for name in index if name in table.column_names])


def _plain(path: Path, table: pa.Table) -> pa.Table:
    """Dictionary-encoded columns as what they encode; bytes, which a CSV gives where it isn't UTF-8, are refused."""
    for index, column in enumerate(table.schema):
        if pa.types.is_dictionary(column.type):
            table = table.set_column(index, column.name, table[index].cast(column.type.value_type))
        elif pa.types.is_string_view(column.type):
            table = table.set_column(index, column.name, table[index].cast(pa.string()))
        elif pa.types.is_binary(column.type) and path.suffix not in (".parquet", ".npz"):
            raise InputError(
                f"{path}: the column {column.name} holds bytes that are no UTF-8 text; save the file in UTF-8."
            )
    return table


def _read_csv(path: Path, names: list[str] | None, delimiter: str) -> pa.Table:
    """Whole numbers are read as floats, and a column that turns out not to be numeric as text.

    Arrow infers a column's type from the first block, and stops at a later value that doesn't fit.
    """
    read = pyarrow.csv.ReadOptions(column_names=names)
    parse = pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    with pyarrow.csv.open_csv(path, read, parse, _convert({})) as reader:
        inferred = reader.schema
    wide = {field.name for field in inferred if pa.types.is_integer(field.type) or pa.types.is_null(field.type)}
    types = dict.fromkeys(wide, pa.float64())
    while True:
        try:
            return pyarrow.csv.read_csv(path, read, parse, _convert(types))
        except pa.ArrowInvalid as error:
            match = re.search(r"In CSV column #(\d+): .*conversion error", str(error))
            if not match or types.get(column := inferred.names[int(match[1])]) == pa.string():
                raise
            types[column] = pa.string()


def _convert(types: dict[str, pa.DataType]) -> pyarrow.csv.ConvertOptions:
    return pyarrow.csv.ConvertOptions(column_types=types, null_values=MISSING, strings_can_be_null=True)


def _read_npz(path: Path) -> pa.Table:
    """A 2-D array `X` becomes the columns X0, X1, ...; a 1-D array one column of its own name."""
    columns: list[tuple[str, np.ndarray]] = []
    with np.load(path, allow_pickle=False) as arrays:
        for name in arrays.files:
            array = _native(path, name, arrays)
            if array.ndim == 2:
                columns += [(f"{name}{index}", array[:, index]) for index in range(array.shape[1])]
            elif array.ndim == 1:
                columns.append((name, array))
            else:
                raise InputError(f"{path}: the array {name} has {array.ndim} dimensions; a table has 1 or 2.")
    if len({len(column) for _, column in columns}) > 1:
        lengths = ", ".join(f"{name} {len(column)}" for name, column in columns)
        raise InputError(f"{path}: its arrays differ in length ({lengths[:200]}).")
    return pa.table([column for _, column in columns], names=[name for name, _ in columns])


def _native(path: Path, name: str, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """One array, in this machine's byte order. Arrays of Python objects could run code when read, and are refused."""
    try:
        array = arrays[name]
    except ValueError as error:
        raise InputError(
            f"{path}: the array {name} holds Python objects, not numbers or texts; save it as those."
        ) from error
    return array.astype(array.dtype.newbyteorder("="))


def fingerprint(*paths: Path) -> str:
    """SHA-256 of the files' bytes, as hex."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
