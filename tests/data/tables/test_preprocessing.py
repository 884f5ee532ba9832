"""Columns -> features: the rules that encoder.py states."""

import decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.preprocessing import PowerTransformer

from ssl_cli.data.io.columns import as_numbers
from ssl_cli.data.tables.inverse import format_value
from ssl_cli.data.tables.preprocessing import MAX_SYMBOLS, TablePreprocessor
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
    encoder = TablePreprocessor.fit(TRAIN)
    x = encoder.transform(TRAIN)[:, encoder.features.index("amount")]
    np.testing.assert_allclose(x, (np.array([1, 2, 3, 6]) - 3) / np.std([1, 2, 3, 6]), rtol=1e-6)


def test_symbols_missing_ones_and_ones_never_seen() -> None:
    encoder = TablePreprocessor.fit(TRAIN)
    names = ["kind=in", "kind=(missing)", "kind=out", "kind=other"]
    assert [name for name in encoder.features if name.startswith("kind")] == names
    new = TRAIN.set_column(1, "kind", pa.array(["out", "never", None, "in"]))
    x = encoder.transform(new)[:, [encoder.features.index(name) for name in names]]
    np.testing.assert_array_equal(x, [[0, 0, 1, 0], [0, 0, 0, 1], [0, 1, 0, 0], [1, 0, 0, 0]])


def test_missing_and_infinite_numbers_become_the_mean_and_are_told() -> None:
    encoder = TablePreprocessor.fit(TRAIN)
    x = encoder.transform(TRAIN)
    start = encoder.features.index("gappy")
    assert encoder.features[start + 1] == "gappy is missing"
    np.testing.assert_allclose(x[:, start : start + 2], [[-1, 0], [0, 1], [0, 1], [1, 0]])


def test_constants_are_dropped_with_the_reason() -> None:
    assert TablePreprocessor.fit(TRAIN).dropped == {"constant": "one value in the training rows"}


def test_names_of_rows_are_dropped_but_not_common_words() -> None:
    n = 4 * MAX_SYMBOLS
    table = pa.table({"id": [f"C{i}" for i in range(n)], "word": [f"w{i % (MAX_SYMBOLS + 5)}" for i in range(n)]})
    encoder = TablePreprocessor.fit(table)
    assert "names its rows" in encoder.dropped["id"]
    assert len(encoder.features) == MAX_SYMBOLS + 1


def test_power_scaling_is_yeo_johnson() -> None:
    skewed = np.random.default_rng(0).lognormal(size=(200, 1))
    encoder = TablePreprocessor.fit(pa.table({"a": skewed[:, 0]}), scaling="power")
    ours = encoder.transform(pa.table({"a": skewed[:, 0]}))
    standard = (skewed - skewed.mean()) / skewed.std()
    np.testing.assert_allclose(ours, PowerTransformer("yeo-johnson").fit_transform(standard), atol=1e-3)


def test_save_and_load_give_the_same_features(tmp_path: Path) -> None:
    encoder = TablePreprocessor.fit(TRAIN, scaling="power")
    encoder.save(tmp_path / "encoder.json")
    again = TablePreprocessor.load(tmp_path / "encoder.json")
    np.testing.assert_array_equal(again.transform(TRAIN), encoder.transform(TRAIN))


def test_frames_arrays_and_arrow_tables_are_rows_alike() -> None:
    values = np.random.default_rng(0).normal(size=(10, 3))
    table = pa.table({name: values[:, i] for i, name in enumerate("abc")})
    encoder = TablePreprocessor.fit(table)
    frame = pd.DataFrame(values[:, ::-1], columns=list("cba"), index=range(5, 15))
    for rows in (table, frame, values):
        np.testing.assert_array_equal(encoder.transform(encoder.as_table(rows)), encoder.transform(table))


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


def test_columns_that_are_no_numbers_nor_texts_are_left_out() -> None:
    encoder = TablePreprocessor.fit(pa.table({"a": [1, 2, 3], "list": [[1], [2], [3]]}))
    assert "neither a number nor a text" in encoder.dropped["list"]


