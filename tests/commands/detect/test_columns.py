"""The table of columns of `ssl detect`, and that `ssl score` reads a new file as the training file was read."""

import csv
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

import ssl_cli
from ssl_cli.commands.detect import columns
from ssl_cli.commands.detect.columns import grouped
from ssl_cli.data.io import csv_stream
from ssl_cli.data.io.arrow import read_table
from ssl_cli.data.tables.readings import IN_FILE, LEFT_OUT, NUMBER, Reading
from tests.conftest import Cli

N = 160


def write_table(path: Path) -> None:
    """Write a CSV with a column of each kind; the last rows are anomalies."""
    rng, when = np.random.default_rng(0), datetime(2026, 3, 28, 8)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(["", "zip", "amount", "when", "shop", "x", "y", "note", "fraud"])
        for k in range(N):
            when += timedelta(minutes=float(rng.exponential(60)))
            amount = f"{rng.random() * 3000:,.2f} €".replace(",", "_").replace(".", ",").replace("_", ".")
            shop, x = f"s{rng.integers(30)}", rng.random(2).round(3)
            writer.writerow([k, f"{501 + k:05d}", amount, when, shop, *x, "n/a" if k % 2 else "b", int(k > 150)])


def test_columns_are_shown_once_and_read_alike_by_score(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    write_table(Path("t.csv"))
    code, out, err = cli(
        "detect", "model=knn", "data=table", "data.file=t.csv", "data.delimiter=';'", "data.label=fraud"
    )
    assert code == 0, err
    lines = [line.split("  ")[0] for line in out.splitlines()]
    assert out.count("to change it") == 1
    start = lines.index("column")
    assert lines[start : start + 7] == ["column", "2 columns: x, y", "(no name)", "zip", "amount", "when", "shop"]
    assert "text with decimal comma, thousands point, €" in out
    run = ssl_cli.load("latest")
    with (run.folder / "columns.csv").open(newline="") as file:
        read = {row["column"]: (row["read_as"], row["change"]) for row in csv.DictReader(file)}
    assert read[""] == ("left out", "") and read["when"] == ("date parts", "data.dates=number")
    assert read["zip"] == ("category", "data.read_as={zip:number}")

    lines = Path("t.csv").read_text().splitlines()
    lines.insert(80, lines[80].replace("€", "EUR"))
    Path("new.csv").write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(csv_stream, "BLOCK_BYTES", 1000)
    code, out, err = cli("score", "input=new.csv", "output=out.parquet")
    assert code == 0, err
    assert "rows: 161 in = 160 scored + 1 rejected" in out
    assert "line 81: the column amount holds" in err and "not a number (decimal comma, thousands point, €)" in err
    expected = run.score(read_table("t.csv", delimiter=";"))
    np.testing.assert_allclose(read_table("out.parquet")["score"].to_numpy(), expected, rtol=1e-6)
    with (run.folder / "anomalies.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    shown = {row[f"feature_{k}"]: (row[f"actual_{k}"], row[f"expected_{k}"]) for row in rows for k in (1, 2, 3)}
    assert all(len(time) == 5 and time[2] == ":" for time in shown["when, hour of day"])
    assert shown["amount"][0].endswith(" €") and shown["amount"][1].endswith(" €")


def test_columns_of_one_reading_share_a_row() -> None:
    readings = [
        Reading("a", LEFT_OUT, "it has one value in the training rows"),
        Reading("b", NUMBER, IN_FILE),
        Reading("c", LEFT_OUT, "it has one value in the training rows"),
        Reading("d", NUMBER, "text with decimal comma"),
    ]
    assert [[reading.column for reading in group] for group in grouped(readings)] == [["b"], ["a", "c"], ["d"]]


@pytest.mark.shared
def test_cases_of_decimal_commas_and_row_numbers(cli: Cli, shared: Path) -> None:
    cases = shared.parent / "cases"
    words = ["detect", "model=knn", "data=table", "bootstrap_samples=10"]
    if not cases.is_dir():
        pytest.skip(f"{cases} is absent")
    path = cases / "decimal_comma" / "excel_de.csv"
    code, out, err = cli(*words, f"data.file={path}", "data.delimiter=';'", "data.label=Betrug")
    assert code == 0, err
    assert "knn data=table seed=0: 3 features" in out and "text with decimal comma" in out
    code, out, err = cli(*words, f"data.file={cases / 'csv_index_leak' / 'index_noise.csv'}", "data.label=fraud")
    assert code == 0, err
    assert "it has no name and counts its rows" in out
    assert ssl_cli.load("latest").metrics["test/auroc"] < 0.65


def test_columns_csv_escapes_formulas(tmp_path: Path) -> None:
    columns.write(tmp_path / "columns.csv", [Reading("=1+1", NUMBER, IN_FILE)], escape_formulas=True)
    assert read_table(tmp_path / "columns.csv")["column"].to_pylist() == ["'=1+1"]
