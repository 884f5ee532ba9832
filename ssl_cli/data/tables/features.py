"""Features of a column: statistics of its training values, and the numbers that they make of any values.

The kinds: a number (standardised), a category (one-hot) and a time of day (sine and cosine). The rules are at the top
of `preprocessing.py`.
"""

import re
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.stats import yeojohnson, yeojohnson_normmax

from ssl_cli.data.io.codes import LEADING_ZERO
from ssl_cli.data.io.columns import (
    MAX_FINITE,
    as_categories,
    as_categories_of,
    as_numbers,
    is_number,
    missing_to_null,
)
from ssl_cli.data.io.notation import share_of_numbers
from ssl_cli.data.tables.dates import clock_features
from ssl_cli.errors import InputError

Scaling = Literal["standard", "power"]
Column = dict[str, Any]  # a column's statistics, as they are saved
MAX_CATEGORIES = 100
MAX_SCALED = 1e6  # standard deviations; larger values are clipped to it, and float32 can still square it
FEW_ODD = 0.1  # of a text column's values: without them it would be numeric
ONE_VALUE = "it has one value in the training rows"
NO_VALUE = "it has no value in the training rows"


def source_of(column: Column) -> str:
    """Return the name of the column in the file that a column's features are made of: a part of a date has another."""
    return str(column["source"] if "part" in column else column["name"])


def feature_names(column: Column) -> list[str]:
    """Return the names of a column's features: `amount`, `amount is missing`, `type=CASH_OUT`, ..."""
    name = column["name"]
    if column["kind"] == "symbol":
        return [f"{name}={value}" for value in column["values"]] + [f"{name}=other"]
    own = [name] if column["kind"] == "number" else [f"{name} (sine)", f"{name} (cosine)"]
    return [*own, *([f"{name} is missing"] if column["missing"] else [])]


def fit_category(name: str, values: pa.ChunkedArray, keep: bool = False) -> tuple[Column, str, int]:
    """Return a category's statistics, or the reason to leave it out; and its number of values in training.

    With `keep` a column stays whose values identify rows.
    """
    counts = pc.value_counts(as_categories(values)).to_pylist()
    if len(counts) == 1:
        return {}, ONE_VALUE, 1
    if not keep and len(counts) > MAX_CATEGORIES and len(counts) > 0.5 * len(values):
        return {}, f"it identifies rows ({len(counts):,} values in {len(values):,})", len(counts)
    counts.sort(key=lambda entry: (-entry["counts"], entry["values"]))
    kept, n_each = ([entry[key] for entry in counts[:MAX_CATEGORIES]] for key in ("values", "counts"))
    column = {"name": name, "kind": "symbol", "values": kept, "counts": n_each, "rows": len(values)}
    return column, "", len(counts)


def almost_numeric(values: pa.ChunkedArray) -> str:
    """Return a hint if only a few values of a text column, over all rows of a file, are not numbers."""
    texts = pc.drop_null(pc.unique(missing_to_null(pc.cast(values, pa.string()))))
    share, odd = share_of_numbers(texts)
    return f"; it would be numeric without {odd!r}" if 1 - FEW_ODD < share < 1 else ""


def fit_clock(name: str, seconds: pa.ChunkedArray) -> Column:
    """Return what is to be known of times of day: whether any is missing."""
    n_missing = seconds.null_count
    return {"name": name, "kind": "clock", "missing": n_missing > 0, "n_missing": n_missing, "rows": len(seconds)}


def fit_number(name: str, numbers: np.ndarray, scaling: Scaling) -> tuple[Column, str]:
    """Return the statistics of a number's training values (N,), or the reason to leave it out."""
    finite = numbers[np.isfinite(numbers)]
    missing = len(finite) < len(numbers)
    if len(finite) == 0:
        return {}, NO_VALUE
    mean, std = float(finite.mean()), float(finite.std())
    # Rounding gives a constant column of large numbers a tiny standard deviation.
    constant = std <= 1e-9 * max(abs(mean), 1e-30)
    if constant and not missing:
        return {}, ONE_VALUE
    column = {"name": name, "kind": "number", "mean": mean, "std": 1.0 if constant else std, "missing": missing}
    column |= {"n_missing": len(numbers) - len(finite), "rows": len(numbers)}
    if scaling == "power" and not constant:
        standard = (finite - mean) / std
        power = float(yeojohnson_normmax(standard))
        symmetric = yeojohnson(standard, power)
        if np.isfinite(symmetric).all() and symmetric.std() > 1e-6:  # otherwise the fit has no finite optimum
            column["power"] = {"lambda": power, "mean": float(symmetric.mean()), "std": float(symmetric.std())}
    return column, ""


def write_features(out: np.ndarray, column: Column, values: pa.ChunkedArray) -> None:
    """Write a column's features into `out` (N, W). Raises InputError if a number's value is not a number."""
    if column["kind"] == "symbol":
        _write_category(out, column, values)
    elif column["kind"] == "clock":
        _write_clock(out, column, as_numbers(column["name"], values))
    else:
        _write_number(out, column, as_numbers(column["name"], values))


def _write_number(out: np.ndarray, column: Column, numbers: np.ndarray) -> None:
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


def _write_category(out: np.ndarray, column: Column, values: pa.ChunkedArray) -> None:
    if is_number(values.type) and any(re.fullmatch(LEADING_ZERO, value.strip()) for value in column["values"]):
        raise InputError(
            f"The column {column['name']} has codes with leading zeros, and these rows have {values.type}: "
            "read it as text."
        )
    known = pa.array(_known_values(column, values.type), pa.string())
    index = pc.fill_null(pc.index_in(as_categories(values), known), len(known)).to_numpy()
    out[np.arange(len(out)), index] = 1.0


def _known_values(column: Column, dtype: pa.DataType) -> list[str]:
    """Return a category's values as `as_categories` writes values of a type.

    Raises InputError if two of them are the same there.
    """
    known: list[str] = column["values"]
    if "type" in column or not is_number(dtype) or pa.types.is_null(dtype):
        return known
    as_read = as_categories_of(known, dtype)
    if len(set(as_read)) < len(known):
        same = next(text for text in as_read if as_read.count(text) > 1)
        several = " and ".join(value for value, text in zip(known, as_read, strict=True) if text == same)
        raise InputError(
            f"The column {column['name']} has the categories {several}, which are one and the same as {dtype}: "
            "read it as text."
        )
    return as_read


def _write_clock(out: np.ndarray, column: Column, seconds: np.ndarray) -> None:
    """Write sine and cosine; a missing time is the circle's middle, as far from each hour as from the others."""
    known = np.isfinite(seconds)
    out[:, :2] = np.where(known[:, None], clock_features(np.where(known, seconds, 0.0)), 0.0)
    if column["missing"]:
        out[:, 2] = ~known
