"""`ssl score explain=true`: why rows were flagged, in the output, in Python, and beside the run's own explanations."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ssl_cli
from ssl_cli.commands.detect import contributions
from ssl_cli.commands.detect.contributions import FIELDS, MAX_FEATURES, column_names
from ssl_cli.data.io import csv_stream
from ssl_cli.data.io.arrow import read_table
from tests.conftest import QUICK, Cli

FRAUDS = [("$900.00", "DE"), ("$10.00", "XX"), ("", "DE"), ("$700.00", "DE"), ("$800.00", "FR")]  # from row 300


@pytest.fixture
def sales(workdir: Path) -> Path:
    """300 sales, and five that differ: in the amount, by a new country, and by an amount that is missing."""
    rng = np.random.default_rng(0)
    country = rng.choice(["DE", "FR", "US"], 300, p=[0.7, 0.2, 0.1])
    rows = [(f"${(20 if name == 'FR' else 10) + rng.normal():.2f}", name) for name in country]
    with Path("sales.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("amount", "country", "fraud"), *((*row, 0) for row in rows)])
        csv.writer(file).writerows([(*row, 1) for row in FRAUDS])
    return workdir / "sales.csv"


def trained(cli: Cli, source: Path, *words: str) -> Path:
    options = ["data=table", f"data.file={source}", "data.label=fraud", *QUICK, *words]
    code, out, err = cli("detect", *options)
    assert code == 0, err
    return Path(out.strip().splitlines()[-1])


def scored(path: str) -> list[dict[str, Any]]:
    return read_table(Path(path)).to_pylist()


def reasons(row: dict[str, Any]) -> list[str]:
    return [row[f"reason_{k}"] for k in range(1, MAX_FEATURES + 1) if row[f"reason_{k}"] not in (None, "")]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("threshold", ["auto", "fdr"])
def test_flagged_rows_are_explained_and_no_others(
    cli: Cli, sales: Path, monkeypatch: pytest.MonkeyPatch, threshold: str, suffix: str
) -> None:
    folder = trained(cli, sales, "model=gaussian", f"threshold={threshold}", "fdr=0.9", "fpr=0.05", "calibrate=cross")
    explained = list[int]()
    original = contributions._explain_batch
    monkeypatch.setattr(
        contributions, "_explain_batch", lambda m, p, x, *rest: explained.append(len(x)) or original(m, p, x, *rest)
    )
    monkeypatch.setattr(csv_stream, "BLOCK_BYTES", 1000)  # several chunks
    code, out, err = cli("score", f"input={sales}", f"output=out.{suffix}", "explain=true")
    assert code == 0, err
    rows = scored(f"out.{suffix}")
    assert list(rows[0]) == ["row", "score", "p_value", "flagged", *column_names()]
    flagged = [row for row in rows if str(row["flagged"]).lower() == "true"]
    assert {300, 301} <= {row["row"] for row in flagged} and len(flagged) < 100
    assert all(reasons(row) for row in flagged)
    assert not any(row[name] not in (None, "") for row in rows if row not in flagged for name in column_names())
    if threshold == "auto":
        assert sum(explained) == len(flagged)
    first = {row["row"]: [row[f"{field}_1"] for field in FIELDS] for row in flagged}
    assert first[300][:2] == ["amount", "$900"] and first[300][2].startswith("$")
    assert first[300][4] == f"amount = $900 (expected {first[300][2]})"
    new = [first[301][k] or "" for k in (0, 1, 2, 4)]
    assert new == ["country", "XX", "", "country = XX (not in the training rows)"]
    assert "row 300, score " in out and f"report: out.{suffix}.report.html" in out
    in_python = ssl_cli.load(folder).explain(read_table(sales))
    assert [each.reason for each in in_python[301]] == reasons(rows[301])
    with (folder / "anomalies.csv").open(newline="") as file:
        listed = {int(row["row"]): row["reason_1"] for row in csv.DictReader(file)}
    assert listed[301] == first[301][4] and listed[300].startswith("amount = $900.00 (expected $")  # as in the file


def test_what_cannot_be_explained_is_said_before_anything_is_read(cli: Cli, sales: Path) -> None:
    trained(cli, sales, "model=iforest")
    words = ["score", f"input={sales}", "output=out.csv"]
    code, _, err = cli(*words, "explain=true")
    assert code == 2 and "model=iforest can't explain its scores (explain=true); " in err and "best" in err
    code, _, err = cli(*words, "explain=true", "keep=[reason_1]")
    assert code == 2 and "keep=reason_1: the output has a column of that name already" in err
    assert [path.name for path in Path().glob("*") if path.name != "outputs"] == ["sales.csv"]
    assert cli(*words)[0] == 0


def test_a_value_that_was_never_missing_in_training(cli: Cli, sales: Path) -> None:
    with sales.open("a") as file:
        file.write("$30.00,,1\n")
    trained(cli, sales, "model=knn")
    assert cli("score", f"input={sales}", "output=out.csv", "explain=true")[0] == 0
    last = scored("out.csv")[-1]
    assert "country is missing (not in the training rows)" in reasons(last)
