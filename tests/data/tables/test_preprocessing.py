"""Tests of the rules in the docstring of preprocessing.py."""

import decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.preprocessing import PowerTransformer

from ssl_cli.data.io.arrow import read_table
from ssl_cli.data.io.columns import as_numbers
from ssl_cli.data.tables.features import MAX_CATEGORIES
from ssl_cli.data.tables.inverse import format_value
from ssl_cli.data.tables.preprocessing import TablePreprocessor
from ssl_cli.data.tables.readings import ReadingOptions
from ssl_cli.errors import InputError

TRAIN = pa.table(
    {
        "amount": [1.0, 2.0, 3.0, 6.0],
        "kind": ["in", "out", "in", None],
        "constant": [7, 7, 7, 7],
        "gappy": [1.0, None, float("inf"), 3.0],
        "id": ["a", "b", "c", "d"],
    }
)


def test_numbers_are_standardised_by_the_training_rows() -> None:
    preprocessor = TablePreprocessor.fit(TRAIN)
    x = preprocessor.transform(TRAIN)[:, preprocessor.feature_names.index("amount")]
    np.testing.assert_allclose(x, (np.array([1, 2, 3, 6]) - 3) / np.std([1, 2, 3, 6]), rtol=1e-6)


def test_categories_missing_and_unseen_in_training() -> None:
    preprocessor = TablePreprocessor.fit(TRAIN)
    names = ["kind=in", "kind=(missing)", "kind=out", "kind=other"]
    assert [name for name in preprocessor.feature_names if name.startswith("kind")] == names
    new = TRAIN.set_column(1, "kind", pa.array(["out", "never", None, "in"]))
    x = preprocessor.transform(new)[:, [preprocessor.feature_names.index(name) for name in names]]
    np.testing.assert_array_equal(x, [[0, 0, 1, 0], [0, 0, 0, 1], [0, 1, 0, 0], [1, 0, 0, 0]])


def test_missing_and_infinite_numbers_become_the_mean_with_an_indicator() -> None:
    preprocessor = TablePreprocessor.fit(TRAIN)
    x = preprocessor.transform(TRAIN)
    start = preprocessor.feature_names.index("gappy")
    assert preprocessor.feature_names[start + 1] == "gappy is missing"
    np.testing.assert_allclose(x[:, start : start + 2], [[-1, 0], [0, 1], [0, 1], [1, 0]])


def test_constants_are_dropped_with_the_reason() -> None:
    assert TablePreprocessor.fit(TRAIN).dropped == {"constant": "it has one value in the training rows"}


def test_identifiers_are_dropped_but_not_common_words() -> None:
    n = 4 * MAX_CATEGORIES
    table = pa.table({"id": [f"C{i}" for i in range(n)], "word": [f"w{i % (MAX_CATEGORIES + 5)}" for i in range(n)]})
    preprocessor = TablePreprocessor.fit(table)
    assert "identifies rows" in preprocessor.dropped["id"]
    assert len(preprocessor.feature_names) == MAX_CATEGORIES + 1


def test_power_scaling_is_yeo_johnson() -> None:
    skewed = np.random.default_rng(0).lognormal(size=(200, 1))
    preprocessor = TablePreprocessor.fit(pa.table({"a": skewed[:, 0]}), scaling="power")
    ours = preprocessor.transform(pa.table({"a": skewed[:, 0]}))
    standard = (skewed - skewed.mean()) / skewed.std()
    np.testing.assert_allclose(ours, PowerTransformer("yeo-johnson").fit_transform(standard), atol=1e-3)


def test_save_and_load_give_the_same_features(tmp_path: Path) -> None:
    preprocessor = TablePreprocessor.fit(TRAIN, scaling="power")
    preprocessor.save(tmp_path / "preprocessor.json")
    again = TablePreprocessor.load(tmp_path / "preprocessor.json")
    np.testing.assert_array_equal(again.transform(TRAIN), preprocessor.transform(TRAIN))


def test_frames_arrays_and_arrow_tables_give_the_same_features() -> None:
    values = np.random.default_rng(0).normal(size=(10, 3))
    table = pa.table({name: values[:, i] for i, name in enumerate("abc")})
    preprocessor = TablePreprocessor.fit(table)
    frame = pd.DataFrame(values[:, ::-1], columns=list("cba"), index=range(5, 15))
    for rows in (table, frame, values):
        np.testing.assert_array_equal(
            preprocessor.transform(preprocessor.as_table(rows)), preprocessor.transform(table)
        )


