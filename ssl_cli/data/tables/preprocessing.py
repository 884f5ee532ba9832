"""Preprocessing of a table's columns into a matrix of floats, fitted on the training rows and saved as JSON.

How each column is read is decided in `readings.py`; the features of a reading are these:

- A number is standardised by the mean and standard deviation of the training rows. `scaling="power"` first makes it
  symmetric by a Yeo-Johnson transform (Biometrika 87, 2000) of the standardised number, fitted on the training rows:
  this suits skewed measurements, and hurts counts that are mostly zero. A missing value becomes the mean (0 after
  scaling). If the training rows had missing values, one more feature says whether the value was missing. An infinite
  value (or one beyond 1e100) becomes the largest one, MAX_SCALED; but if the training rows had missing values, it is
  missing, too. A date that is read as one number counts seconds.
- A category becomes one feature for each of the MAX_CATEGORIES most frequent values of the training rows, and one for
  all other values, so that a value never seen in training stands out. A missing value is a category of its own.
- The parts of a date are the hour of day, as sine and cosine, the weekday, a category, and the time since the previous
  row of the file, a number, missing in the first row. Each part is explained by itself.
- A column with a single value in the training rows is left out, and so is a text column that identifies its rows (more
  than MAX_CATEGORIES values, most of them unique).
"""

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ssl_cli.data.io.arrow import FileLayout
from ssl_cli.data.io.chunks import ColumnTypes, parse_column
from ssl_cli.data.io.columns import QUANTITIES, is_categorical
from ssl_cli.data.io.json_state import read_state
from ssl_cli.data.io.notation import Notation
from ssl_cli.data.tables.dates import part_values
from ssl_cli.data.tables.features import Column, Scaling, feature_names, source_of, write_features
from ssl_cli.data.tables.fitting import fit_column, parse_notation
from ssl_cli.data.tables.readings import LEFT_OUT, Reading, ReadingOptions, read_columns
from ssl_cli.data.tables.state import state_errors
from ssl_cli.errors import InputError


