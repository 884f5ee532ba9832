"""Files of records, one by one: each is a record or a reason, with its place, and none is lost."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from ssl_cli.data.io import records as records_module
from ssl_cli.data.io.delimited import CsvDialect
from ssl_cli.data.io.records import read_records
from ssl_cli.errors import InputError


def read(path: Path, **sheet: Any) -> list[tuple[int | None, Any]]:
    found = list(read_records(path, CsvDialect(**sheet)))
    assert [entry.row for entry in found] == list(range(len(found)))
    return [(entry.line, entry.record) for entry in found]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


def test_csv_with_quotes_over_lines(tmp_path: Path) -> None:
    text = '\ufefftext,n\r\n"a ""b"", c",1\r\n"two\n\nlines",2\r\n\r\n5" wide,3\r\nNA,4\r\n'
    found = read(write(tmp_path / "a.csv", text))
    texts = ['a "b", c', "two\n\nlines", '5" wide', "NA"]
    assert found == [(line, {"text": said, "n": str(n + 1)}) for line, said, n in zip((2, 3, 7, 8), texts, range(4))]  # noqa: B905


def test_a_slip_spoils_its_own_line_alone(tmp_path: Path) -> None:
    lines = [b"text;n", b'"open;1', b"fine;2", b"one", b"a;b;c", b"\xff;3", b'"x"y;4', b'"sound";5', b"last;6"]
    (tmp_path / "a.csv").write_bytes(b"\n".join(lines))
    assert read(tmp_path / "a.csv") == [
        (2, "a quote is opened and not closed"),
        (3, {"text": "fine", "n": "2"}),
        (4, "it has 1 field(s) instead of 2 (text, n)"),
        (5, "it has 3 field(s) instead of 2 (text, n)"),
        (6, "it holds bytes that are no UTF-8 text"),
        (7, "a quote is opened and not closed"),
        (8, {"text": "sound", "n": "5"}),
        (9, {"text": "last", "n": "6"}),
    ]


def test_a_comma_in_a_single_column_is_a_letter(tmp_path: Path) -> None:
    found = read(write(tmp_path / "a.csv", 'text\nOne, two\n"Three, ""four"""\n'))
    assert [record["text"] for _, record in found] == ["One, two", 'Three, "four"']


def test_in_tsv_a_quote_is_a_letter(tmp_path: Path) -> None:
    found = read(write(tmp_path / "a.tsv", 'text\tn\n"a, b\t1\n"c"\t2\n'))
    assert found == [(2, {"text": '"a, b', "n": "1"}), (3, {"text": '"c"', "n": "2"})]


def test_lines_of_text_and_of_json(tmp_path: Path) -> None:
    assert read(write(tmp_path / "a.txt", "a, b\n\n  \nc\u2028d")) == [(1, {"text": "a, b"}), (4, {"text": "c\u2028d"})]
    found = read(write(tmp_path / "a.jsonl", '{"text": "a"}\n[1]\n{"text"\n\n{"n": [1]}\n'))
    assert found[0] == (1, {"text": "a"}) and found[3] == (5, {"n": [1]})
    assert found[1] == (2, "it is no JSON object: each line must be one, {...}")
    assert found[2][0] == 3 and found[2][1].startswith("it is no JSON (")


def test_json_by_what_is_in_it(tmp_path: Path) -> None:
    asked = {"id": "q", "question": "Who?", "answers": []}
    squad = {"data": [{"paragraphs": [{"context": "He.", "qas": [asked]}]}]}
    want = {"id": "q", "question": "Who?", "context": "He."}
    for indent in (None, 1):
        assert read(write(tmp_path / "squad.json", json.dumps(squad, indent=indent))) == [(None, want)]
    chinese = [{"context_text": "他。", "qas": [{"query_id": "q", "query_text": "谁？"}]}]
    want = {"id": "q", "question": "谁？", "context": "他。"}
    assert read(write(tmp_path / "cmrc.json", json.dumps(chinese))) == [(None, want)]
    found = read(write(tmp_path / "list.json", json.dumps([{"text": "a"}, 3], indent=1)))
    assert found == [(None, {"text": "a"}), (None, "it is no JSON object, {...}")]
    assert read(write(tmp_path / "lines.json", '{"a": 1}\n{"a": 2}\n')) == [(1, {"a": 1}), (2, {"a": 2})]


