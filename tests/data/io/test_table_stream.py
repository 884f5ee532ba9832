"""Tests of streaming table files: compression, Parquet, and column types."""

import bz2
import gzip
import lzma
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from ssl_cli.data.io.arrow import FileLayout
from ssl_cli.data.io.columns import QUANTITIES
from ssl_cli.data.io.table_stream import read_chunks
from ssl_cli.errors import InputError
from tests.helpers.table_stream import TEXT, VALID_ROWS, read_all, write_csv


@pytest.mark.parametrize(
    ("suffix", "compress"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)]
)
def test_compressed_file(suffix: str, compress: object, tmp_path: Path) -> None:
    raw = write_csv(tmp_path / "a.csv", VALID_ROWS).read_bytes()
    path = tmp_path / f"a.csv{suffix}"
    path.write_bytes(compress(raw))  # type: ignore[operator]
    assert len(read_all(path)[1]) == 6
    path.write_bytes(compress(raw * 50)[:-20])  # type: ignore[operator]
    with pytest.raises(InputError, match=r"a\.csv.* is cut off"):
        read_all(path)


def test_parquet_keeps_types_and_rejects_texts_that_are_not_numbers(tmp_path: Path) -> None:
    table = pa.table({"amount": ["1", "2.5", "x", "", None], "kind": ["a", "b", "c", "d", "e"], "more": range(5)})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    result, row, rejects = read_all(tmp_path / "a.parquet", {"amount": pa.float64(), "kind": TEXT})
    assert result["amount"].to_pylist() == [1, 2.5, None, None]
    assert row == [0, 1, 3, 4]
    assert [(reject.row, reject.line) for reject in rejects] == [(2, None)]
    assert "the column amount holds 'x', which is not a number" in rejects[0].reason


def test_what_is_kept_of_parquet_has_its_type(tmp_path: Path) -> None:
    columns = {
        "acct": pa.array([9007199254740993, None]),
        "amount": pa.array([0.1 + 0.2, 1e22]),
        "code": pa.array(["NA", "007"]).dictionary_encode(),
        "price": pa.array([Decimal("1.10"), Decimal("2.00")]),
    }
    pyarrow.parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
    wanted = {"acct": pa.float64(), "code": TEXT}
    (chunk,) = read_chunks(tmp_path / "a.parquet", wanted, FileLayout(list(columns)), list(columns))
    kept = {name: values.to_pylist() for name, values in chunk.kept.items()}
    assert kept == {name: values.to_pylist() for name, values in columns.items()}
    assert chunk.table["code"].to_pylist() == [None, "007"]


def test_distant_timestamps_and_durations(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("at,b\n9999-12-31 00:00:00,1\n2024-01-01 00:00:00.123456,x\n")
    table, row, rejects = read_all(path, {"at": QUANTITIES["moment"]})
    assert (len(table), row, rejects) == (2, [0, 1], [])
    durations = pa.table({"t": pa.array([1, 2], pa.duration("ms")), "d": pa.nulls(2)})
    pyarrow.parquet.write_table(durations, tmp_path / "a.parquet")
    wanted = {"t": QUANTITIES["number"], "d": QUANTITIES["date"]}
    assert read_all(tmp_path / "a.parquet", wanted)[1] == [0, 1]
    pyarrow.parquet.write_table(pa.table({"t": pa.array([b"\xff"], pa.large_binary())}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="holds large_binary, which is neither a number nor a text"):
        read_all(tmp_path / "a.parquet", {"t": TEXT})
