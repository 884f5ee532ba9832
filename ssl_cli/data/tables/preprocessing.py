"""Columns of a table -> a matrix of floats. Everything is learned from the training rows and saved as JSON.

The rules, stated once:

- A number is standardised by the training rows' mean and standard deviation. With `scaling="power"` it is first made
  symmetric by a Yeo-Johnson transform (Biometrika 87, 2000) of the standardised number, fitted on the training rows:
  it suits skewed measurements, and hurts counts that are mostly zero. A missing value becomes the mean (0 once
  scaled); where the training rows had any, one more feature says whether it was missing. An infinite value (or one
  beyond 1e100) is the largest there is, LARGEST, unless training rows lacked any value: then it is missing too.
  Dates and times count as seconds.
- A symbol becomes one feature for each of the training rows' MAX_SYMBOLS most frequent values, and one for
  every other value, so that a symbol never seen before stands out. A missing symbol is a symbol of its own.
- A column with one value in the training rows is dropped, and so is a text column that names its rows (more than
  MAX_SYMBOLS values, most of them unique). The run's log says which.
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
    BEYOND,
    MISSING_SYMBOL,
    QUANTITIES,
    as_numbers,
    as_symbols,
    is_number,
    is_symbol,
    quantity,
)
from ssl_cli.data.io.json_state import read_state
from ssl_cli.errors import InputError

Scaling = Literal["standard", "power"]
MAX_SYMBOLS = 100
LARGEST = 1e6  # standard deviations; what lies beyond is as strange, and float32 can still square it

# What a saved encoder must look like.
STATE = {"columns": list[dict[str, Any]], "dropped": dict[str, str], "names": list[str], "layout": dict[str, Any]}
NUMBER = {
    "type": Annotated[str, Pattern("|".join(QUANTITIES), f"one of {', '.join(QUANTITIES)}")],
    "name": str,
    "kind": str,
    "mean": float,
    "std": Positive,
    "missing": bool,
}
POWERED = {"power": dict[str, float]}
POWER = {"lambda": Annotated[float, Range(-1e3, 1e3)], "mean": float, "std": Positive}
SYMBOL = {"name": str, "kind": str, "values": list[str]}


class TablePreprocessor:
    """What the training rows taught about each column.

    `columns` are plain dicts, one a column that is kept: {"name", "kind": "number", "type", "mean", "std", "missing"}
    (with a "power" of {"lambda", "mean", "std"} where it is transformed) or {"name", "kind": "symbol", "values"}.
    The "type" is what the number is in a file (see `values.QUANTITIES`): dates are numbers here.
    `dropped` maps the other columns to the reason.
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
        """Learn from the training rows of a file of some layout. Raises InputError where no column is left."""
        if not table.column_names:
            raise InputError("No column is left to learn from: data.drop leaves out all of them.")
        columns, dropped = [], {}
        for name in table.column_names:
            column, reason = _learn(name, table[name], scaling)
            if reason:
                dropped[name] = reason
            else:
                columns.append(column)
        if not columns:
            raise InputError(f"No column is left to learn from: {'; '.join(f'{n}: {r}' for n, r in dropped.items())}.")
        return cls(columns, dropped, table.column_names, layout)

    @property
    def features(self) -> list[str]:
        """The name of each feature, in order: `amount`, `amount is missing`, `type=CASH_OUT`, ..."""
        names: list[str] = []
        for column in self.columns:
            name = column["name"]
            if column["kind"] == "number":
                names += [name, *([f"{name} is missing"] if column["missing"] else [])]
            else:
                names += [f"{name}={value}" for value in column["values"]] + [f"{name}=other"]
        return names

    @property
    def slices(self) -> list[tuple[dict[str, Any], slice]]:
        """Each column with the features that it became."""
        found, start = [], 0
        for column in self.columns:
            width = 1 + column["missing"] if column["kind"] == "number" else len(column["values"]) + 1
            found.append((column, slice(start, start + width)))
            start += width
        return found

    def transform(self, table: pa.Table) -> np.ndarray:
        """(N, n_features) float32. Extra columns are ignored; InputError names the missing ones."""
        absent = [column["name"] for column in self.columns if column["name"] not in table.column_names]
        if absent:
            raise InputError(
                f"The table lacks the column {', '.join(absent[:10])}; it has {', '.join(table.column_names[:20])}."
            )
        out = np.zeros((table.num_rows, len(self.features)), dtype=np.float32)  # (N, D)
        for column, where in self.slices:
            write = _write_number if column["kind"] == "number" else _write_symbol
            write(out[:, where], column, table[column["name"]])
        return out

    @property
    def read_as(self) -> dict[str, pa.DataType]:
        """The columns that `transform` needs, and what a file's texts are read as."""
        return {
            column["name"]: QUANTITIES[column["type"]] if column["kind"] == "number" else pa.string()
            for column in self.columns
        }

    def as_table(self, rows: Any) -> pa.Table:
        """Rows as users have them (an Arrow table, a data frame, an array with the training file's columns)."""
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
        state = {
            "columns": self.columns,
            "dropped": self.dropped,
            "names": self.names,
            "layout": dataclasses.asdict(self.layout),
        }
        path.write_text(json.dumps(state, indent=1, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "TablePreprocessor":
        """Read it back. Raises InputError where it isn't what `save` writes: the file may be a stranger's."""
        return cls.from_state(path, read_state(path))

    @classmethod
    def from_state(cls, path: Path, state: dict[str, Any]) -> "TablePreprocessor":
        """From the object in a file. Raises InputError where it isn't what `save` writes."""
        if fault := next(_faults(state), None):
            raise InputError(f"{path} is damaged: {fault}.")
        return cls(state["columns"], state["dropped"], state["names"], FileLayout(**state["layout"]))


def _faults(state: Any) -> Iterator[str]:
    """What in a saved encoder is not as its words above say."""
    yield from _entry_faults("it", state, STATE)
    yield from _entry_faults("layout", state["layout"], get_type_hints(FileLayout, include_extras=True))
    for index, column in enumerate(state["columns"]):
        where, kind = f"columns[{index}]", column.get("kind")
        if kind not in ("number", "symbol"):
            yield f"{where}.kind must be number or symbol, not {repr(kind)[:100]}"
            return
        powered = kind == "number" and "power" in column
        yield from _entry_faults(where, column, (NUMBER if kind == "number" else SYMBOL) | (POWERED if powered else {}))
        if powered:
            yield from _entry_faults(f"{where}.power", column["power"], POWER)
    names = [column["name"] for column in state["columns"]]
    if not names or len(set(names)) < len(names) or not set(names) <= set(state["names"]):
        yield "its columns must be some of its names, each once"


def _entry_faults(where: str, entries: Any, wanted: dict[str, Any]) -> Iterator[str]:
    if not isinstance(entries, dict) or set(entries) != set(wanted):
        yield f"{where} must have {', '.join(wanted)}, and nothing else"
        return
    for name, annotation in wanted.items():
        if not fits(entries[name], annotation):
            yield f"{where}.{name} must be {expected(annotation)}, not {repr(entries[name])[:100]}"


def _learn(name: str, values: pa.ChunkedArray, scaling: Scaling) -> tuple[dict[str, Any], str]:
    """What a column's training values teach, or the reason to drop it."""
    if not is_number(values.type) and not is_symbol(values.type):
        return {}, f"of the type {values.type}, which is neither a number nor a text"
    if is_number(values.type):
        column, reason = _learn_number(name, as_numbers(name, values), scaling)
        return {"type": quantity(values.type)} | column, reason
    counts = pc.value_counts(as_symbols(values)).to_pylist()
    if len(counts) == 1:
        return {}, "one value in the training rows"
    if len(counts) > MAX_SYMBOLS and len(counts) > 0.5 * len(values):
        return {}, f"names its rows ({len(counts)} values in {len(values)} training rows){_spoiled(counts)}"
    counts.sort(key=lambda entry: (-entry["counts"], entry["values"]))
    return {"name": name, "kind": "symbol", "values": [entry["values"] for entry in counts[:MAX_SYMBOLS]]}, ""


def _spoiled(counts: list[dict[str, Any]]) -> str:
    """Says so where a text column is numbers but for a few values."""
    odd = [entry["values"] for entry in counts if not _is_numeral(entry["values"])]
    odd = [value for value in odd if value != MISSING_SYMBOL]
    return f"; it would be a number, were it not for {odd[0]!r}" if odd and len(odd) < 0.1 * len(counts) else ""


def _is_numeral(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _learn_number(name: str, numbers: np.ndarray, scaling: Scaling) -> tuple[dict[str, Any], str]:
    finite = numbers[np.isfinite(numbers)]
    missing = len(finite) < len(numbers)
    if len(finite) == 0:
        return {}, "no value in the training rows"
    mean, std = float(finite.mean()), float(finite.std())
    # Rounding leaves a constant column of large numbers a tiny spread; it is none.
    constant = std <= 1e-9 * max(abs(mean), 1e-30)
    if constant and not missing:
        return {}, "one value in the training rows"
    column = {"name": name, "kind": "number", "mean": mean, "std": 1.0 if constant else std, "missing": missing}
    if scaling == "power" and not constant:
        standard = (finite - mean) / std
        power = float(yeojohnson_normmax(standard))
        symmetric = yeojohnson(standard, power)
        if np.isfinite(symmetric).all() and symmetric.std() > 1e-6:  # else the fit has no finite optimum
            column["power"] = {"lambda": power, "mean": float(symmetric.mean()), "std": float(symmetric.std())}
    return column, ""


def _write_number(out: np.ndarray, column: dict[str, Any], values: pa.ChunkedArray) -> None:
    numbers = as_numbers(column["name"], values)
    if not column["missing"]:
        numbers = np.where(np.isinf(numbers), np.copysign(BEYOND, numbers), numbers)
    known = np.isfinite(numbers)
    scaled = (np.where(known, numbers, column["mean"]) - column["mean"]) / column["std"]
    if power := column.get("power"):
        with np.errstate(over="ignore"):
            symmetric = (yeojohnson(scaled, power["lambda"]) - power["mean"]) / power["std"]
        scaled = np.where(known, symmetric, 0.0)
    # The power transform may bound what it is given: the largest value must stay the strangest.
    scaled = np.where(known & (np.abs(numbers) >= BEYOND), np.copysign(LARGEST, numbers), scaled)
    out[:, 0] = scaled.clip(-LARGEST, LARGEST)
    if column["missing"]:
        out[:, 1] = ~known


def _write_symbol(out: np.ndarray, column: dict[str, Any], values: pa.ChunkedArray) -> None:
    known = pa.array(column["values"], pa.string())
    index = pc.fill_null(pc.index_in(as_symbols(values), known), len(known)).to_numpy()
    out[np.arange(len(out)), index] = 1.0