def test_times_are_seconds_and_nothing_overflows() -> None:
    stamp = pa.array([10**9 + 1, 3 * 10**9], pa.timestamp("ns"))
    seconds = {
        "stamp": (stamp, [1.000000001, 3]),
        "day": (pa.array([0, 2_932_896], pa.date32()), [0, 2_932_896 * 86_400]),
        "time": (pa.array([1, 2 * 10**9], pa.time64("ns")), [1e-9, 2]),
        "large": (pa.array([2**60, 2**60 + 2**54]), [2**60, 2**60 + 2**54]),
        "huge": (pa.array([1e308, 5.0]), [np.inf, 5.0]),
        "money": (pa.array([decimal.Decimal("1.25"), None]), [1.25, np.nan]),
        "flag": (pa.array([True, False]), [1, 0]),
    }
    for name, (column, expected) in seconds.items():
        np.testing.assert_allclose(as_numbers(name, pa.chunked_array([column])), expected)


def test_columns_that_are_neither_numbers_nor_texts_are_dropped() -> None:
    preprocessor = TablePreprocessor.fit(pa.table({"a": [1, 2, 3], "list": [[1], [2], [3]]}))
    assert "neither a number nor a text" in preprocessor.dropped["list"]


def test_texts_that_stand_for_numbers_and_dates_are_parsed() -> None:
    # A CSV read by pandas keeps dates, and columns with "?", as texts.
    day = pa.array([1_595_030_400, 1_595_116_800, 1_595_203_200], pa.timestamp("s"))
    preprocessor = TablePreprocessor.fit(pa.table({"day": day, "n": [1.0, 2.0, None]}))
    texts = pa.table({"day": ["2020-07-18", "2020-07-19", "2020-07-20"], "n": ["1", "2", "?"]})
    np.testing.assert_allclose(
        preprocessor.transform(texts), preprocessor.transform(pa.table({"day": day, "n": [1.0, 2.0, None]}))
    )


def test_typo_in_a_number_is_named() -> None:
    texts = [f"{i}.5" for i in range(400)]
    preprocessor = TablePreprocessor.fit(pa.table({"a": np.arange(400) % 7, "b": [*texts[:-1], "oops"]}))
    assert "it would be numeric without 'oops'" in preprocessor.dropped["b"]


def test_mismatched_rows_are_an_error() -> None:
    preprocessor = TablePreprocessor.fit(TRAIN)
    with pytest.raises(InputError, match="lacks the column amount"):
        preprocessor.transform(TRAIN.drop_columns("amount"))
    with pytest.raises(InputError, match=r"The array is \(2, 3\); it must be \(N, 5\): amount, kind"):
        preprocessor.as_table(np.zeros((2, 3)))
    with pytest.raises(InputError, match="The column amount holds 'x', which is not a number"):
        preprocessor.transform(TRAIN.set_column(0, "amount", pa.array(["x", "y", "z", "w"])))
    with pytest.raises(InputError, match="No column is left to learn from: a: it has one value"):
        TablePreprocessor.fit(pa.table({"a": [1, 1]}))


@pytest.mark.parametrize("scaling", ["standard", "power"])
def test_features_are_formatted_as_original_values(scaling: str) -> None:
    days = pa.array([19_000, 19_100, 19_250, 19_400], pa.date32())
    moments = pa.array([10**8, 2 * 10**8, 10**9, 2 * 10**9], pa.timestamp("s"))
    table = TRAIN.append_column("day", days).append_column("at", moments)
    preprocessor = TablePreprocessor.fit(table, scaling, options=ReadingOptions(dates="number"))
    x = preprocessor.transform(table)
    formatted = {
        column["name"]: [format_value(column, row[where]) for row in x] for column, where in preprocessor.feature_slices
    }
    assert [float(text) for text in formatted["amount"]] == pytest.approx([1, 2, 3, 6], rel=1e-4)
    assert formatted["kind"] == ["in", "out", "in", "(missing)"]
    assert formatted["gappy"][1:3] == ["(missing)", "(missing)"]
    # float32 resolves dates in this range to the day, timestamps to the hour.
    assert [text[:7] for text in formatted["day"]] == ["2022-01", "2022-04", "2022-09", "2023-02"]
    assert [text[:4] for text in formatted["at"]] == ["1973", "1976", "2001", "2033"]


def test_column_types_and_layout_survive_saving(tmp_path: Path) -> None:
    table = pa.table({"n": [1, 2], "t": [True, False], "d": pa.array([1, 2], pa.date32()), "s": ["a", "b"]})
    preprocessor = TablePreprocessor.fit(table)
    preprocessor.save(tmp_path / "preprocessor.json")
    column_types = TablePreprocessor.load(tmp_path / "preprocessor.json").column_types
    assert column_types == {"n": pa.float64(), "t": pa.bool_(), "d": pa.date32(), "s": pa.string()}
    assert TablePreprocessor.load(tmp_path / "preprocessor.json").layout == preprocessor.layout