class TablePreprocessor:
    """Statistics of each column's training rows, and the transform of columns into features that they define.

    `columns` are plain dicts, one for each group of features: {"name", "kind": "number", "type", "mean", "std",
    "missing"}, with a "power" of {"lambda", "mean", "std"} if it is transformed, and the "notation" of a text; or, for
    a category, {"name", "kind": "symbol", "values"}; or, for a time of day, {"name", "kind": "clock", "missing"}. Each
    also has its number of training "rows", and of these the "counts" of a category's values, or how many lack a value,
    "n_missing" (runs of earlier versions don't). The "type" is what the number is in a file (see `columns.QUANTITIES`).
    A part of a date also has its "source", which is the column in the file, the "part" and the source's "type".
    `dropped` maps the other columns to the reason. `names` are all columns, `layout` is that of the training file.
    `readings` says of each column how it was read and why, if it was fitted and not
    loaded.
    """

    def __init__(
        self,
        columns: list[Column],
        dropped: dict[str, str],
        names: list[str],
        layout: FileLayout | None = None,
        readings: list[Reading] | None = None,
    ):
        self.columns, self.dropped, self.names, self.readings = columns, dropped, names, readings or []
        self.layout = layout or FileLayout(names)
        self.notations = {
            column["name"]: Notation(**column["notation"]) for column in columns if "notation" in column
        }

    @classmethod
    def fit(
        cls,
        table: pa.Table,
        scaling: Scaling = "standard",
        layout: FileLayout | None = None,
        rows: np.ndarray | None = None,
        options: ReadingOptions | None = None,
    ) -> "TablePreprocessor":
        """Fit to the training rows of a file with a `layout`: to all rows of the table, or those of the index `rows`.

        Raises InputError if no column is left, or a column can't be read as `options` say.
        """
        if not table.column_names:
            raise InputError("No column is left to learn from: data.drop leaves out all of them.")
        rows = np.arange(len(table)) if rows is None else rows
        columns, readings = list[Column](), list[Reading]()
        for reading in read_columns(table, rows, options):
            if reading.read_as != LEFT_OUT:
                fitted, reading = fit_column(reading, table[reading.column], scaling, rows)
                columns += fitted
            readings.append(reading)
        dropped = {reading.column: reading.why for reading in readings if reading.read_as == LEFT_OUT}
        if not columns:
            raise InputError(f"No column is left to learn from: {'; '.join(f'{n}: {r}' for n, r in dropped.items())}.")
        return cls(columns, dropped, table.column_names, layout, readings)

    @property
    def feature_names(self) -> list[str]:
        """The names of the features, in order: `amount`, `amount is missing`, `type=CASH_OUT`, ..."""
        return [name for column in self.columns for name in feature_names(column)]

    @property
    def feature_slices(self) -> list[tuple[Column, slice]]:
        """Each column with the slice of its features."""
        slices, start = [], 0
        for column in self.columns:
            width = len(feature_names(column))
            slices.append((column, slice(start, start + width)))
            start += width
        return slices

    @property
    def sources(self) -> list[str]:
        """The names of the columns that `transform` needs."""
        return list(dict.fromkeys(map(source_of, self.columns)))

    @property
    def column_types(self) -> ColumnTypes:
        """The columns that `transform` needs, with the types, or notations, as which a file's texts are parsed."""
        return {
            source_of(column): self.notations.get(column["name"])
            or (QUANTITIES[column["type"]] if "type" in column else pa.string())
            for column in self.columns
        }

    def transform(self, table: pa.Table, before: pa.Table | None = None) -> np.ndarray:
        """Return the features (N, D) float32 of a table. Extra columns are ignored.

        `before` has the row that comes before the table's first, if it is known. Raises InputError if a column is
        missing, or a number is not numeric.
        """
        self._check_names(table.column_names)
        slices = self.feature_slices
        out = np.zeros((table.num_rows, slices[-1][1].stop), dtype=np.float32)  # (N, D)
        for column, place in slices:
            write_features(out[:, place], column, self.values(column, table, before))
        return out

    def values(self, column: Column, table: pa.Table, before: pa.Table | None = None) -> Any:
        """Return the values (N,) of a column as its features are made of them: parts of dates, texts as numbers.

        Raises InputError if a text does not follow the notation of its column, or is no such value as in training.
        """
        name = source_of(column)
        if "part" in column:
            dates = (None if rows is None else self._parsed(column, rows[name]) for rows in (table, before))
            return part_values(name, column["part"], *dates)
        return self._parsed(column, table[name])

    def _parsed(self, column: Column, values: pa.ChunkedArray) -> pa.ChunkedArray:
        name = column["name"]
        if name in self.notations and is_categorical(values.type):
            return parse_notation(name, values, self.notations[name])
        return parse_column(source_of(column), values, QUANTITIES[column["type"]]) if "type" in column else values

    def as_table(self, rows: Any) -> pa.Table:
        """Return the user's rows as a table: from an Arrow table, a data frame, or an array of all training columns.

        Raises InputError if an array has another number of columns.
        """
        if isinstance(rows, pa.Table | pa.RecordBatch):
            return pa.table(rows)
        if hasattr(rows, "columns") and hasattr(rows, "dtypes"):
            return self._from_frame(rows)
        array = np.asarray(rows)
        if array.ndim != 2 or array.shape[1] != len(self.names):
            raise InputError(
                f"The array is {array.shape}; it must be (N, {len(self.names)}): {', '.join(self.names[:10])}, ..."
            )
        return pa.table({name: array[:, index] for index, name in enumerate(self.names)})

    def _from_frame(self, frame: Any) -> pa.Table:
        """Return the needed columns of a data frame. Raises InputError if one mixes types, or is there twice."""
        names = list(map(str, frame.columns))
        self._check_names(names)
        counts, sources = Counter(names), set(self.sources)
        if twice := [name for name in self.sources if counts[name] > 1]:
            raise InputError(f"The data frame has more than one column called {', '.join(twice)}: rename them.")
        wanted = frame.loc[:, [name in sources for name in names]]
        try:
            return pa.Table.from_pandas(wanted, preserve_index=False)
        except (pa.ArrowException, TypeError) as error:
            raise InputError(f"The data frame can't be read: {'; '.join(map(str, error.args))}.") from error

    def _check_names(self, names: list[str]) -> None:
        known = set(names)
        if absent := [name for name in self.sources if name not in known]:
            raise InputError(f"The table lacks the column {', '.join(absent[:10])}; it has {', '.join(names[:20])}.")

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
        if (error := next(state_errors(state), None)) is not None:
            raise InputError(f"{path} is damaged: {error}.")
        return cls(state["columns"], state["dropped"], state["names"], FileLayout(**state["layout"]))
