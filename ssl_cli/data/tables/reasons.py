"""Reasons: what is unusual about a row's value in a column, as text, and values as they are in the file.

A number stands beside the one that the model expects, a category beside its share of the training rows.
"""

import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from ssl_cli.data.io.columns import is_categorical, missing_to_null
from ssl_cli.data.io.notation import Notation
from ssl_cli.data.tables.dates import MISSING, format_part
from ssl_cli.data.tables.features import Column
from ssl_cli.data.tables.preprocessing import TablePreprocessor

Cell = tuple[str, int]  # the name of a preprocessor's column, the position of a row
EXACT_DIGITS = 15  # of a float64
SHOWN_DIGITS = 6  # of a number in a sentence


def reason(column: Column, features: np.ndarray, actual: str, expected: str) -> str:
    """Return why a value may be unusual: `radius = 27.4 (expected 14.1)`, `country = US (2 % of training rows)`.

    `features` (W,) are those of the value, `actual` and `expected` are texts in the units of the file; `expected` is
    not used for a category. How often a value was in training is left out if the run was saved without it.
    """
    value = f"{column['name']} is missing" if actual == MISSING else f"{column['name']} = {_shown(column, actual)}"
    if column["kind"] == "symbol":
        said = _category_share(column, int(features.argmax()))
    elif actual == MISSING:
        said = _share(column["n_missing"], column["rows"]) if "rows" in column else ""
    elif expected == MISSING:
        said = f"missing in {_share(column['n_missing'], column['rows'])}" if "rows" in column else "usually missing"
    elif not is_compared(column):  # a truth value: its mean is the share of what is true
        said = _share(column["mean"] if features[0] > 0 else 1 - column["mean"], 1)
    else:
        said = f"expected {expected}"
    return f"{value} ({said})" if said else value


def is_compared(column: Column) -> bool:
    """Return whether a value stands beside an expected one, and not beside its share of the training rows."""
    return bool(column["kind"] != "symbol" and column["type"] != "truth")


def _shown(column: Column, actual: str) -> str:
    """Return a value as it is, but a number with many decimal places in SHOWN_DIGITS digits or more."""
    if column["kind"] != "number" or not re.fullmatch(r"-?\d+\.\d+", actual) or len(actual) <= SHOWN_DIGITS + 4:
        return actual
    return f"{float(actual):.{max(SHOWN_DIGITS, actual.lstrip('-').index('.'))}g}"


def _category_share(column: Column, index: int) -> str:
    """Return how often a category's value was among the training rows; `index` is that of its feature."""
    if "rows" not in column:
        return ""
    if index < len(column["values"]):
        return _share(column["counts"][index], column["rows"])
    if (n_kept := sum(column["counts"])) == column["rows"]:
        return _share(0, column["rows"])
    return f"rare: values like it are {_share(column['rows'] - n_kept, column['rows'])} together"


def _share(count: float, n_rows: int) -> str:
    percent = 100 * count / n_rows
    if not count:
        return "not in the training rows"
    if percent < 0.01:
        text = "less than 0.01"
    elif 99.5 <= percent < 100:
        text = "more than 99"
    else:
        text = f"{percent:.0f}" if percent >= 10 else f"{percent:.2g}"
    return f"{text} % of training rows"


def cell_texts(
    preprocessor: TablePreprocessor, table: pa.Table, cells: Sequence[tuple[Column, int]], before: pa.Table | None
) -> dict[Cell, str]:
    """Return the values of some cells of a table, each (column of the preprocessor, row), without loss, as texts.

    A missing value is MISSING, a number in a notation stays in it, a part of a date is in readable units. `before` has
    the row before the table's first, if it is known.
    """
    rows_of, columns = defaultdict[str, list[int]](list), {column["name"]: column for column, _ in cells}
    for column, row in cells:
        rows_of[column["name"]].append(row)
    texts = dict[Cell, str]()
    for name, rows in rows_of.items():
        column, index = columns[name], pa.array(rows)
        if "part" in column:
            values = preprocessor.values(column, table, before).take(index).to_pylist()
            shown = [format_part(column["part"], value) for value in values]
        else:
            values = table[name].take(index)
            values = missing_to_null(values.cast(pa.string())) if is_categorical(values.type) else values
            shown = [_cell_text(column, cell) for cell in values]
        texts |= {(name, row): text for row, text in zip(rows, shown, strict=True)}
    return texts


def _cell_text(column: Column, cell: pa.Scalar) -> str:
    try:
        value = cell.as_py()
    except (OverflowError, ValueError):  # a date that Arrow can represent and Python can't
        return str(cell.cast(pa.string()))
    if value is None or value != value:
        return MISSING
    if "notation" in column and not isinstance(value, str):
        return Notation(**column["notation"]).format(float(value), EXACT_DIGITS)
    return f"{value:.17g}" if isinstance(value, float) and value.is_integer() else str(value)