def test_texts_that_stand_for_numbers_and_dates_are_read_as_such() -> None:
    # A CSV read by pandas keeps dates, and columns with "?", as texts.
    day = pa.array([1_595_030_400, 1_595_116_800, 1_595_203_200], pa.timestamp("s"))
    encoder = TablePreprocessor.fit(pa.table({"day": day, "n": [1.0, 2.0, None]}))
    texts = pa.table({"day": ["2020-07-18", "2020-07-19", "2020-07-20"], "n": ["1", "2", "?"]})
    np.testing.assert_allclose(
        encoder.transform(texts), encoder.transform(pa.table({"day": day, "n": [1.0, 2.0, None]}))
    )


def test_a_typo_in_a_number_is_named() -> None:
    texts = [f"{i}.5" for i in range(400)]
    encoder = TablePreprocessor.fit(pa.table({"a": range(400), "b": [*texts[:-1], "oops"]}))
    assert "it would be a number, were it not for 'oops'" in encoder.dropped["b"]


def test_what_does_not_fit_is_named() -> None:
    encoder = TablePreprocessor.fit(TRAIN)
    with pytest.raises(InputError, match="lacks the column amount"):
        encoder.transform(TRAIN.drop_columns("amount"))
    with pytest.raises(InputError, match=r"The array is \(2, 3\); it must be \(N, 5\): amount, kind"):
        encoder.as_table(np.zeros((2, 3)))
    with pytest.raises(InputError, match="amount must hold numbers"):
        encoder.transform(TRAIN.set_column(0, "amount", pa.array(["x", "y", "z", "w"])))
    with pytest.raises(InputError, match="No column is left to learn from: a: one value"):
        TablePreprocessor.fit(pa.table({"a": [1, 1]}))


@pytest.mark.parametrize("scaling", ["standard", "power"])
def test_features_go_back_to_words(scaling: str) -> None:
    days = pa.array([19_000, 19_100, 19_250, 19_400], pa.date32())
    moments = pa.array([10**8, 2 * 10**8, 10**9, 2 * 10**9], pa.timestamp("s"))
    table = TRAIN.append_column("day", days).append_column("at", moments)
    encoder = TablePreprocessor.fit(table, scaling)
    x = encoder.transform(table)
    told = {column["name"]: [format_value(column, row[where]) for row in x] for column, where in encoder.slices}
    assert [float(word) for word in told["amount"]] == pytest.approx([1, 2, 3, 6], rel=1e-4)
    assert told["kind"] == ["in", "out", "in", "(missing)"]
    assert told["gappy"][1:3] == ["(missing)", "(missing)"]
    # float32 holds a date of such a range to the day, a moment to the hours.
    assert [word[:7] for word in told["day"]] == ["2022-01", "2022-04", "2022-09", "2023-02"]
    assert [word[:4] for word in told["at"]] == ["1973", "1976", "2001", "2033"]


def test_what_a_file_is_read_as_survives_saving(tmp_path: Path) -> None:
    table = pa.table({"n": [1, 2], "t": [True, False], "d": pa.array([1, 2], pa.date32()), "s": ["a", "b"]})
    encoder = TablePreprocessor.fit(table)
    encoder.save(tmp_path / "encoder.json")
    read_as = TablePreprocessor.load(tmp_path / "encoder.json").read_as
    assert read_as == {"n": pa.float64(), "t": pa.bool_(), "d": pa.date32(), "s": pa.string()}
    assert TablePreprocessor.load(tmp_path / "encoder.json").layout == encoder.layout


@pytest.mark.parametrize("scaling", ["standard", "power"])
def test_the_largest_value_is_the_strangest(scaling: str) -> None:
    rng = np.random.default_rng(0)
    encoder = TablePreprocessor.fit(pa.table({"skewed": rng.exponential(size=500) ** 3}), scaling)
    x = encoder.transform(pa.table({"skewed": [np.inf, -np.inf, 1e200, None]}))
    np.testing.assert_array_equal(x[:, 0], [1e6, -1e6, 1e6, 0])
