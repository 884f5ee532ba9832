"""Tests of number notation: each notation is found and parsed, and nothing else is taken for one."""

import pyarrow as pa
import pytest

from ssl_cli.data.io.notation import AmbiguousNotation, Notation, find_notation


def found(values: list[str], decimal: str | None = None) -> Notation | AmbiguousNotation | None:
    return find_notation(pa.chunked_array([values]), decimal)


@pytest.mark.parametrize(
    ("values", "notation", "numbers"),
    [
        (["7,5", "-0,25", "12"], ",", [7.5, -0.25, 12]),
        (["1.234,50", "7,5"], ",.", [1234.5, 7.5]),
        (["1,234.5", "1,234,567", "7"], ".,", [1234.5, 1234567, 7]),
        (["12,34,567", "5"], ".,", [1234567, 5]),
        (["1.234.567", "1.234"], ",.", [1234567, 1234]),
        (["0,500", "1,234"], ",", [0.5, 1.234]),
        (["1 234,5", "2"], ", ", [1234.5, 2]),
        (["1\u00a0234.5", "1\u2009000", "1\u202f000"], ". ", [1234.5, 1000, 1000]),
        (["1'234.50", "2\u2019000"], ".'", [1234.5, 2000]),
        (["$5", "-$1,234.50", "$-7", "7"], ".,$", [5, -1234.5, -7, 7]),
        (["1.234,00 €", "€ 5,00", "5 €"], ",.€", [1234, 5, 5]),
        (["CHF 5.50", "CHF 1'000.00"], ".'CHF", [5.5, 1000]),
        (["Fr. 5.50", "6 Fr."], ". Fr".replace(" ", ""), [5.5, 6]),
        (["12,5 %", "-3%"], ",%", [12.5, -3]),
        (["(1,234.50)", "3", "($4)", "$1"], ".,$", [-1234.5, 3, -4, 1]),
        (["5-", "3.5"], ".", [-5, 3.5]),
        (["\u22125", "\u2212 3.5", "+2"], ".", [-5, -3.5, 2]),
        (["1,5E+03", "2"], ",", [1500, 2]),
        ([" 7,5 ", "8\t"], ",", [7.5, 8]),
    ],
)
def test_a_notation_is_found_and_parsed(values: list[str], notation: str, numbers: list[float]) -> None:
    result = found(values)
    assert isinstance(result, Notation)
    assert result.decimal + result.thousands + result.unit == notation
    assert result.parse(pa.array([*values, None])).to_pylist() == [*numbers, None]


@pytest.mark.parametrize(
    "values",
    [
        ["5", "6"],  # digits in a text are a code
        ["00501", "12"],
        ["1.2.3", "4"],
        ["192.168.0.1"],
        ["12%", "5"],
        ["5 EUR", "3 USD"],
        ["LHR 123", "LHR 5"],
        ["1-5", "3-7"],
        ["-5-", "3"],
        ["2024-01-03"],
        ["12:30"],
        ["", "5,5"],
        ["7,5", "oops"],
        [],
    ],
)
def test_what_is_no_notation(values: list[str]) -> None:
    assert find_notation(pa.chunked_array([pa.array(values, pa.string())])) is None


@pytest.mark.parametrize("values", [["1,234", "2,345"], ["17", "1,234"], ["$1.234", "$5"]])
def test_two_readings_are_decided_by_the_decimal_mark_only(values: list[str]) -> None:
    result = found(values)
    assert isinstance(result, AmbiguousNotation)
    assert sorted(number for _, number in result.readings) == [1.234, 1234]
    for mark in ".,":
        decided = found(values, mark)
        assert isinstance(decided, Notation) and decided.decimal == mark


def test_a_text_that_does_not_follow_is_null_and_numbers_are_shown_in_the_notation() -> None:
    german = Notation(",", ".")
    assert german.parse(pa.array(["7.5", "1.234", "1,234.5", "x", "7,5"])).to_pylist() == [None, 1234, None, None, 7.5]
    assert german.format(-1234.5) == "-1234,5"
    assert (Notation(".", ",", "$").format(-3.5), Notation(",", "", "%").format(2)) == ("-$3.5", "2%")


def test_a_number_with_an_exponent_has_no_thousands() -> None:
    found = find_notation(pa.chunked_array([["6.798E-01", "1.250E+03"]]))
    assert found == Notation(".")
