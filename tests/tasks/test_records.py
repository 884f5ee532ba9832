"""Records of every kind of file, the traps that published ones set, and what is said of broken ones."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from ssl_cli.data.documents import Faults
from ssl_cli.errors import InputError
from ssl_cli.tasks.records import Sheet, records


def read(path: Path, texts: tuple[str, ...] = ("text",), **sheet: Any) -> list[tuple[str, dict[str, Any] | str]]:
    return list(records(path, Sheet(**sheet), texts, Faults()))


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refusal(path: Path, **sheet: Any) -> str:
    with pytest.raises(InputError) as refused:
        read(path, **sheet)
    assert "\n" not in str(refused.value)
    return str(refused.value)


ROWS = [{"text": "a bird", "label": "1"}, {"text": "一只鸟", "label": "0"}]


@pytest.mark.parametrize(
    "name", ["a.tsv", "a.csv", "a.jsonl", "a.json", "a.ndjson", "array.json", "a.parquet", "a.txt"]
)
@pytest.mark.parametrize("packed", [False, True])
def test_all_kinds_give_the_same(tmp_path: Path, name: str, packed: bool) -> None:
    path = tmp_path / name
    if name == "a.parquet":
        if packed:
            pytest.skip("Parquet is packed inside")
        pyarrow.parquet.write_table(pa.Table.from_pylist(ROWS), path)
    elif name == "array.json":
        written(path, json.dumps(ROWS, indent=1))
    elif name.endswith(("tsv", "csv", "txt")):
        sign = "," if name == "a.csv" else "\t"
        written(path, f"text{sign}label\n" + "".join(f"{row['text']}{sign}{row['label']}\n" for row in ROWS))
    else:
        written(path, "".join(f"{json.dumps(row)}\n" for row in ROWS))
    if packed:
        path = written(tmp_path / f"{name}.gz", gzip.compress(path.read_bytes()))
    assert [record for _, record in read(path)] == ROWS


def test_byte_order_mark_mixed_line_ends_and_blank_lines(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tsv", b"\xef\xbb\xbftext\tlabel\r\none\t1\ntwo\t0\r\n\n\nthree\t1")
    expected = [("line 2", {"text": "one", "label": "1"}), ("line 3", {"text": "two", "label": "0"})]
    assert read(path) == [*expected, ("line 6", {"text": "three", "label": "1"})]


def test_a_quote_is_a_letter_in_tsv_and_encloses_in_csv(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tsv", 'text\tlabel\n"he said\t1\nso "it is"\t0\n')
    assert [record["text"] for _, record in read(path) if isinstance(record, dict)] == ['"he said', 'so "it is"']
    path = written(tmp_path / "a.csv", 'text,label\n"one, and ""two""\nlines",1\nthree,0\n')
    found = read(path)
    assert found[0] == ("line 2", {"text": 'one, and "two"\nlines', "label": "1"})
    assert found[1][0] == "line 4"
    assert read(path, quoting=False)[0] == ("line 2", {"text": '"one', "label": ' and ""two""'})


@pytest.mark.parametrize("sign", [";", "\t"])
def test_the_sign_of_a_csv_is_found(tmp_path: Path, sign: str) -> None:
    path = written(tmp_path / "a.csv", f"text{sign}label\none, two{sign}1\n")
    assert read(path) == [("line 2", {"text": "one, two", "label": "1"})]
    assert read(path, delimiter="tab" if sign == "\t" else sign) == read(path)


def test_names_for_a_file_without_header_and_one_with(tmp_path: Path) -> None:
    """As CoLA: its test file alone has a header, of other columns."""
    columns = ("source", "label", "mark", "sentence")
    train = written(tmp_path / "train.tsv", "gj04\t1\t\tThey went.\ngj04\t0\t*\tThey goed.\n")
    first = {"source": "gj04", "label": "1", "mark": "", "sentence": "They went."}
    found = read(train, ("sentence",), columns=columns)
    assert (found[0], len(found)) == (("line 1", first), 2)
    test = written(tmp_path / "test.tsv", "index\tsentence\n0\tThey came.\n")
    assert read(test, ("sentence",), columns=columns) == [("line 2", {"index": "0", "sentence": "They came."})]


def test_a_wrong_number_of_fields_is_a_reason_and_the_rest_goes_on(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tsv", "text\tlabel\none\t1\ntwo\nthree\t0\textra\nfour\t1\n")
    found = read(path)
    assert [place for place, record in found if isinstance(record, str)] == ["line 3", "line 4"]
    assert found[1][1] == "it has 1 field(s) instead of 2 (text, label)"
    assert found[-1][1] == {"text": "four", "label": "1"}


def test_json_that_is_none(tmp_path: Path) -> None:
    found = read(written(tmp_path / "a.jsonl", '{"text": "one"}\n{"text": \n[1]\n'))
    assert [isinstance(record, str) for _, record in found] == [False, True, True]
    assert found[1][0] == "line 2"
    assert "array.json, line 2: it is no JSON" in refusal(written(tmp_path / "array.json", '[{"text": "one"},\n}'))
    assert read(written(tmp_path / "b.json", "[1]")) == [("item 1", "it is no JSON object, {...}")]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert "a quote is opened there" in refusal(written(tmp_path / "a.csv", 'text,label\n"one,1\ntwo,0\n'))
    assert "2 columns called text" in refusal(written(tmp_path / "b.csv", "text,text\n1,2\n"))
    assert "must end in one of .tsv" in refusal(written(tmp_path / "a.xlsx", "text"))
    assert "can't be read" in refusal(written(tmp_path / "a.parquet", "text"))
    assert "cut off" in refusal(written(tmp_path / "a.tsv.gz", gzip.compress(b"text\n" * 99)[:-12]))
    assert read(written(tmp_path / "empty.tsv", "")) == []
