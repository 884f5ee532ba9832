"""Lines of files: the ends of lines, byte order marks and long lines, which all readers of records have in common."""

from pathlib import Path

import pyarrow as pa
import pytest

from ssl_cli.data.io import files, lines
from ssl_cli.data.io.arrow import FileLayout
from ssl_cli.data.io.delimited import split_rows
from ssl_cli.data.io.lines import decode_lines, read_line_blocks, read_numbered_lines
from ssl_cli.data.io.records import read_records
from ssl_cli.data.text.records import CsvText, JsonLines
from ssl_cli.errors import InputError
from tests.helpers.table_stream import read_all


@pytest.mark.parametrize("size", [1, 5, 1 << 20])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_all_readers_agree_on_the_ends_of_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, end: bytes
) -> None:
    monkeypatch.setattr(files, "READ_BYTES", size if end != b"\r" else 1 << 20)
    path, json_path = tmp_path / "a.csv", tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + end.join([b"text,n", b"one,1", b"", b'"two, ""x""",2', b"three,3"]))
    json_path.write_bytes(end.join([b'{"text": "one"}', b"", b'{"text": "two"}']))
    texts = ["one", 'two, "x"', "three"]
    assert [record.record["text"] for record in read_records(path)] == texts  # type: ignore[index]
    assert [record.line for record in read_records(path)] == [2, 4, 5]
    assert list(CsvText(files=str(path), field="text", delimiter=",", val=0.1).documents()) == texts
    table, row, rejects = read_all(path, {"text": pa.string(), "n": pa.float64()}, FileLayout(["text", "n"]))
    assert (table["text"].to_pylist(), row, rejects) == (texts, [0, 1, 2], [])
    assert [record.line for record in read_records(json_path)] == [1, 3]
    assert list(JsonLines(files=str(json_path), field="text", val=0.1).documents()) == ["one", "two"]


def test_a_carriage_return_among_line_feeds_is_a_character_of_a_record(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b'text,n\na\rb,1\n"c",d\re\n')
    records = [record.record for record in read_records(tmp_path / "a.csv")]
    assert records == [{"text": "a\rb", "n": "1"}, {"text": "c", "n": "d\re"}]


@pytest.mark.parametrize("size", [3, 7, 1 << 20])
def test_blocks_are_whole_lines_with_their_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 12)
    content = b"ab\n\n" + b"x" * 40 + b"\ncd\nend"
    (tmp_path / "a.txt").write_bytes(content)
    blocks = list(read_line_blocks(tmp_path / "a.txt", size))
    for block in blocks:
        assert content[block.offset :].startswith(block.content)
    whole = b"".join(block.content for block in blocks if not block.fault)
    assert whole == (content if size > 40 else b"ab\n\ncd\nend")  # a line that is read at once is never too long


def test_invalid_bytes_spoil_their_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"a\n\xffb\nc")
    expected = [(1, "a", ""), (2, "\ufffdb", "it contains bytes that are not valid UTF-8"), (3, "c", "")]
    assert list(decode_lines(tmp_path / "a.txt")) == expected
    with pytest.raises(InputError, match=r"prompts=.*a\.txt is not UTF-8 text: .* at byte 2\. Convert it\."):
        read_numbered_lines("prompts", str(tmp_path / "a.txt"))


def test_a_quote_that_is_open_at_the_end_of_a_block_waits_for_the_next() -> None:
    rows = split_rows('a,b\n"c\nd', ",", is_last=False)
    assert next(rows) == (0, ["a", "b"], "", "a,b")
    with pytest.raises(StopIteration) as end:
        next(rows)
    assert end.value.value == '"c\nd'
    typo = (7, [], "a quote is opened and not closed", '"c')
    assert list(split_rows('"c\nd', ",", number=7)) == [typo, (8, ["d"], "", "d")]