@pytest.mark.parametrize("scaling", ["standard", "power"])
def test_infinite_values_become_the_largest_number(scaling: str) -> None:
    rng = np.random.default_rng(0)
    preprocessor = TablePreprocessor.fit(pa.table({"skewed": rng.exponential(size=500) ** 3}), scaling)
    x = preprocessor.transform(pa.table({"skewed": [np.inf, -np.inf, 1e200, None]}))
    np.testing.assert_array_equal(x[:, 0], [1e6, -1e6, 1e6, 0])


MOMENTS = pd.date_range("2026-03-01", periods=40, freq="7h13min")
TYPED = pd.DataFrame(
    {
        "zone": MOMENTS.tz_localize("Europe/Paris", nonexistent="shift_forward"),
        "clock": MOMENTS.time,
        "truth": np.arange(40) % 3 > 0,
        "count": np.arange(40) % 7,
        "cents": [decimal.Decimal(k % 5 * 29) / 100 for k in range(40)],
        "day": MOMENTS.normalize(),
    }
)


@pytest.mark.parametrize("read_as", [{}, dict.fromkeys(TYPED, "category")])
@pytest.mark.parametrize("trained_on", ["types", "texts"])
def test_a_frame_of_texts_is_read_as_one_of_types(tmp_path: Path, read_as: dict[str, Any], trained_on: str) -> None:
    TYPED.to_csv(tmp_path / "t.csv", index=False)
    frames = {"types": pa.Table.from_pandas(TYPED), "texts": read_table(tmp_path / "t.csv", texts=read_as)}
    preprocessor = TablePreprocessor.fit(frames[trained_on], options=ReadingOptions(read_as))
    expected = preprocessor.transform(frames[trained_on])
    for options in ({}, {"dtype": str}, {"parse_dates": ["day"]}):
        frame = pd.read_csv(tmp_path / "t.csv", **options)
        if read_as and trained_on == "texts":  # in the words of that file
            frame = frame.assign(zone=frame["zone"].astype(str))
        np.testing.assert_array_equal(preprocessor.transform(preprocessor.as_table(frame)), expected, str(options))
    if not read_as or trained_on == "types":
        np.testing.assert_array_equal(preprocessor.transform(pa.Table.from_pandas(TYPED)), expected)


def test_categories_are_found_by_their_value_in_another_type() -> None:
    preprocessor = TablePreprocessor.fit(pa.table({"code": ["5.0", "7.0", "True", None]}))
    for values in (pa.array([5, 7, None]), pa.array([5.0, 7.0, None])):
        assert preprocessor.transform(pa.table({"code": values})).argmax(1).tolist() == [1, 2, 0]
    assert preprocessor.transform(pa.table({"code": [True, False]})).argmax(1).tolist() == [3, 4]
    alike = TablePreprocessor.fit(pa.table({"code": ["5.0", "5", "x"]}))
    with pytest.raises(InputError, match=r"has the categories 5 and .*, which are one and the same as int64"):
        alike.transform(pa.table({"code": [5]}))


def test_a_text_that_means_missing_is_missing_everywhere() -> None:
    preprocessor = TablePreprocessor.fit(pa.table({"kind": ["NA", "b", None, "b"]}))
    assert preprocessor.feature_names == ["kind=(missing)", "kind=b", "kind=other"]
    assert preprocessor.transform(pa.table({"kind": ["", "None", None, "b"]})).argmax(1).tolist() == [0, 0, 0, 1]


def test_a_frame_that_cannot_be_read_is_bad_input() -> None:
    preprocessor = TablePreprocessor.fit(pa.table({"a": [1.0, 2.0], "when": MOMENTS[:2]}))
    frame = pd.DataFrame({"a": [1, 2], "when": MOMENTS[:2], "unused": [1, "x"]})
    assert len(preprocessor.transform(preprocessor.as_table(frame))) == 2
    for faulty, message in (
        (frame.assign(a=[1, "x"]), "The data frame can't be read: .*column a"),
        (pd.concat([frame, frame["a"]], axis=1), "The data frame has more than one column called a"),
        (frame.assign(a=frame["when"]), r"The column a holds timestamp\[.*\]; it must hold numbers"),
        (frame.assign(when=frame["when"].astype(int)), "The column when holds int64; it must hold timestamps"),
    ):
        with pytest.raises(InputError, match=message):
            preprocessor.transform(preprocessor.as_table(faulty))
