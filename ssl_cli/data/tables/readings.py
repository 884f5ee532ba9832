"""How each column of a table is read (number, category, parts of a date, not at all), why, and how to change that.

The rules, in order:

- `data.read_as` decides for the columns that it names.
- A column without a name that counts its rows, and whole numbers that name rows, are left out (`identifiers.py`).
- A text column is a number where all its values follow one notation (`notation.py`), and a category otherwise.
- Codes are categories: whole numbers with leading zeros, or mostly beyond 2^53, of which a float64 would lose digits.
- Dates follow `data.dates`: parts (`dates.py`), one number, or left out. Without it they become parts where the time of
  day varies over the training rows.
- All other numbers, and truth values, are numbers as they stand in the file.

What a column holds is judged on all rows of the file, without labels. The statistics of its features are those of the
training rows: see `preprocessing.py`, which leaves out what is constant there.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from shlex import quote
from typing import Any, Literal, cast, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ssl_cli.config.choices import did_you_mean
from ssl_cli.data.io.codes import EXACT, HEXADECIMAL, LEADING_ZERO, is_code, mostly_inexact
from ssl_cli.data.io.columns import as_numbers, is_categorical, is_number, is_temporal, missing_to_null, trimmed
from ssl_cli.data.io.notation import AmbiguousNotation, Notation, find_notation
from ssl_cli.data.tables.dates import DAY_S, GAP, HOUR, WEEKDAY, is_in_order
from ssl_cli.data.tables.identifiers import identifier_reason, names_rows
from ssl_cli.errors import InputError

ReadAs = Literal["category", "number", "date", "drop"]
Dates = Literal["parts", "number", "drop"]
NUMBER, CATEGORY, PARTS, LEFT_OUT = "number", "category", "date parts", "left out"
IN_FILE, TEXT = "numeric in the file", "text"
SEVERAL_NAMELESS = "it has no name, as another column: name it in the file to use it"
DATES = "a date is written as 2026-03-28 or 2026-03-28 14:05:00"
# A day, month and year in an order that only a person knows: 03/04/2026, 28.3.2026, but no version 1.2.10.
DAY = "(0?[1-9]|[12][0-9]|3[01])"
TIME = "([ T][0-9:.]+( ?[AaPp][Mm])?)?"
ODD_DATE = re.compile(f"({DAY}[/-]{DAY}[/-]([0-9]{{2}}){{1,2}}|{DAY}[.]{DAY}[.][0-9]{{4}}){TIME}")
PAIR_END = "|".join(f"(?<=:{reading})," for reading in get_args(ReadAs))  # in a text of data.read_as
DATES_AS_TEXT = "dates, stored as text"
LONG_CODES = "codes: beyond 2^53 a number loses digits"


@dataclass(frozen=True)
class ReadingOptions:
    """What the user decides: `read_as` for columns by name, `dates` for all dates, `decimal` between two notations."""

    read_as: Mapping[str, ReadAs] = field(default_factory=dict)
    dates: Dates | None = None
    decimal: str | None = None


@dataclass(frozen=True)
class Reading:
    """How a column is read, why, and the option that changes it.

    `notation`: that of a number in a text column. `parts`: of a date. `asked`: the user decided it.
    """

    column: str
    read_as: str
    why: str
    change: str = ""
    notation: Notation | None = None
    parts: tuple[str, ...] = ()
    asked: bool = False


def read_columns(
    table: pa.Table, rows: np.ndarray | None = None, options: ReadingOptions | None = None
) -> list[Reading]:
    """Return the reading of each column of a file's table.

    `rows` are the indices of the training rows, or None for all. Raises InputError if `read_as` names no column or an
    impossible reading, or numbers can be read in two ways.
    """
    options, counts = options or ReadingOptions(), Counter(table.column_names)
    for name in options.read_as:
        if name not in counts:
            known = ", ".join(table.column_names[:50])
            hint = f"{did_you_mean(name, table.column_names)} The features are {known}."
            raise InputError(f"data.read_as names the column {name}, which is no feature.{hint}")
    return [
        Reading(name, LEFT_OUT, SEVERAL_NAMELESS)
        if counts[name] > 1
        else replace(_as_asked(name, table[name], rows, options.read_as[name], options), asked=True)
        if name in options.read_as
        else _as_found(name, table[name], rows, options)
        for name in table.column_names
    ]


def parse_read_as(text: str) -> dict[str, ReadAs]:
    """Return `data.read_as` from a text.

    Hydra's grammar has no names such as `größe`, so that `{größe:drop}` comes as text. Raises InputError if it does not
    give a reading for each name.
    """
    inside = text.strip().removeprefix("{").removesuffix("}")
    # A name may have commas: a pair ends with its reading.
    pairs = [pair.rpartition(":") for pair in re.split(PAIR_END, inside)]
    readings = {name.strip(): reading.strip() for name, _, reading in pairs}
    if "" in readings or not set(readings.values()) <= set(get_args(ReadAs)):
        raise InputError(
            f"data.read_as={text} must give a reading for each name, {{zip:category,when:date}}; the readings are "
            f"{', '.join(get_args(ReadAs))}."
        )
    return cast(dict[str, ReadAs], readings)


def option_for(column: str, read_as: ReadAs) -> str:
    """Return the option that sets the reading of a column, quoted for a shell where necessary; "" without a name."""
    if not column:
        return ""
    option = f"data.read_as={{{column}:{read_as}}}"
    return option if re.fullmatch(r"\w+", column) else quote(option)


def _as_found(name: str, values: pa.ChunkedArray, rows: np.ndarray | None, options: ReadingOptions) -> Reading:
    """Return the reading that a column's values suggest."""
    if not is_number(values.type) and not is_categorical(values.type):
        return Reading(name, LEFT_OUT, f"its type {values.type} is neither a number nor a text")
    if is_categorical(values.type):
        return _read_texts(name, values, options)
    if is_temporal(values.type):
        return _read_dates(name, values, rows, options.dates)
    if pa.types.is_boolean(values.type) or pa.types.is_null(values.type):
        return Reading(name, NUMBER, IN_FILE, option_for(name, "category"))
    if _has_lossy_integers(values):
        return Reading(name, CATEGORY, LONG_CODES, option_for(name, "number"))
    numbers = as_numbers(name, values)
    numbers = numbers[np.isfinite(numbers)]
    if reason := identifier_reason(name, numbers):
        return Reading(name, LEFT_OUT, reason, option_for(name, "number"))
    if names_rows(name) and len(numbers) and (numbers == np.round(numbers)).all():
        why = f"{IN_FILE}; by its name it may be an identifier"
        return Reading(name, NUMBER, why, option_for(name, "category"))
    return Reading(name, NUMBER, IN_FILE, option_for(name, "category"))


