"""CSV files: texts that a spreadsheet would take for formulas stay as they are, or have an apostrophe before them."""

import csv
from pathlib import Path

import pytest

from ssl_cli.runs.csv_files import escape_formula, write_csv

FORMULAS = ["=1+1", "+SUM(A1)", "-2+3", "@SUM(1)", "\t=1", "\r=1", "\n=1", "＝1", "=", "-", "-inf", "-A1", "-1-cmd|x"]
PLAIN = ["-1", "+1.5e-3", "-1.234,56", "+4.5%", "-.5", "a=1", "", " -1", "'=1", -1, -0.5, None, True]


@pytest.mark.parametrize("cell", FORMULAS)
def test_formulas_get_an_apostrophe(cell: str) -> None:
    assert escape_formula(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", PLAIN)
def test_numbers_and_other_texts_stay(cell: object) -> None:
    assert escape_formula(cell) is cell


@pytest.mark.parametrize("escaped", [False, True])
def test_a_file_is_written_as_it_is_unless_it_is_asked_for(tmp_path: Path, escaped: bool) -> None:
    write_csv(tmp_path / "a.csv", ["=a", "b"], [{"=a": "@x", "b": -1}, {"=a": "y"}], escaped)
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    sign = "'" if escaped else ""
    assert rows == [[f"{sign}=a", "b"], [f"{sign}@x", "-1"], ["y", ""]]
