"""Fit of a column to its training values, as it is read: the statistics of its features, and what there is to say."""

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ssl_cli.data.io.codes import EXACT
from ssl_cli.data.io.columns import as_numbers, is_categorical, is_number, missing_to_null, quantity_name
from ssl_cli.data.io.notation import Notation
from ssl_cli.data.tables.dates import GAP, HOUR, WEEKDAY, part_name, part_values
from ssl_cli.data.tables.features import (
    MAX_CATEGORIES,
    ONE_VALUE,
    Column,
    Scaling,
    almost_numeric,
    fit_category,
    fit_clock,
    fit_number,
)
from ssl_cli.data.tables.readings import CATEGORY, DATES_AS_TEXT, LEFT_OUT, PARTS, TEXT, Reading, option_for
from ssl_cli.errors import InputError

ONE_HOT = 20  # values of a text column; of one with more the number is said


def fit_column(
    reading: Reading, values: pa.ChunkedArray, scaling: Scaling, rows: np.ndarray
) -> tuple[list[Column], Reading]:
    """Return the statistics of a column's training values as it is read, and the reading, if they don't change it."""
    name, index = reading.column, pa.array(rows)
    if reading.read_as == PARTS:
        return _fit_parts(reading, values, scaling, rows)
    if reading.read_as == CATEGORY:
        column, reason, n_values = fit_category(name, values.take(index), keep=reading.asked)
        if reason:
            if reading.why != TEXT:
                reason = f"{reading.why}; {reason}"
            elif n_values > 1:
                reason += almost_numeric(values)
            change = reading.change if reading.why == DATES_AS_TEXT else option_for(name, "category")
            return [], _left_out(reading, reason, change if n_values > 1 else "")
        if is_quantity(values):  # in another file it may be written otherwise: 0.50 is the category 0.5
            column["type"] = quantity_name(values.type)
        return [column], _say_categories(reading, n_values)
    notation = reading.notation
    if notation is not None:
        values = parse_notation(name, values, notation)
    column, reason = fit_number(name, as_numbers(name, values.take(index)), scaling)
    if reason:
        return [], _left_out(reading, reason)
    quantity = {"type": quantity_name(values.type)}
    return [quantity | column | ({} if notation is None else {"notation": dataclasses.asdict(notation)})], reading


def is_quantity(values: pa.ChunkedArray) -> bool:
    """Return whether a column holds numbers, truth values, dates or times; whole numbers, as far as they are exact."""
    dtype = values.type
    if pa.types.is_integer(dtype) or (pa.types.is_decimal(dtype) and dtype.scale == 0):
        numbers = pc.cast(values.drop_null(), pa.float64(), safe=False).to_numpy()
        return bool((np.abs(numbers) < EXACT).all())
    return is_number(dtype) and not pa.types.is_null(dtype) and not pa.types.is_duration(dtype)


def _left_out(reading: Reading, why: str, change: str = "") -> Reading:
    return Reading(reading.column, LEFT_OUT, why, change)


def _say_categories(reading: Reading, n_values: int) -> Reading:
    """Return the reading of a category with its number of values; of plain texts with few it is not said."""
    if reading.why == TEXT and n_values <= ONE_HOT:
        return dataclasses.replace(reading, why=f"text of at most {ONE_HOT} values, one-hot")
    said = f"{n_values:,} categories, one-hot"
    if n_values > MAX_CATEGORIES:
        said = f"{n_values:,} categories: the {MAX_CATEGORIES} most frequent one-hot, the rest is \"other\""
    return dataclasses.replace(reading, why=f"{reading.why}: {said}")


def _fit_parts(
    reading: Reading, values: pa.ChunkedArray, scaling: Scaling, rows: np.ndarray
) -> tuple[list[Column], Reading]:
    """Return the statistics of a date's parts; one that is constant in the training rows is left out."""
    columns = list[Column]()
    for part in reading.parts:
        name = part_name(reading.column, part)
        of_part = pa.chunked_array([part_values(reading.column, part, values)])
        # The file's first row has no previous one: that is no missing value to learn from.
        training = of_part.take(pa.array(rows[rows > 0] if part == GAP else rows))
        if part == HOUR:
            column, reason = fit_clock(name, training), ""
        elif part == WEEKDAY:
            column, reason, _ = fit_category(name, training)
        else:
            column, reason = fit_number(name, as_numbers(name, training), scaling)
        if not reason:
            dtype = pa.timestamp("us") if is_categorical(values.type) else values.type
            columns.append(column | {"source": reading.column, "part": part, "type": quantity_name(dtype)})
    return (columns, reading) if columns else ([], _left_out(reading, ONE_VALUE))


def parse_notation(name: str, values: pa.ChunkedArray, notation: Notation) -> pa.ChunkedArray:
    """Return texts as numbers. Raises InputError, with the column's `name`, if one does not follow the notation."""
    texts = missing_to_null(values.cast(values.type.value_type) if pa.types.is_dictionary(values.type) else values)
    numbers = notation.parse(texts)
    faulty = (numbers.is_null().to_numpy() & texts.is_valid().to_numpy()).nonzero()[0]
    if len(faulty):
        value = texts[int(faulty[0])].as_py()[:100]
        raise InputError(
            f"The column {name} holds {value!r}, which is not a number ({notation}), as it was in training."
        )
    return numbers
