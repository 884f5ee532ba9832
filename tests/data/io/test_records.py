"""Tests of streaming records: each is a record or a reason, with its place, and none is lost."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from ssl_cli.data.io import lines as lines_io
from ssl_cli.data.io.delimited import CsvDialect
from ssl_cli.data.io.records import Unpack, read_records
from ssl_cli.data.labelled.squad import unpack_questions
from ssl_cli.errors import InputError


def read(path: Path, unpack: Unpack | None = None, **dialect: Any) -> list[tuple[int | None, Any]]:
    """Return the line of each record and the record, or the reason why it cannot be read."""
    records = list(read_records(path, CsvDialect(**dialect), unpack=unpack))
    assert [record.row for record in records] == list(range(len(records)))
    return [(record.line, record.record) for record in records]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


def test_csv_with_quotes_over_lines(tmp_path: Path) -> None:
    content = '\ufefftext,n\r\n"a ""b"", c",1\r\n"two\n\nlines",2\r\n\r\n5" wide,3\r\nNA,4\r\n'
    found = read(write(tmp_path / "a.csv", content))
    texts = ['a "b", c', "two\n\nlines", '5" wide', "NA"]
    assert found == [(line, {"text": text, "n": str(n + 1)}) for line, text, n in zip((2, 3, 7, 8), texts, range(4))]  # noqa: B905


def test_malformed_line_spoils_only_itself(tmp_path: Path) -> None:
    lines = [b"text;n", b'"open;1', b"fine;2", b"one", b"a;b;c", b"\xff;3", b'"x"y;4', b'"valid";5', b"last;6"]
    (tmp_path / "a.csv").write_bytes(b"\n".join(lines))
    assert read(tmp_path / "a.csv") == [
        (2, "a quote is opened and not closed"),
        (3, {"text": "fine", "n": "2"}),
        (4, "1 field instead of 2"),
        (5, "3 fields instead of 2"),
        (6, "it contains bytes that are not valid UTF-8"),
        (7, "a quote is opened and not closed"),
        (8, {"text": "valid", "n": "5"}),
        (9, {"text": "last", "n": "6"}),
    ]


def test_comma_in_a_single_column_is_a_character(tmp_path: Path) -> None:
    found = read(write(tmp_path / "a.csv", 'text\nOne, two\n"Three, ""four"""\n'))
    assert [record["text"] for _, record in found] == ["One, two", 'Three, "four"']


def test_quote_in_tsv_is_a_character(tmp_path: Path) -> None:
    found = read(write(tmp_path / "a.tsv", 'text\tn\n"a, b\t1\n"c"\t2\n'))
    assert found == [(2, {"text": '"a, b', "n": "1"}), (3, {"text": '"c"', "n": "2"})]


def test_text_lines_and_json_lines(tmp_path: Path) -> None:
    assert read(write(tmp_path / "a.txt", "a, b\n\n  \nc\u2028d")) == [(1, {"text": "a, b"}), (4, {"text": "c\u2028d"})]
    found = read(write(tmp_path / "a.jsonl", '{"text": "a"}\n[1]\n{"text"\n\n{"n": [1]}\n'))
    assert found[0] == (1, {"text": "a"}) and found[3] == (5, {"n": [1]})
    assert found[1] == (2, "it is not a JSON object: each line must be one, {...}")
    assert found[2][0] == 3 and found[2][1].startswith("it is not JSON (")


def test_json_layouts(tmp_path: Path) -> None:
    question = {"id": "q", "question": "Who?", "answers": []}
    squad = {"data": [{"paragraphs": [{"context": "He.", "qas": [question]}]}]}
    want = {"id": "q", "question": "Who?", "context": "He."}
    for indent in (None, 1):
        assert read(write(tmp_path / "squad.json", json.dumps(squad, indent=indent)), unpack_questions) == [
            (None, want)
        ]
    chinese = [{"context_text": "他。", "qas": [{"query_id": "q", "query_text": "谁？"}]}]
    want = {"id": "q", "question": "谁？", "context": "他。"}
    assert read(write(tmp_path / "cmrc.json", json.dumps(chinese)), unpack_questions) == [(None, want)]
    found = read(write(tmp_path / "list.json", json.dumps([{"text": "a"}, 3], indent=1)))
    assert found == [(None, {"text": "a"}), (None, "it is not a JSON object, {...}")]
    assert read(write(tmp_path / "lines.json", '{"a": 1}\n{"a": 2}\n')) == [(1, {"a": 1}), (2, {"a": 2})]


