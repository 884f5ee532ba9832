"""Preprocessing of a table's columns into a matrix of floats, fitted on the training rows and saved as JSON.

The rules:

- A number is standardised by the mean and standard deviation of the training rows. `scaling="power"` first makes it
  symmetric by a Yeo-Johnson transform (Biometrika 87, 2000) of the standardised number, fitted on the training rows:
  this suits skewed measurements, and hurts counts that are mostly zero. A missing value becomes the mean (0 after
  scaling). If the training rows had missing values, one more feature says whether the value was missing. An infinite
  value (or one beyond 1e100) becomes the largest one, MAX_SCALED; but if the training rows had missing values, it is
  missing, too. Dates and times count as seconds.
- A category becomes one feature for each of the MAX_CATEGORIES most frequent values of the training rows, and one for
  all other values, so that a value never seen in training stands out. A missing value is a category of its own.
- A column with a single value in the training rows is dropped, and so is a text column that identifies its rows (more
  than MAX_CATEGORIES values, most of them unique). The run's log lists dropped columns.
"""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.stats import yeojohnson, yeojohnson_normmax

from ssl_cli.config.typecheck import expected, fits
from ssl_cli.config.types import Pattern, Positive, Range
from ssl_cli.data.io.arrow import FileLayout
from ssl_cli.data.io.columns import (
    MAX_FINITE,
    MISSING_CATEGORY,
    QUANTITIES,
    as_categories,
    as_numbers,
    is_categorical,
    is_number,
    quantity_name,
)
from ssl_cli.data.io.json_state import read_state
from ssl_cli.errors import InputError

Scaling = Literal["standard", "power"]
MAX_CATEGORIES = 100
MAX_SCALED = 1e6  # standard deviations; larger values are clipped to it, and float32 can still square it

# Schema of a saved preprocessor.
STATE = {"columns": list[dict[str, Any]], "dropped": dict[str, str], "names": list[str], "layout": dict[str, Any]}
NUMBER = {
    "type": Annotated[str, Pattern("|".join(QUANTITIES), f"one of {', '.join(QUANTITIES)}")],
    "name": str,
    "kind": str,
    "mean": float,
    "std": Positive,
    "missing": bool,
}
WITH_POWER = {"power": dict[str, float]}
POWER = {"lambda": Annotated[float, Range(-1e3, 1e3)], "mean": float, "std": Positive}
CATEGORY = {"name": str, "kind": str, "values": list[str]}


