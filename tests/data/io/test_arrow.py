"""Tests of reading files into Arrow tables, and of the errors for bad files."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from ssl_cli.data.io.arrow import read_table
from ssl_cli.errors import InputError


def test_integers_may_become_fractions_later(tmp_path: Path) -> None:
    # Arrow infers int64 from the first megabyte and would stop at the 0.5.
    lines = ["a,b"] + ["1,x"] * 400_000 + ["0.5,y"]
    (tmp_path / "late.csv").write_text("\n".join(lines))
    table = read_table(tmp_path / "late.csv")
    assert table["a"].to_pylist()[-1] == 0.5
    assert table.num_rows == 400_001


def test_column_with_a_text_is_text(tmp_path: Path) -> None:
    lines = ["a"] + ["1"] * 400_000 + ["oops"]
    (tmp_path / "text.csv").write_text("\n".join(lines))
    table = read_table(tmp_path / "text.csv")
    assert table["a"].type == pa.string()
    assert table["a"][-1].as_py() == "oops"


def test_gzip_missing_values_and_names(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "plain.csv.gz", "wt") as file:
        file.write("1,?,x\n2,3,\n")
    table = read_table(tmp_path / "plain.csv.gz", names=["a", "b", "c"])
    assert table.to_pydict() == {"a": [1.0, 2.0], "b": [None, 3.0], "c": ["x", None]}


def test_npz_columns(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", X=np.arange(6).reshape(3, 2), y=np.array([0, 1, 0]))
    assert read_table(tmp_path / "set.npz").to_pydict() == {"X0": [0, 2, 4], "X1": [1, 3, 5], "y": [0, 1, 0]}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.csv", None, "is not a file"),
        ("empty.csv", b"", "is empty: its first line must name its columns"),
        ("header.csv", b"a,b\n", "has no rows"),
        ("ragged.csv", b"a,b\n1,2\n3\n", "line 3: 1 field instead of 2."),
        ("torn.parquet", b"PAR1 nonsense", "can't be read"),
        ("torn.npz", b"PK nonsense", "can't be read"),
        ("empty.npz", b"", "can't be read"),
        ("twice.csv", b"a,b,a\n1,2,3\n", "more than one column called a"),
        ("latin.csv", "name,n\nJosé,1\n".encode("latin-1"), "not valid UTF-8; save the file as UTF-8"),
        ("header.csv", "é,n\n1,1\n".encode("latin-1"), "line 1: its header can't be read: it contains bytes"),
        ("semicolon.csv", b"a;b\n1;2\n", "set data.delimiter=';'"),
        ("tabs.csv", b"a\tb\n1\t2\n", "set data.delimiter=tab"),
    ],
)
def test_bad_file_is_an_error_with_its_name(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_table(tmp_path / name)
    assert name in str(caught.value)


def test_byte_order_mark_and_quoted_line_breaks(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes('\ufeffa,"b"\n1,"x\ny"\n2,z\n'.encode())
    assert read_table(tmp_path / "t.csv").to_pydict() == {"a": [1.0, 2.0], "b": ["x\ny", "z"]}


@pytest.mark.parametrize("delimiter", ["tab", "\\t", "\t"])
def test_tab_may_be_spelled_out(tmp_path: Path, delimiter: str) -> None:
    (tmp_path / "t.tsv").write_text("a\tb\n1\t2\n")
    assert read_table(tmp_path / "t.tsv", delimiter=delimiter).to_pydict() == {"a": [1.0], "b": [2.0]}


def test_dictionary_columns_are_decoded(tmp_path: Path) -> None:
    column = pa.array(["x", "y", "x"]).dictionary_encode()
    pyarrow.parquet.write_table(pa.table({"kind": column}), tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet")
    assert table["kind"].type == pa.string() and table["kind"].to_pylist() == ["x", "y", "x"]


def test_index_of_a_data_frame_is_dropped(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2, 3, 4], "b": [1, 0, 1, 0]})
    frame[frame.b == 1].to_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet").to_pydict() == {"a": [1, 3], "b": [1, 1]}


def test_npz_of_foreign_byte_order_and_with_duplicate_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "big.npz", X=np.arange(4, dtype=">f8").reshape(2, 2))
    assert read_table(tmp_path / "big.npz").to_pydict() == {"X0": [0, 2], "X1": [1, 3]}
    np.savez(tmp_path / "twice.npz", X=np.zeros((2, 2)), X0=np.zeros(2))
    with pytest.raises(InputError, match="more than one column called X0"):
        read_table(tmp_path / "twice.npz")


def test_pickles_in_npz_are_an_error(tmp_path: Path) -> None:
    np.savez(tmp_path / "pickled.npz", X=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match="the array X holds Python objects"):
        read_table(tmp_path / "pickled.npz")