def test_compressed_file_and_parquet(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"text\na b\n"))
    assert read(tmp_path / "a.csv.gz") == [(2, {"text": "a b"})]
    records = [{"text": "a", "words": ["x", "y"]}, {"text": None, "words": None}]
    pyarrow.parquet.write_table(pa.Table.from_pylist(records), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == [(None, record) for record in records]


def test_parquet_with_dates_beyond_python_or_duplicate_columns(tmp_path: Path) -> None:
    late = pa.array([2**31 - 1], pa.date32())
    for table, message in (
        (pa.table({"text": ["a"], "at": late}), "a.parquet can't be read: "),
        (pa.table([["a"], ["b"]], names=["text", "text"]), "has more than one column called text"),
    ):
        pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
        with pytest.raises(InputError, match=message):
            read(tmp_path / "a.parquet")


def test_quoting_follows_the_dialect(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'text,label\n"one, and ""two""\nlines",1\nthree,0\n')
    assert read(path)[1] == (4, {"text": "three", "label": "0"})
    assert read(path, quoting=False)[0] == (2, {"text": '"one', "label": ' and ""two""'})
    path = write(tmp_path / "a.tsv", 'text\tlabel\n"one\tand two"\t1\n')
    assert read(path, quoting=True) == [(2, {"text": "one\tand two", "label": "1"})]


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_delimiter_is_detected_or_set(tmp_path: Path, delimiter: str) -> None:
    path = write(tmp_path / "a.csv", f"text{delimiter}label\none, two{delimiter}1\n")
    assert read(path) == [(2, {"text": "one, two", "label": "1"})]
    assert read(path, delimiter="tab" if delimiter == "\t" else delimiter) == read(path)
    path = write(tmp_path / "b.csv", "text|label\none, two|1\n")
    assert read(path, delimiter="|") == [(2, {"text": "one, two", "label": "1"})]


def test_column_names_with_and_without_a_header(tmp_path: Path) -> None:
    """In CoLA only the test file has a header, with other columns."""
    dialect: dict[str, Any] = {"columns": ("source", "label", "mark", "sentence"), "text_columns": ("sentence",)}
    first = {"source": "gj04", "label": "1", "mark": "", "sentence": "They went."}
    found = read(write(tmp_path / "train.tsv", "gj04\t1\t\tThey went.\ngj04\t0\t*\tThey goed.\n"), **dialect)
    assert (found[0], len(found)) == ((1, first), 2)
    found = read(write(tmp_path / "test.tsv", "index\tsentence\n0\tThey came.\n"), **dialect)
    assert found == [(2, {"index": "0", "sentence": "They came."})]
    assert read(write(tmp_path / "a.txt", "gj04\t1\t\tThey went."), **dialect) == [(1, first)]
    assert read(write(tmp_path / "b.txt", "They\twent."), **dialect) == [(1, {"text": "They\twent."})]
    assert (
        read(write(tmp_path / "c.txt", "n\tsentence\n1\tThey."), text_columns=("sentence",))[0][1]["sentence"]
        == "They."
    )


def test_list_of_records_in_jsonl_and_record_with_data(tmp_path: Path) -> None:
    assert read(write(tmp_path / "a.jsonl", '[{"text": "a"},\n{"text": "b"}]'))[1] == (None, {"text": "b"})
    assert read(write(tmp_path / "a.json", '{"data": "a"}\n{"data": "b"}\n'))[1] == (2, {"data": "b"})


def test_long_line_is_cut_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_io, "MAX_LINE_BYTES", 1 << 20)
    text = "text\n" + "x" * (3 << 20) + "\nshort\n"
    records = list(read_records(write(tmp_path / "a.csv", text)))
    assert records[0].record == "a line of more than 1 MB" and len(records[0].text) < 2 << 20
    assert (records[1].line, records[1].record) == (3, {"text": "short"})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.doc", b"x", "its name must end in one of .csv, .tsv,"),
        ("a.csv", b"\n \n", "is empty: its first line must name its columns."),
        ("a.csv", b"text,text\na,b", "has more than one column called text: rename them."),
        ("a.csv", b'"text\n', "line 1: its header can't be read: a quote is opened and not closed."),
        ("a.csv", "text\na".encode("utf-32"), "is in UTF-32, not UTF-8: convert it"),
        ("a.json", b'{"rows": \n[1]}', "is not a list of records"),
        ("a.json", b"[1,\n2", "line 2: it is not JSON ("),
        ("a.parquet", b"no", "can't be read: "),
        ("a.csv.gz", gzip.compress(b"text\na\n" * 99, mtime=0)[:-9], "is cut off: "),
    ],
)
def test_unreadable_file_is_an_error(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        read(tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path / name)) and message in str(caught.value)
