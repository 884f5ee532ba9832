"""The cells of some rows as they are written in their files."""

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from ssl_cli.data.io.arrow import FileLayout, read_table
from ssl_cli.data.io.cells import read_cells

LINES = ["00501,9007199254740993,x", '"a\nb",1.50,"say ""hi"""', "NA, 2 ,", "7,8,9"]


@pytest.mark.parametrize("coding", ["utf-8", "utf-16"])
def test_cells_are_the_texts_of_the_files_whose_rows_are_numbered_through(tmp_path: Path, coding: str) -> None:
    header = '\n"zip\nof a", acct,note'
    paths = tmp_path / "a.csv", tmp_path / "b.csv.gz"
    paths[0].write_bytes("\n".join([header, *LINES[:2]]).encode(coding))
    paths[1].write_bytes(gzip.compress("\n".join([header, *LINES[2:]]).encode(coding)))
    cells = read_cells(paths, FileLayout(["zip\nof a", "acct", "note"]), ["zip\nof a", "acct"], [3, 0, 1, 2])
    column = "zip\nof a"
    assert [cells[column, row] for row in range(4)] == ["00501", "a\nb", "NA", "7"]
    assert [cells["acct", row] for row in range(4)] == ["9007199254740993", "1.50", " 2 ", "8"]
    assert read_cells(paths, FileLayout(["zip\nof a", "acct", "note"]), ["note"], [1]) == {("note", 1): 'say "hi"'}


def test_a_file_without_a_header_and_one_of_typed_values(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("007;1\n008;2\n")
    layout = FileLayout(["a", "b"], header=False, delimiter=";")
    assert read_cells([tmp_path / "a.csv"], layout, ["a"], [1]) == {("a", 1): "008"}
    pyarrow.parquet.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
    assert read_cells([tmp_path / "a.parquet"], FileLayout(["a"]), ["a"], [0]) == {}


def test_a_row_longer_than_arrows_block_is_read(tmp_path: Path) -> None:
    long = "y" * 3_000_000
    (tmp_path / "a.csv").write_text(f"a,b\n1,x\n02,{long}\n3,z\n")
    assert read_table(tmp_path / "a.csv")["b"].to_pylist() == ["x", long, "z"]
    assert read_cells([tmp_path / "a.csv"], FileLayout(["a", "b"]), ["a"], [1]) == {("a", 1): "02"}
