"""Tests of how columns are read: identifiers, codes, dates, notation, and what the user asks for."""

import shlex
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ssl_cli.cli.grammar import parse_override
from ssl_cli.data.tables.datasets import Table
from ssl_cli.data.tables.preprocessing import TablePreprocessor
from ssl_cli.data.tables.readings import (
    CATEGORY,
    LEFT_OUT,
    NUMBER,
    PARTS,
    Reading,
    ReadingOptions,
    option_for,
    parse_read_as,
    read_columns,
)
from ssl_cli.errors import InputError

RNG = np.random.default_rng(0)
N = 300


def reading(name: str, values: Any, **options: Any) -> Reading:
    """Return how a column is read that stands beside another one."""
    table = pa.table({name: values, "other": RNG.random(len(values))})
    return TablePreprocessor.fit(table, options=ReadingOptions(**options)).readings[0]


SHUFFLED = RNG.permutation(N)


@pytest.mark.parametrize(
    ("name", "values", "why"),
    [
        ("", np.arange(N), "it has no name and counts its rows"),
        ("Unnamed: 0", SHUFFLED, "it has no name, and its numbers name rows"),
        ("__index_level_0__", np.tile(np.arange(N // 3), 3), "it has no name and counts its rows"),
        ("n", np.arange(7, N + 7), "it counts its rows"),
        ("n", SHUFFLED * 2, "it numbers its rows"),
        ("n", SHUFFLED.astype(float), "it numbers its rows"),
        ("customer_id", RNG.permutation(10**6)[:N], "it names rows: by its name"),
        ("orderId", RNG.permutation(10**6)[:N], "it names rows: by its name"),
        ("acct", 2**53 + 2 * SHUFFLED + 1, "beyond 2^53 a number loses digits; it identifies rows"),
        ("zip", [f"{k:05d}" for k in SHUFFLED], "codes with leading zeros (00"),
    ],
)
def test_identifiers_are_left_out(name: str, values: Any, why: str) -> None:
    found = reading(name, values)
    assert found.read_as == LEFT_OUT and why in found.why


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("population", RNG.permutation(10**6)[:N]),  # unique, but by nothing an identifier
        ("age", RNG.integers(18, 90, N)),
        ("customer_id", RNG.integers(0, 50, N)),  # many rows of each
        ("", RNG.integers(0, 9, N)),
        ("paid", np.arange(N) // 2),
        ("size", np.append(RNG.integers(0, 100, N - 1), 2**60)),
        ("flag", RNG.random(N) > 0.5),
    ],
)
def test_other_whole_numbers_are_numbers(name: str, values: Any) -> None:
    assert reading(name, values).read_as == NUMBER


def test_codes_of_few_values_are_categories_with_all_digits() -> None:
    table = pa.table({"zip": ["00501", "00502"] * 20, "acct": [2**53 + 1, 2**53 + 3] * 20, "x": RNG.random(40)})
    preprocessor = TablePreprocessor.fit(table)
    assert preprocessor.feature_names[:2] == ["zip=00501", "zip=00502"]
    assert "acct=9007199254740993" in preprocessor.feature_names
    with pytest.raises(InputError, match="zip has codes with leading zeros, and these rows have int64: read it as"):
        preprocessor.transform(table.set_column(0, "zip", pa.array([501, 502] * 20)))


def test_notation_is_saved_and_must_be_followed(tmp_path: Path) -> None:
    table = pa.table({"amount": ["7,5", "1.234,50", None, "?"] * 5, "x": RNG.random(20)})
    preprocessor = TablePreprocessor.fit(table)
    assert preprocessor.readings[0].why == "text with decimal comma, thousands point"
    preprocessor.save(tmp_path / "p.json")
    again = TablePreprocessor.load(tmp_path / "p.json")
    x = again.transform(table)
    np.testing.assert_array_equal(x[:4, 0], [-1, 1, 0, 0])
    np.testing.assert_array_equal(x[:4, 1], [0, 0, 1, 1])
    frame = pd.DataFrame({"amount": ["7,5", "7.5"], "x": [0.1, 0.2]})
    with pytest.raises(InputError, match=r"amount holds '7\.5', which is not a number \(decimal comma"):
        again.transform(again.as_table(frame))


def test_two_notations_are_an_error_that_names_both() -> None:
    with pytest.raises(InputError) as caught:
        reading("amount", ["1,234", "2,500"] * 20)
    assert str(caught.value) == (
        "The column amount can be read in two ways: '1,234' is 1234 (decimal point, thousands comma) or 1.234 (decimal "
        "comma), and no value decides. Set data.decimal='.' or data.decimal=',', or data.read_as={amount:category}."
    )
    assert reading("amount", ["1,234", "2,500"] * 20, decimal=",").why == "text with decimal comma"


def test_number_of_categories_is_said() -> None:
    assert reading("customer", [f"c{k % 87}" for k in range(N)]).why == "text: 87 categories, one-hot"
    why = reading("customer", [f"c{k % 120}" for k in range(N)]).why
    assert why == 'text: 120 categories: the 100 most frequent one-hot, the rest is "other"'


MOMENTS = [datetime(2026, 3, 28, 8) + timedelta(minutes=50 * k) for k in range(N)]
DAYS = [datetime(2026, 3, 28) + timedelta(days=k) for k in range(N)]


@pytest.mark.parametrize(
    ("values", "options", "read_as", "why"),
    [
        (MOMENTS, {}, PARTS, "hour of day, weekday, time since the previous row"),
        (list(RNG.permutation(np.array(MOMENTS))), {}, PARTS, "hour of day, weekday; rows are not in order of time"),
        (DAYS, {}, NUMBER, "date without a time of day that varies"),
        (DAYS, {"dates": "parts"}, PARTS, "weekday, time since the previous row"),
        (MOMENTS, {"dates": "number"}, NUMBER, "data.dates=number"),
        (MOMENTS, {"dates": "drop"}, LEFT_OUT, "data.dates=drop"),
        ([str(moment) for moment in MOMENTS], {}, LEFT_OUT, "dates, stored as text; it identifies rows"),
        ([str(moment) for moment in MOMENTS], {"read_as": {"c": "date"}}, PARTS, "data.read_as=date; hour of day"),
        (MOMENTS, {"read_as": {"c": "drop"}}, LEFT_OUT, "data.read_as=drop"),
        (np.arange(N), {"read_as": {"c": "number"}}, NUMBER, "data.read_as=number"),
        ([f"n{k}" for k in range(N)], {"read_as": {"c": "category"}}, CATEGORY, "300 categories: the 100 most"),
        (["00501", "00777"] * 9, {"read_as": {"c": "number"}}, NUMBER, "data.read_as=number"),
    ],
)
def test_dates_and_what_is_asked_for(values: Any, options: dict[str, Any], read_as: str, why: str) -> None:
    found = reading("c", pa.array(values), **options)
    assert (found.read_as, why in found.why) == (read_as, True), found


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"amont": "drop"}, r"data\.read_as names the column amont, which is no feature\. Did you mean amount\?"),
        ({"amount": "date"}, r"the column holds numbers \(double\); a date is written as 2026-03-28"),
        ({"kind": "number"}, "the column holds 'a', which is no number"),
        ({"kind": "date"}, "the column holds 'a'; a date is written as"),
        ({"list": "number"}, "which can only be left out"),
    ],
)
def test_impossible_readings_are_errors(asked: dict[str, Any], message: str) -> None:
    table = pa.table({"amount": [1.5, 2.5], "kind": ["a", "b"], "list": [[1], [2]]})
    with pytest.raises(InputError, match=message):
        read_columns(table, options=ReadingOptions(asked))


