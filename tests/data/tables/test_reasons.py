"""Reasons in words: a category with its share of the training rows, a number beside the expected one."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ssl_cli.data.tables.dates import GAP, MISSING
from ssl_cli.data.tables.preprocessing import TablePreprocessor
from ssl_cli.data.tables.readings import ReadingOptions
from ssl_cli.data.tables.reasons import cell_texts, reason

N = 400
TRAIN = pa.table(
    {
        "radius": np.linspace(10, 20, N),
        "gap": pa.array([None if k % 4 == 0 else float(k * k % 97) for k in range(N)]),
        "full": pa.array([float(k % 50) if k % 100 == 0 else None for k in range(N)]),
        "country": pa.array(["DE"] * 300 + ["US"] * 8 + ["FR"] * 90 + [None] * 2),
        "city": pa.array([f"c{k % 120}" for k in range(N)]),  # more values than are kept
        "price": pa.array([f"${k % 7},{k % 1000:03d}.50" if k % 7 else f"${k}.50" for k in range(N)]),
        "is_new": pa.array([k % 50 == 0 for k in range(N)]),
        "when": pa.array(np.arange(N) * 7777, pa.timestamp("s")),
    }
)
NEW = pa.table(
    {
        "radius": [27.4, None],
        "gap": [5.0, None],
        "full": [5.0, None],
        "country": ["US", "XX"],
        "city": ["c0", "nowhere"],
        "price": ["$1,234,567.25", "$3.00"],
        "is_new": [True, False],
        "when": pa.array([3 * 3600, None], pa.timestamp("s")),
    }
)
WANTED = {"radius": "10", "gap": MISSING, "full": "0", "price": "$0.5", "when, hour of day": "00:00"}
EXPECTED = [  # of each row of NEW, where a model expects what WANTED says
    {
        "radius": "radius = 27.4 (expected 10)",
        "gap": "gap = 5 (missing in 25 % of training rows)",
        "full": "full = 5 (expected 0)",
        "country": "country = US (2 % of training rows)",
        "city": "city = c0 (1 % of training rows)",
        "price": "price = $1,234,567.25 (expected $0.5)",
        "is_new": "is_new = True (2 % of training rows)",
        "when, hour of day": "when, hour of day = 03:00 (expected 00:00)",
        "when, weekday": "when, weekday = Thursday (17 % of training rows)",
    },
    {
        "radius": "radius is missing (not in the training rows)",
        "gap": "gap is missing (25 % of training rows)",
        "full": "full is missing (99 % of training rows)",
        "country": "country = XX (not in the training rows)",
        "city": "city = nowhere (rare: values like it are 15 % of training rows together)",
        "price": "price = $3.00 (expected $0.5)",
        "is_new": "is_new = False (98 % of training rows)",
        "when, hour of day": "when, hour of day is missing (not in the training rows)",
        "when, weekday": "when, weekday is missing (not in the training rows)",
    },
]


def reasons(preprocessor: TablePreprocessor) -> list[dict[str, str]]:
    columns = [column for column in preprocessor.columns if column.get("part") != GAP]
    texts = cell_texts(preprocessor, NEW, [(column, row) for column in columns for row in range(len(NEW))], None)
    x = preprocessor.transform(NEW)
    return [
        {
            column["name"]: reason(column, x[row, place], texts[column["name"], row], WANTED.get(column["name"], ""))
            for column, place in preprocessor.feature_slices
            if column in columns
        }
        for row in range(len(NEW))
    ]


@pytest.mark.parametrize("scaling", ["standard", "power"])
def test_every_kind_of_column_has_a_reason_also_after_saving(tmp_path: Path, scaling: str) -> None:
    preprocessor = TablePreprocessor.fit(TRAIN, scaling, options=ReadingOptions(dates="parts"))
    preprocessor.save(tmp_path / "preprocessor.json")
    for each in (preprocessor, TablePreprocessor.load(tmp_path / "preprocessor.json")):
        assert reasons(each) == EXPECTED


def test_a_number_with_many_decimal_places_is_short_in_a_sentence() -> None:
    preprocessor = TablePreprocessor.fit(pa.table({"v": [0.5, 1.5]}))
    column, features = preprocessor.columns[0], np.zeros(1)
    shown = {"-11.7486890255326": "-11.7487", "4017972.88": "4017972.88", "1234567890.123": "1234567890", "0.1": "0.1"}
    assert {text: reason(column, features, text, "1") for text in shown} == {
        text: f"v = {short} (expected 1)" for text, short in shown.items()
    }


def test_a_run_saved_without_counts_says_only_the_value(tmp_path: Path) -> None:
    preprocessor = TablePreprocessor.fit(TRAIN, options=ReadingOptions(dates="parts"))
    for column in preprocessor.columns:
        for name in ("counts", "n_missing", "rows"):
            column.pop(name, None)
    preprocessor.save(tmp_path / "preprocessor.json")
    first, second = reasons(TablePreprocessor.load(tmp_path / "preprocessor.json"))
    assert (first["country"], second["country"]) == ("country = US", "country = XX")
    assert (first["gap"], second["gap"]) == ("gap = 5 (usually missing)", "gap is missing")
    assert first["radius"] == "radius = 27.4 (expected 10)"
