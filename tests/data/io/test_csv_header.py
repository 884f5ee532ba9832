"""Tests of the header of a CSV: missing, malformed, or absent by choice."""

from pathlib import Path

import pyarrow as pa
import pytest

from ssl_cli.data.io.arrow import FileLayout
from ssl_cli.errors import InputError
from tests.helpers.table_stream import read_all


def test_name_over_two_lines_and_field_beyond_the_default_limit_of_csv(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('"a\nb",c\n1,' + "y" * 200_000 + '\n2,"' + "y" * 200_000 + '"\nx,y\n')
    _, row, rejects = read_all(path, {"a\nb": pa.float64()})
    assert row == [0, 1]
    assert [(reject.row, reject.line) for reject in rejects] == [(2, 5)]


def test_unpaired_quote_in_the_header_is_a_character(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('id,width"\n' + "1,2\n" * 20_000)
    assert len(read_all(path, {"id": pa.float64()})[1]) == 20_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("id,amuont,kind,ok,day,clock,at\n", r"lacks the column amount; it has id, amuont.* Did you mean amuont\?"),
        ("0,1,a\n", "lacks the column amount, kind, .* If the file has no header, set header=false"),
        ("id,amount,amount,kind,ok,day,clock,at\n", "more than one column called amount"),
        ('id,amount\r"\n', "its header can't be read"),
        ("id;amount;kind;ok;day;clock;at\n", "its fields seem to be separated by ';'; set delimiter=';'"),
    ],
)
def test_invalid_header_is_an_error(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(InputError, match=message):
        read_all(tmp_path / "a.csv")


def test_columns_by_name_or_without_a_header_by_position(tmp_path: Path) -> None:
    wanted = {"b": pa.float64(), "a": pa.float64()}
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbfa,more,b\n1,x,2\n")
    assert read_all(path, wanted)[0].to_pylist() == [{"b": 2, "a": 1}]
    path.write_text("1,x,2\n")
    assert read_all(path, wanted, FileLayout(["a", "more", "b"], header=False))[0].to_pylist() == [{"b": 2, "a": 1}]
    with pytest.raises(InputError, match="has 3 fields in its first rows"):
        read_all(path, wanted, FileLayout(["a", "b", "c", "d"], header=False))
    # The first row is short; the others show that the label is there.
    path.write_text("1,2\n" + "1,x,2\n" * 3)
    table, _, rejects = read_all(path, wanted, FileLayout(["a", "more", "b"], False, unlabelled=["a", "b"]))
    assert table.to_pylist() == [{"b": 2, "a": 1}] * 3
    assert [reject.row for reject in rejects] == [0]