@pytest.mark.parametrize("name", ["a", "a b", "it's", "a:b:c", 'say "x"', "größe", "x, y", "{{7}}"])
def test_the_option_that_is_printed_can_be_given(name: str) -> None:
    (argument,) = shlex.split(option_for(name, "drop"))
    data = Table(file="x.csv", read_as=parse_override(argument).value())
    assert data.reading_options.read_as == {name: "drop"}


def test_read_as_may_be_a_text() -> None:
    assert parse_read_as("{größe:category, a b: drop}") == {"größe": "category", "a b": "drop"}
    with pytest.raises(InputError, match="must give a reading for each name"):
        parse_read_as("{größe:symbol}")


def test_npz_without_a_label(tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    np.savez(path, X=RNG.random((9, 2)), y=np.array([0, 1] + [0] * 7))
    table = Table(file=str(path)).read()
    assert table.columns.column_names == ["X0", "X1"] and table.anomaly is not None and table.anomaly.sum() == 1
    assert [(entry.column, entry.read_as) for entry in table.readings] == [("y", "label")]
    assert Table(file=str(path), drop=["y"]).read().anomaly is None
    np.savez(path, X=RNG.random((9, 2)), y=np.arange(9))
    table = Table(file=str(path)).read()
    assert table.columns.column_names == ["X0", "X1"] and table.anomaly is None
    assert [(entry.column, entry.read_as) for entry in table.readings] == [("y", LEFT_OUT)]


def test_a_point_in_a_file_of_decimal_commas_may_stand_between_thousands(tmp_path: Path) -> None:
    rows = "".join(f"{k},5;{k}.{100 + k};0.{k}\n" for k in range(1, 10))
    (tmp_path / "t.csv").write_text(f"price;amount;share\n{rows}")
    options = {"file": str(tmp_path / "t.csv"), "delimiter": ";"}
    with pytest.raises(InputError, match=r"The column amount can be read in two ways: '1\.101' is 1\.101"):
        Table(**options).one_class_splits(0)
    for decimal, first in ((",", "1101"), (".", "1.101")):
        data = Table(**options, decimal=decimal).one_class_splits(0)
        by_name = {entry.column: entry for entry in data.preprocessor.readings}
        notation = by_name["amount"].notation
        value = notation.parse(data.columns["amount"])[0].as_py() if notation else data.columns["amount"][0].as_py()
        assert f"{value:g}" == first
        assert by_name["share"].why == "numeric in the file"


@pytest.mark.shared
def test_no_column_of_the_published_tables_is_an_identifier(shared: Path) -> None:
    for path in sorted((shared / "adbench").glob("*.npz")):
        readings = read_columns(Table(file=str(path)).read().columns)
        assert {entry.read_as for entry in readings} == {NUMBER}, path


def test_several_columns_without_a_name_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(",a,\n" + "".join(f"{k},{k % 7}.5,0{k % 3}\n" for k in range(40)))
    table = Table(file=str(path)).read().columns
    preprocessor = TablePreprocessor.fit(table)
    assert [each.read_as for each in preprocessor.readings] == [LEFT_OUT, NUMBER, LEFT_OUT]
    assert preprocessor.transform(table).shape == (40, 1)


def test_hexadecimal_numbers_are_codes(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "".join(f"{k % 5},{k % 9}\n" for k in range(40)) + "0x1F,3\n")
    first = TablePreprocessor.fit(Table(file=str(path)).read().columns).readings[0]
    assert (first.read_as, first.why) == (CATEGORY, "hexadecimal codes (0x1F): 6 categories, one-hot")


@pytest.mark.parametrize("text", ["03/04/2026", "3-4-26", "28.3.2026 14:05"])
def test_a_date_in_another_order_is_said(text: str) -> None:
    assert reading("when", [text, None, text.replace("3", "1")]).why.startswith("dates as " + text)
    assert "dates" not in reading("version", ["1.2.10", "1.2.3"]).why


def test_a_name_with_a_comma_can_be_read_as() -> None:
    assert parse_read_as("{x, y:drop, a:b:category}") == {"x, y": "drop", "a:b": "category"}


def test_blanks_around_values_hide_neither_dates_nor_codes() -> None:
    days = [f" 2026-03-{1 + k % 28:02d} 10:{k % 60:02d}:{k % 50:02d} " for k in range(N)]
    found = reading("when", days)
    assert (found.read_as, found.change) == (LEFT_OUT, "data.read_as={when:date}")
    assert reading("when", days, read_as={"when": "date"}).parts[:2] == ("hour of day", "weekday")
    assert reading("zip", [" 01", " 12"] * 9).why.startswith("codes with leading zeros (01)")