def test_packed_files_and_parquet(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"text\na b\n"))
    assert read(tmp_path / "a.csv.gz") == [(2, {"text": "a b"})]
    records = [{"text": "a", "words": ["x", "y"]}, {"text": None, "words": None}]
    pyarrow.parquet.write_table(pa.Table.from_pylist(records), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == [(None, record) for record in records]


def test_parquet_that_python_can_not_hold_or_tell_apart(tmp_path: Path) -> None:
    late = pa.array([2**31 - 1], pa.date32())
    for table, said in (
        (pa.table({"text": ["a"], "at": late}), "a.parquet can't be read: "),
        (pa.table([["a"], ["b"]], names=["text", "text"]), "has 2 columns called text"),
    ):
        pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
        with pytest.raises(InputError, match=said):
            read(tmp_path / "a.parquet")


def test_quoting_is_as_the_sheet_says(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'text,label\n"one, and ""two""\nlines",1\nthree,0\n')
    assert read(path)[1] == (4, {"text": "three", "label": "0"})
    assert read(path, quoting=False)[0] == (2, {"text": '"one', "label": ' and ""two""'})
    path = write(tmp_path / "a.tsv", 'text\tlabel\n"one\tand two"\t1\n')
    assert read(path, quoting=True) == [(2, {"text": "one\tand two", "label": "1"})]


@pytest.mark.parametrize("sign", [";", "\t"])
def test_the_sign_of_a_csv_is_found_or_said(tmp_path: Path, sign: str) -> None:
    path = write(tmp_path / "a.csv", f"text{sign}label\none, two{sign}1\n")
    assert read(path) == [(2, {"text": "one, two", "label": "1"})]
    assert read(path, delimiter="tab" if sign == "\t" else sign) == read(path)
    path = write(tmp_path / "b.csv", "text|label\none, two|1\n")
    assert read(path, delimiter="|") == [(2, {"text": "one, two", "label": "1"})]


def test_names_for_a_file_without_header_and_one_with(tmp_path: Path) -> None:
    """As CoLA: its test file alone has a header, of other columns."""
    sheet: dict[str, Any] = {"columns": ("source", "label", "mark", "sentence"), "texts": ("sentence",)}
    first = {"source": "gj04", "label": "1", "mark": "", "sentence": "They went."}
    found = read(write(tmp_path / "train.tsv", "gj04\t1\t\tThey went.\ngj04\t0\t*\tThey goed.\n"), **sheet)
    assert (found[0], len(found)) == ((1, first), 2)
    found = read(write(tmp_path / "test.tsv", "index\tsentence\n0\tThey came.\n"), **sheet)
    assert found == [(2, {"index": "0", "sentence": "They came."})]
    assert read(write(tmp_path / "a.txt", "gj04\t1\t\tThey went."), **sheet) == [(1, first)]
    assert read(write(tmp_path / "b.txt", "They\twent."), **sheet) == [(1, {"text": "They\twent."})]
    assert read(write(tmp_path / "c.txt", "n\tsentence\n1\tThey."), texts=("sentence",))[0][1]["sentence"] == "They."


def test_a_list_of_records_in_jsonl_and_a_record_with_data(tmp_path: Path) -> None:
    assert read(write(tmp_path / "a.jsonl", '[{"text": "a"},\n{"text": "b"}]'))[1] == (None, {"text": "b"})
    assert read(write(tmp_path / "a.json", '{"data": "a"}\n{"data": "b"}\n'))[1] == (2, {"data": "b"})


def test_a_line_without_end_takes_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records_module, "LONGEST_LINE", 1000)
    text = "text\n" + "x" * (3 << 20) + "\nshort\n"
    found = list(read_records(write(tmp_path / "a.csv", text)))
    assert found[0].record == records_module.TOO_LONG and len(found[0].text) < 2 << 20
    assert (found[1].line, found[1].record) == (3, {"text": "short"})


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.doc", b"x", "its name must end in one of .csv, .tsv,"),
        ("a.csv", b"\n \n", "is empty: its first line must name its columns."),
        ("a.csv", b"text,text\na,b", "has 2 columns called text: rename all but one."),
        ("a.csv", b'"text\n', "line 1: its header can't be read: a quote is opened and not closed."),
        ("a.csv", b"text,n\ra,1\rb,2", "ends its lines with carriage returns alone: save it with line feeds."),
        ("a.csv", "text\na".encode("utf-16"), "begins as UTF-16 does; convert it"),
        ("a.json", b'{"rows": \n[1]}', "is no list of records"),
        ("a.json", b"[1,\n2", "line 2: it is no JSON ("),
        ("a.parquet", b"no", "can't be read: "),
        ("a.csv.gz", gzip.compress(b"text\na\n" * 99, mtime=0)[:-9], "is cut off: "),
    ],
)
def test_what_can_not_be_read_at_all(tmp_path: Path, name: str, content: bytes, sentence: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as refused:
        read(tmp_path / name)
    assert str(refused.value).startswith(str(tmp_path / name)) and sentence in str(refused.value)
