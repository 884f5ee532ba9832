"""Files -> Arrow tables. CSV (plain or gzipped), Parquet and npz, with errors that name the file and the line."""

import hashlib
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from ssl_cli.errors import InputError

# Besides Arrow's own (empty, NA, NaN, null, ...), UCI's question mark.
MISSING = ["", "?", "NA", "N/A", "#N/A", "NaN", "nan", "NULL", "null", "None", "-nan", "-NaN", "n/a", "<NA>"]
SUFFIXES = ("csv", "csv.gz", "parquet", "npz")


def read_table(path: str | Path, names: list[str] | None = None, delimiter: str = ",") -> pa.Table:
    """The table in one file; `names` are the columns of a CSV without a header.

    Raises InputError where the file is missing, empty or malformed.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise InputError(f"{path} is not a file.")
    try:
        if path.suffix == ".parquet":
            table = pyarrow.parquet.read_table(path)
        elif path.suffix == ".npz":
            table = _read_npz(path)
        else:
            table = _read_csv(path, names, delimiter)
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} can't be read: {str(error).splitlines()[0]}") from error
    if table.num_rows == 0:
        raise InputError(f"{path} has no rows.")
    return table


def _read_csv(path: Path, names: list[str] | None, delimiter: str) -> pa.Table:
    """Whole numbers are read as floats, and a column that turns out not to be numeric as text.

    Arrow infers a column's type from the first block, and stops at a later value that doesn't fit.
    """
    read = pyarrow.csv.ReadOptions(column_names=names)
    parse = pyarrow.csv.ParseOptions(delimiter=delimiter)
    with pyarrow.csv.open_csv(path, read, parse, _convert({})) as reader:
        inferred = reader.schema
    numeric = (pa.types.is_integer, pa.types.is_null, pa.types.is_boolean)
    types = {field.name: pa.float64() for field in inferred if any(test(field.type) for test in numeric[:2])}
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
    columns: dict[str, np.ndarray] = {}
    with np.load(path, allow_pickle=False) as arrays:
        for name in arrays.files:
            array = arrays[name]
            if array.ndim == 2:
                columns |= {f"{name}{index}": array[:, index] for index in range(array.shape[1])}
            elif array.ndim == 1:
                columns[name] = array
            else:
                raise InputError(f"{path}: the array {name} has {array.ndim} dimensions; a table has 1 or 2.")
    if len({len(column) for column in columns.values()}) > 1:
        lengths = ", ".join(f"{name} {len(column)}" for name, column in columns.items())
        raise InputError(f"{path}: its arrays differ in length ({lengths[:200]}).")
    return pa.table(columns)


def fingerprint(*paths: Path) -> str:
    """SHA-256 of the files' bytes, as hex."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
