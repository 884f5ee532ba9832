"""Labels of a table: its columns are split into features and the one that separates normal rows from anomalies."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ssl_cli.config.choices import did_you_mean
from ssl_cli.data.io.arrow import FileLayout, fingerprint
from ssl_cli.data.tables.one_class import LabelledTable
from ssl_cli.errors import InputError


def make_labelled_table(
    path: Path,
    table: pa.Table,
    label: str | None,
    normal: Any,
    drop: list[str] | tuple[str, ...] = (),
    header: bool = True,
    delimiter: str = ",",
) -> LabelledTable:
    """Split a table into features and labels.

    `label` names the label's column, `normal` its value (or values) in normal rows, `drop` columns to leave out. Raises
    InputError if the columns or values do not exist.
    """
    if label in drop:
        raise InputError(
            f"data.drop has {label}, the column of data.label: remove it from data.drop; a label is never a feature."
        )
    for name in [*drop, *([label] if label else [])]:
        if name not in table.column_names:
            known = ", ".join(table.column_names[:50])
            raise InputError(f"{path} has no column {name}.{did_you_mean(name, table.column_names)} It has {known}.")
    anomaly = None if label is None else ~_is_normal(path, table[label], label, normal)
    features = table.drop_columns([*drop, *([label] if label else [])])
    return LabelledTable(
        features,
        anomaly,
        fingerprint(path),
        layout=FileLayout(table.column_names, header, delimiter, features.column_names),
        files=(path,),
    )


def _is_normal(path: Path, values: pa.ChunkedArray, label: str, normal: Any) -> np.ndarray:
    """Return (N,) bool: which labels equal `normal` (or one of its values), as numbers if both are, else as texts."""
    n_missing = pc.sum(pc.is_null(values, nan_is_null=True)).as_py()
    if n_missing:
        raise InputError(f"{path}: {n_missing} rows have no label in the column {label}; fill or remove them.")
    wanted = {_comparable(value) for value in (normal if isinstance(normal, list) else [normal])}
    try:
        distinct = pc.unique(values).to_pylist()
    except pa.ArrowNotImplementedError as error:
        raise InputError(f"{path}: the column {label} holds {values.type}, which can't be labels.") from error
    matching = [value for value in distinct if _comparable(value) in wanted]
    if not matching:
        shown = ", ".join(str(value) for value in distinct[:10])
        raise InputError(
            f"{path}: no row has {label}={normal}. Its values are {shown}; set data.normal to the normal one."
        )
    return pc.is_in(values, pa.array(matching, values.type)).to_numpy(zero_copy_only=False)


def _comparable(value: Any) -> float | str:
    """Return a number if possible, so that 1, 1.0, "1" and true are equal; otherwise a text."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return str(value).strip()