def _has_lossy_integers(values: pa.ChunkedArray) -> bool:
    """Return whether most values of a column of whole numbers are beyond 2^53."""
    if pa.types.is_decimal(values.type) and values.type.scale == 0:
        return mostly_inexact(pc.cast(values.drop_null(), pa.float64(), safe=False).to_numpy())
    if not pa.types.is_integer(values.type) or pc.max(values).as_py() is None:
        return False
    ends = pc.min_max(values).as_py()
    return max(ends["max"], -ends["min"]) > EXACT and mostly_inexact(
        pc.cast(values.drop_null(), pa.float64(), safe=False).to_numpy()
    )


def _read_texts(name: str, values: pa.ChunkedArray, options: ReadingOptions) -> Reading:
    texts = _texts(values)
    found = find_notation(texts, options.decimal)
    if isinstance(found, AmbiguousNotation):
        raise InputError(_ambiguity(name, found))
    if found is not None:
        return Reading(name, NUMBER, f"text with {found}", option_for(name, "category"), notation=found)
    if is_code(texts):
        return _read_codes(name, texts)
    if _are_dates(texts):
        return Reading(name, CATEGORY, DATES_AS_TEXT, option_for(name, "date"))
    example = texts.drop_null()[0].as_py() if texts.null_count < len(texts) else ""
    if ODD_DATE.fullmatch(example) and pc.all(pc.match_substring_regex(texts, f"^{ODD_DATE.pattern}$")).as_py():
        why = f"dates as {example}: only 2026-03-28 is read as one"
        return Reading(name, CATEGORY, why, option_for(name, "drop"))
    return Reading(name, CATEGORY, TEXT, option_for(name, "drop"))


def _read_codes(name: str, texts: pa.ChunkedArray) -> Reading:
    zero, hexadecimal = (_first_match(trimmed(texts), pattern) for pattern in (LEADING_ZERO, HEXADECIMAL))
    if hexadecimal:
        return Reading(name, CATEGORY, f"hexadecimal codes ({hexadecimal})", option_for(name, "drop"))
    why = f"codes with leading zeros ({zero})" if zero else LONG_CODES
    return Reading(name, CATEGORY, why, option_for(name, "number"))


def _first_match(texts: pa.ChunkedArray, pattern: str) -> str:
    index = pc.index(pc.match_substring_regex(texts, pattern), True).as_py()
    return "" if index < 0 else texts[index].as_py()[:20]


