"""The odd starts of CSV files (UTF-16, Excel's `sep=;`, blanks around names, CR line ends) are alike to all readers."""

import gzip
import lzma
from pathlib import Path

import pyarrow as pa
import pytest

from ssl_cli.data.io.arrow import FileLayout, read_table
from ssl_cli.data.io.csv_source import declared_delimiter_of
from ssl_cli.data.io.delimited import CsvDialect
from ssl_cli.data.io.records import read_records
from ssl_cli.data.text.records import CsvText
from ssl_cli.errors import InputError
from tests.helpers.table_stream import read_all

TEXTS = ["one", "ü, two"]
STARTS = {
    "utf16.csv": 'text,n\none,1\n"ü, two",2\n'.encode("utf-16"),
    "utf16_be.csv": b"\xfe\xff" + 'text,n\r\none,1\r\n"ü, two",2\r\n'.encode("utf-16-be"),
    "declared.csv": "\ufeffsep=;\r\ntext;n\r\none;1\r\nü, two;2\r\n".encode(),
    "declared_utf16.csv": '"sep=\t"\ntext\tn\none\t1\nü, two\t2\n'.encode("utf-16"),
    "blanks.csv": 'text , n\none, 1\n"ü, two", 2\n'.encode(),
    "returns.csv": 'text,n\rone,1\r"ü, two",2\r'.encode(),
    "declared.csv.gz": gzip.compress("SEP=;\ntext;n\none;1\nü, two;2".encode()),
    "returns.csv.xz": lzma.compress('text,n\rone,1\r"ü, two",2\r'.encode()),
}


@pytest.mark.parametrize("name", STARTS)
def test_all_readers_read_it(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(STARTS[name])
    assert read_table(path).to_pydict() == {"text": TEXTS, "n": [1, 2]}
    table, row, rejects = read_all(path, {"text": pa.string(), "n": pa.float64()}, FileLayout(["text", "n"]))
    assert (table.to_pydict(), row, rejects) == ({"text": TEXTS, "n": [1, 2]}, [0, 1], [])
    records = list(read_records(path))
    assert [record.record["text"] for record in records] == TEXTS  # type: ignore[index]
    n_before = 2 if name.startswith("declared") else 1
    assert [record.line for record in records] == [n_before + 1, n_before + 2]
    assert list(CsvText(files=str(path), field="text", delimiter=",", val=0.1).documents()) == TEXTS


def test_lines_are_those_of_the_file_and_a_file_without_a_header_may_declare(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("\nsep=;\n\nx;1\ny;zz\n")
    layout = FileLayout(["text", "n"], header=False)
    table, row, rejects = read_all(path, {"text": pa.string(), "n": pa.float64()}, layout)
    assert (table.to_pydict(), row) == ({"text": ["x"], "n": [1]}, [0])
    assert [(reject.row, reject.line) for reject in rejects] == [(1, 5)]
    assert read_table(path, names=["text", "n"])["text"].to_pylist() == ["x", "y"]
    assert declared_delimiter_of(path) == ";"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"sep=;\n", "is empty but for its first line, sep=;."),
        (b" a,a\n1,2\n", "has more than one column called a: rename them."),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        list(read_records(tmp_path / "a.csv", CsvDialect()))


def test_another_delimiter_is_named_though_commas_make_fields(tmp_path: Path) -> None:
    path = tmp_path / "german.csv"
    path.write_text("Betrag;Anteil\n7,5;2,4\n1,5;0,5\n")
    with pytest.raises(InputError, match=r"fields seem to be separated by ';'; set data\.delimiter=';'"):
        read_table(path)
