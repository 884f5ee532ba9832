"""Tests of columns of a CSV that look like numbers and are codes: they keep their texts."""

import gzip
from pathlib import Path

import pyarrow as pa
import pytest

from ssl_cli.data.io import codes
from ssl_cli.data.io.arrow import read_table


def test_leading_zeros_and_long_numbers_stay_as_they_are(tmp_path: Path) -> None:
    rows = [f"{501 + i:05d},{i},{10**19 + i},{9007199254740993 + i},{0.5 + i},{i:02d}:00" for i in range(30)]
    text = "zip,n,long,acct,x,time\n" + "\n".join(rows) + "\n"
    (tmp_path / "t.csv").write_text(text)
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "u.csv").write_text(text, encoding="utf-16")
    for name in ("t.csv", "t.csv.gz", "u.csv"):
        table = read_table(tmp_path / name)
        assert table["zip"].to_pylist()[:2] == ["00501", "00502"]
        assert table["long"].to_pylist()[:2] == ["10000000000000000000", "10000000000000000001"]
        assert [str(value) for value in table["acct"].to_pylist()[:2]] == ["9007199254740993", "9007199254740994"]
        assert (table["n"].type, table["x"].type) == (pa.int64(), pa.float64())


@pytest.mark.parametrize("size", [7, 8, 9, 10])
def test_a_zero_at_the_border_of_two_blocks_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(codes, "BLOCK_BYTES", size)
    (tmp_path / "t.csv").write_text("a,b\n1,12\n2,07\n3,11\n")
    assert read_table(tmp_path / "t.csv")["b"].to_pylist() == ["12", "07", "11"]
    (tmp_path / "n.csv").write_text("a,b\n1,0\n2,0.7\n3,10\n")
    assert read_table(tmp_path / "n.csv")["b"].to_pylist() == [0, 0.7, 10]


def test_one_large_number_makes_no_code(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a\n" + "\n".join(["5"] * 9 + [str(10**20)]) + "\n")
    assert read_table(tmp_path / "t.csv")["a"].to_pylist()[-1] == 1e20