def _are_dates(texts: pa.ChunkedArray) -> bool:
    try:
        for some in (texts[:100], texts):
            pc.cast(trimmed(some), pa.timestamp("us"))
    except pa.ArrowInvalid:
        return False
    return texts.null_count < len(texts)


def _texts(values: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_dictionary(values.type):
        values = pc.cast(values, values.type.value_type)
    return missing_to_null(pc.cast(values, pa.string()))


def _ambiguity(name: str, found: AmbiguousNotation) -> str:
    shown = [f"{value:.10g} ({notation})" for notation, value in found.readings]
    options = " or ".join(f"data.decimal='{notation.decimal}'" for notation, _ in found.readings)
    return (
        f"The column {name} can be read in two ways: {found.example!r} is {shown[0]} or {shown[1]}, and no value "
        f"decides. Set {options}, or {option_for(name, 'category')}."
    )


def _read_dates(name: str, values: pa.ChunkedArray, rows: np.ndarray | None, dates: Dates | None) -> Reading:
    """Return the reading of a column of dates or times."""
    if dates == "drop":
        return Reading(name, LEFT_OUT, "data.dates=drop", "data.dates=null")
    seconds = as_numbers(name, values)  # (N,)
    training = seconds if rows is None else seconds[rows]
    training = training[np.isfinite(training)] % DAY_S
    varies = len(training) > 0 and bool((training != training[0]).any())
    if dates == "number" or (dates is None and not varies):
        why = f"data.dates={dates}" if dates else "date without a time of day that varies"
        return Reading(name, NUMBER, why, "data.dates=parts")
    has_day = not pa.types.is_time(values.type)
    in_order = has_day and is_in_order(seconds)
    parts = (*([HOUR] if varies else []), *([WEEKDAY] if has_day else []), *([GAP] if in_order else []))
    why = ", ".join(parts) + ("; rows are not in order of time" if has_day and not in_order else "")
    return Reading(name, PARTS, why, "data.dates=number", parts=parts)


def _as_asked(
    name: str, values: pa.ChunkedArray, rows: np.ndarray | None, read_as: ReadAs, options: ReadingOptions
) -> Reading:
    """Return the reading that `data.read_as` asks for. Raises InputError if the values can't be read so."""
    why = f"data.read_as={read_as}"
    change = "leave it out of data.read_as"
    if read_as == "drop":
        return Reading(name, LEFT_OUT, why, change)
    impossible = f"data.read_as={{{name}:{read_as}}}: the column holds"
    if not is_number(values.type) and not is_categorical(values.type):
        raise InputError(f"{impossible} {values.type}, which can only be left out ({option_for(name, 'drop')}).")
    if read_as == "category":
        return Reading(name, CATEGORY, why, change)
    if is_temporal(values.type) and read_as == "number":
        return Reading(name, NUMBER, why, change)
    if is_categorical(values.type):
        texts = _texts(values)
        if read_as == "date":
            values = _as_dates(texts, impossible)
        else:
            notation = _as_number_texts(name, texts, impossible, options)
            return Reading(name, NUMBER, f"{why}; {notation}", change, notation=notation)
    if read_as == "number":
        return Reading(name, NUMBER, why, change)
    if not is_temporal(values.type):
        raise InputError(f"{impossible} numbers ({values.type}); {DATES}.")
    reading = _read_dates(name, values, rows, None if options.dates == "drop" else options.dates)
    return replace(reading, why=f"{why}; {reading.why}")


def _as_dates(texts: pa.ChunkedArray, impossible: str) -> pa.ChunkedArray:
    try:
        return pc.cast(trimmed(texts), pa.timestamp("us"))
    except pa.ArrowInvalid as error:
        example = texts.drop_null()[0].as_py() if texts.null_count < len(texts) else ""
        raise InputError(f"{impossible} {example[:50]!r}; {DATES}.") from error


def _as_number_texts(name: str, texts: pa.ChunkedArray, impossible: str, options: ReadingOptions) -> Notation:
    """Return the notation of texts that must be numbers; plain digits, with leading zeros too, are numbers here."""
    found: Any = find_notation(texts, options.decimal)
    if isinstance(found, AmbiguousNotation):
        raise InputError(_ambiguity(name, found))
    if found is None:
        plain = Notation(options.decimal or ".", leading_zeros=True)
        follows = plain.follows(texts)
        index = pc.index(follows, False).as_py()
        if index >= 0:
            odd = texts[index].as_py()[:50]
            raise InputError(f"{impossible} {odd!r}, which is no number in any notation of its others.")
        found = plain
    return found