class TablePreprocessor:
    """Statistics of each column's training rows, and the transform of columns into features that they define.

    `columns` are plain dicts, one for each column that is kept: {"name", "kind": "number", "type", "mean", "std",
    "missing"}, with a "power" of {"lambda", "mean", "std"} if it is transformed; or, for a category, {"name", "kind":
    "symbol", "values"}. The "type" is what the number is in a file (see `columns.QUANTITIES`): dates are numbers here.
    `dropped` maps the other columns to the reason. `names` are all columns, `layout` is that of the training file.
    """

    def __init__(
        self, columns: list[dict[str, Any]], dropped: dict[str, str], names: list[str], layout: FileLayout | None = None
    ):
        self.columns, self.dropped, self.names = columns, dropped, names
        self.layout = layout or FileLayout(names)

    @classmethod
    def fit(
        cls, table: pa.Table, scaling: Scaling = "standard", layout: FileLayout | None = None
    ) -> "TablePreprocessor":
        """Fit to the training rows of a file with a `layout`. Raises InputError if no column is left."""
        if not table.column_names:
            raise InputError("No column is left to learn from: data.drop leaves out all of them.")
        columns, dropped = [], {}
        for name in table.column_names:
            column, reason = _fit_column(name, table[name], scaling)
            if reason:
                dropped[name] = reason
            else:
                columns.append(column)
        if not columns:
            raise InputError(f"No column is left to learn from: {'; '.join(f'{n}: {r}' for n, r in dropped.items())}.")
        return cls(columns, dropped, table.column_names, layout)

    @property
    def feature_names(self) -> list[str]:
        """The names of the features, in order: `amount`, `amount is missing`, `type=CASH_OUT`, ..."""
        names: list[str] = []
        for column in self.columns:
            name = column["name"]
            if column["kind"] == "number":
                names += [name, *([f"{name} is missing"] if column["missing"] else [])]
            else:
                names += [f"{name}={value}" for value in column["values"]] + [f"{name}=other"]
        return names

    @property
    def feature_slices(self) -> list[tuple[dict[str, Any], slice]]:
        """Each column with the slice of its features."""
        slices, start = [], 0
        for column in self.columns:
            width = 1 + column["missing"] if column["kind"] == "number" else len(column["values"]) + 1
            slices.append((column, slice(start, start + width)))
            start += width
        return slices

    def transform(self, table: pa.Table) -> np.ndarray:
        """Return the features (N, D) float32 of a table. Extra columns are ignored.

        Raises InputError if a column is missing, or a number is not numeric.
        """
        absent = [column["name"] for column in self.columns if column["name"] not in table.column_names]
        if absent:
            raise InputError(
                f"The table lacks the column {', '.join(absent[:10])}; it has {', '.join(table.column_names[:20])}."
            )
        out = np.zeros((table.num_rows, len(self.feature_names)), dtype=np.float32)  # (N, D)
        for column, place in self.feature_slices:
            write = _write_number if column["kind"] == "number" else _write_category
            write(out[:, place], column, table[column["name"]])
        return out

    @property
    def column_types(self) -> dict[str, pa.DataType]:
        """The columns that `transform` needs, with the types as which a file's texts are parsed."""
        return {
            column["name"]: QUANTITIES[column["type"]] if column["kind"] == "number" else pa.string()
            for column in self.columns
        }

    def as_table(self, rows: Any) -> pa.Table:
        """Return the user's rows as a table: from an Arrow table, a data frame, or an array of all training columns.

        Raises InputError if an array has another number of columns.
        """
        if isinstance(rows, pa.Table):
            return rows
        if hasattr(rows, "columns") and hasattr(rows, "dtypes"):
            return pa.Table.from_pandas(rows, preserve_index=False)
        array = np.asarray(rows)
        if array.ndim != 2 or array.shape[1] != len(self.names):
            raise InputError(
                f"The array is {array.shape}; it must be (N, {len(self.names)}): {', '.join(self.names[:10])}, ..."
            )
        return pa.table({name: array[:, index] for index, name in enumerate(self.names)})

    def save(self, path: Path) -> None:
        """Write it to a JSON file."""
        state = {
            "columns": self.columns,
            "dropped": self.dropped,
            "names": self.names,
            "layout": dataclasses.asdict(self.layout),
        }
        path.write_text(json.dumps(state, indent=1, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "TablePreprocessor":
        """Read a file that `save` wrote. Raises InputError if it is anything else: the file may be untrusted."""
        return cls.from_state(path, read_state(path))

    @classmethod
    def from_state(cls, path: Path, state: dict[str, Any]) -> "TablePreprocessor":
        """Build from the object in a file. Raises InputError if it is not one that `save` writes."""
        if (error := next(_state_errors(state), None)) is not None:
            raise InputError(f"{path} is damaged: {error}.")
        return cls(state["columns"], state["dropped"], state["names"], FileLayout(**state["layout"]))


def _state_errors(state: Any) -> Iterator[str]:
    """Yield what in a saved preprocessor does not follow the schema."""
    yield from _entry_errors("it", state, STATE)
    yield from _entry_errors("layout", state["layout"], get_type_hints(FileLayout, include_extras=True))
    for index, column in enumerate(state["columns"]):
        where, kind = f"columns[{index}]", column.get("kind")
        if kind not in ("number", "symbol"):
            yield f"{where}.kind must be number or symbol, not {repr(kind)[:100]}"
            return
        has_power = kind == "number" and "power" in column
        yield from _entry_errors(
            where, column, (NUMBER if kind == "number" else CATEGORY) | (WITH_POWER if has_power else {})
        )
        if has_power:
            yield from _entry_errors(f"{where}.power", column["power"], POWER)
    names = [column["name"] for column in state["columns"]]
    if not names or len(set(names)) < len(names) or not set(names) <= set(state["names"]):
        yield "its columns must be among its names, each once"


def _entry_errors(where: str, entries: Any, wanted: dict[str, Any]) -> Iterator[str]:
    if not isinstance(entries, dict) or set(entries) != set(wanted):
        yield f"{where} must have {', '.join(wanted)}, and nothing else"
        return
    for name, annotation in wanted.items():
        if not fits(entries[name], annotation):
            yield f"{where}.{name} must be {expected(annotation)}, not {repr(entries[name])[:100]}"


def _fit_column(name: str, values: pa.ChunkedArray, scaling: Scaling) -> tuple[dict[str, Any], str]:
    """Return the statistics of a column's training values, or the reason to drop it."""
    if not is_number(values.type) and not is_categorical(values.type):
        return {}, f"its type {values.type} is neither a number nor a text"
    if is_number(values.type):
        column, reason = _fit_number(name, as_numbers(name, values), scaling)
        return {"type": quantity_name(values.type)} | column, reason
    counts = pc.value_counts(as_categories(values)).to_pylist()
    if len(counts) == 1:
        return {}, "it has one value in the training rows"
    if len(counts) > MAX_CATEGORIES and len(counts) > 0.5 * len(values):
        return {}, f"it identifies rows ({len(counts)} values in {len(values)} training rows){_almost_numeric(counts)}"
    counts.sort(key=lambda entry: (-entry["counts"], entry["values"]))
    return {"name": name, "kind": "symbol", "values": [entry["values"] for entry in counts[:MAX_CATEGORIES]]}, ""


def _almost_numeric(counts: list[dict[str, Any]]) -> str:
    """Return a hint if only a few values of a text column are not numbers."""
    values = [entry["values"] for entry in counts if not _is_numeral(entry["values"])]
    values = [value for value in values if value != MISSING_CATEGORY]
    return f"; it would be numeric without {values[0]!r}" if values and len(values) < 0.1 * len(counts) else ""


def _is_numeral(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _fit_number(name: str, numbers: np.ndarray, scaling: Scaling) -> tuple[dict[str, Any], str]:
    finite = numbers[np.isfinite(numbers)]
    missing = len(finite) < len(numbers)
    if len(finite) == 0:
        return {}, "it has no value in the training rows"
    mean, std = float(finite.mean()), float(finite.std())
    # Rounding gives a constant column of large numbers a tiny standard deviation.
    constant = std <= 1e-9 * max(abs(mean), 1e-30)
    if constant and not missing:
        return {}, "it has one value in the training rows"
    column = {"name": name, "kind": "number", "mean": mean, "std": 1.0 if constant else std, "missing": missing}
    if scaling == "power" and not constant:
        standard = (finite - mean) / std
        power = float(yeojohnson_normmax(standard))
        symmetric = yeojohnson(standard, power)
        if np.isfinite(symmetric).all() and symmetric.std() > 1e-6:  # otherwise the fit has no finite optimum
            column["power"] = {"lambda": power, "mean": float(symmetric.mean()), "std": float(symmetric.std())}
    return column, ""


def _write_number(out: np.ndarray, column: dict[str, Any], values: pa.ChunkedArray) -> None:
    numbers = as_numbers(column["name"], values)
    if not column["missing"]:
        numbers = np.where(np.isinf(numbers), np.copysign(MAX_FINITE, numbers), numbers)
    known = np.isfinite(numbers)
    scaled = (np.where(known, numbers, column["mean"]) - column["mean"]) / column["std"]
    if power := column.get("power"):
        with np.errstate(over="ignore"):
            symmetric = (yeojohnson(scaled, power["lambda"]) - power["mean"]) / power["std"]
        scaled = np.where(known, symmetric, 0.0)
    # The power transform may be bounded: the largest value must stay the most anomalous.
    scaled = np.where(known & (np.abs(numbers) >= MAX_FINITE), np.copysign(MAX_SCALED, numbers), scaled)
    out[:, 0] = scaled.clip(-MAX_SCALED, MAX_SCALED)
    if column["missing"]:
        out[:, 1] = ~known


def _write_category(out: np.ndarray, column: dict[str, Any], values: pa.ChunkedArray) -> None:
    known = pa.array(column["values"], pa.string())
    index = pc.fill_null(pc.index_in(as_categories(values), known), len(known)).to_numpy()
    out[np.arange(len(out)), index] = 1.0
