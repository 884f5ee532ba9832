"""Tests of streaming a CSV: no row is lost; each is in a chunk or among the rejects, whatever is wrong with it."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ssl_cli.data.io import csv_stream, delimited, lines
from ssl_cli.data.io.arrow import FileLayout
from ssl_cli.data.io.table_stream import read_chunks
from tests.helpers.table_stream import NAMES, TEXT, VALID_ROWS, WANTED, read_all, write_csv


def test_parsing_with_arrow_and_by_line_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_csv(tmp_path / "a.csv", VALID_ROWS * 50)
    with_arrow = read_all(path)
    monkeypatch.setattr(csv_stream.CsvReader, "_parse_with_arrow", lambda *_: None)
    by_line = read_all(path)
    assert with_arrow[0].schema == by_line[0].schema
    assert with_arrow[0].to_pydict()["kind"] == by_line[0].to_pydict()["kind"]
    for name in WANTED:
        a, b = (result[0][name].combine_chunks() for result in (with_arrow, by_line))
        assert a.is_null().equals(b.is_null()), name
        assert a.drop_null().equals(b.drop_null()), name
    assert with_arrow[1] == by_line[1] == list(range(300))
    assert not with_arrow[2] and not by_line[2]


VALID_ROW = VALID_ROWS[0]
INVALID_ROWS: dict[str, tuple[bytes, str]] = {
    "too few fields": (b"9,1.5,a", "3 fields instead of 7"),
    "too many fields": (VALID_ROW.encode() + b",1,2", "9 fields instead of 7"),
    "a text in a number": (
        VALID_ROW.replace("1.5", "abc").encode(),
        "the column amount holds 'abc', which is not a number",
    ),
    "a decimal comma": (
        VALID_ROW.replace("1.5", '"1,5"').encode(),
        "the column amount holds '1,5', which is not a number",
    ),
    "thousands": (VALID_ROW.replace("1.5", '"1,000.5"').encode(), "'1,000.5', which is not a number"),
    "a hexadecimal": (VALID_ROW.replace("1.5", "0x1F").encode(), "'0x1F', which is not a number"),
    "a currency": (VALID_ROW.replace("1.5", "$1.5").encode(), "'$1.5', which is not a number"),
    "underscores": (VALID_ROW.replace("1.5", "1_000").encode(), "'1_000', which is not a number"),
    "not a truth value": (
        VALID_ROW.replace("true", "maybe").encode(),
        "the column ok holds 'maybe', which is not a truth value",
    ),
    "an impossible date": (VALID_ROW.replace("-01-01,", "-02-30,").encode(), "'2024-02-30', which is not a date"),
    "another order of date": (
        VALID_ROW.replace("2024-01-01,", "01/02/2024,").encode(),
        "'01/02/2024', which is not a date",
    ),
    "an impossible time": (VALID_ROW.replace(",10:30:00", ",25:00:00").encode(), "'25:00:00', which is not a time"),
    "not a timestamp": (VALID_ROW.replace(" 10:30", " 10h30").encode(), "which is not a timestamp"),
    "an open quote": (VALID_ROW.replace("a,", '"a,').encode(), "a quote is opened and not closed"),
    "not UTF-8": (
        VALID_ROW.replace("a,", "é,").encode("latin1"),
        "the column kind contains bytes that are not valid UTF-8",
    ),
    "a null byte": (VALID_ROW.replace("1.5", "1\0.5").encode(), "which is not a number"),
    "a bare carriage return": (b"9,1.5,a\rb,true,2024-01-01,10:30:00,", "the line contains a carriage return"),
    "blanks": (b"   ", "1 field instead of 7"),
    "another file's header": (b"x,y,z", "3 fields instead of 7"),
    "the header again": (",".join(NAMES).encode(), "the column amount holds 'amount', which is not a number"),
    "binary": (bytes(range(128, 200)), " field instead of 7"),
}


@pytest.mark.parametrize("error", INVALID_ROWS)
@pytest.mark.parametrize("block", [16 << 20, 200])
def test_an_invalid_row_spoils_only_itself(
    error: str, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_stream, "BLOCK_BYTES", block)
    line, reason = INVALID_ROWS[error]
    # Line 1 is the header; blank lines count as lines, not as rows.
    path = write_csv(
        tmp_path / "a.csv",
        [*(word.encode() for word in VALID_ROWS), b"", line, b"", *(word.encode() for word in VALID_ROWS)],
    )
    _, row, rejects = read_all(path)
    assert row == [0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12]
    (reject,) = rejects
    assert (reject.row, reject.line) == (6, 9)
    assert reason in reject.reason
    assert reject.text == line.decode(errors="replace")


@pytest.mark.parametrize("line", ["", "\r"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_line_ends_and_blank_lines(line: str, end: bytes, tmp_path: Path) -> None:
    _, row, rejects = read_all(write_csv(tmp_path / "a.csv", [*VALID_ROWS, line, "9,x", *VALID_ROWS], end))
    assert len(row) == 12
    assert [(reject.row, reject.line) for reject in rejects] == [(6, 9)]


def test_last_line_without_end_or_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("\n".join([",".join(NAMES), *VALID_ROWS]))
    assert len(read_all(path)[1]) == 6
    path.write_text("\n".join([",".join(NAMES), *VALID_ROWS])[:-30])
    _, row, rejects = read_all(path)
    assert (len(row), [reject.row for reject in rejects]) == (5, [5])


@pytest.mark.parametrize("block", [16 << 20, 100])
def test_quoted_field_may_span_lines(block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_stream, "BLOCK_BYTES", block)
    spanning = VALID_ROW.replace("a,", '"two\nlines, and ""three""\n",')
    table, row, rejects = read_all(write_csv(tmp_path / "a.csv", [VALID_ROW, spanning, "9,x", spanning, VALID_ROW]))
    assert table["kind"].to_pylist() == ["a", 'two\nlines, and "three"\n', 'two\nlines, and "three"\n', "a"]
    assert row == [0, 1, 3, 4]
    assert [(reject.row, reject.line) for reject in rejects] == [(2, 6)]


def test_two_open_quotes_swallow_no_rows_between_them(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("t,a,b\n" + '"12 inch,1,2\n' + "x,1,2\n" * 1000 + '"9 inch,3,4\n')
    _, row, rejects = read_all(path, {"a": pa.float64()})
    assert row == list(range(1, 1001))
    assert [(reject.row, reject.line) for reject in rejects] == [(0, 2), (1001, 1003)]


@pytest.mark.parametrize("block", [16 << 20, 100])
def test_crlf_within_quotes_and_quotes_inside_fields(
    block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_stream, "BLOCK_BYTES", block)
    path = tmp_path / "a.csv"
    path.write_bytes(b't,a,b\r\n"x\r\ny",1,2\r\n5" p,"1",2\r\n"5"" p",1,2\r\n')
    table, row, rejects = read_all(path, {"t": TEXT, "a": pa.float64()})
    assert table["t"].to_pylist() == ["x\r\ny", '5" p', '5" p']
    assert (row, rejects) == ([0, 1, 2], [])


def test_arrow_parses_all_but_the_block_of_an_invalid_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_stream, "SMALL_BLOCK_BYTES", 1000)
    parse_rows, sizes = csv_stream.CsvReader._parse_rows, []

    def spy(reader: csv_stream.CsvReader, block: bytes, last: bool) -> object:
        sizes.append(len(block))
        return parse_rows(reader, block, last)

    monkeypatch.setattr(csv_stream.CsvReader, "_parse_rows", spy)
    _, row, rejects = read_all(write_csv(tmp_path / "a.csv", [*VALID_ROWS[3:] * 300, "9,x", *VALID_ROWS[3:] * 300]))
    assert [(reject.row, reject.line) for reject in rejects] == [(900, 902)]
    assert len(row) == 1800
    assert sum(sizes) < 3000


def test_open_quote_swallows_no_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_quote = VALID_ROW.replace("a,", '"a,')
    lines = [*VALID_ROWS * 20, open_quote, *VALID_ROWS * 20, open_quote, *VALID_ROWS * 20]
    for block in (16 << 20, 5000):
        monkeypatch.setattr(csv_stream, "BLOCK_BYTES", block)
        monkeypatch.setattr(delimited, "MAX_RECORD_CHARS", 2000)
        _, row, rejects = read_all(write_csv(tmp_path / "a.csv", lines))
        assert [reject.row for reject in rejects] == [120, 241]
        assert len(row) == 360


def test_line_longer_than_a_block_is_one_reject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_stream, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 1500)
    _, row, rejects = read_all(write_csv(tmp_path / "a.csv", [*VALID_ROWS, "x" * 5432, *VALID_ROWS, "y" * 9000]))
    assert [(reject.row, reject.line) for reject in rejects] == [(6, 8), (13, 15)]
    assert row == [0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12]


def test_no_row_is_lost_in_random_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Random bytes of a valid file are changed, except line ends: as many rows come out as lines went in.
    rng = np.random.default_rng(0)
    letters = np.frombuffer(b'",x0.-\xff\x00 \r;', np.uint8)
    for trial in range(100):
        body = np.frombuffer("\n".join(VALID_ROWS * 10).encode(), np.uint8).copy()
        hits = rng.choice(len(body), size=rng.integers(1, 30), replace=False)
        hits = hits[body[hits] != ord("\n")]
        body[hits] = rng.choice(letters, size=len(hits))
        path = tmp_path / "a.csv"
        path.write_bytes(",".join(NAMES).encode() + b"\n" + body.tobytes())
        results = []
        for block in (16 << 20, 400):
            monkeypatch.setattr(csv_stream, "BLOCK_BYTES", block)
            _, row, rejects = read_all(path)
            results.append((row, [(reject.row, reject.line) for reject in rejects]))
        assert results[0] == results[1], trial
        row, rejected = results[0]
        assert sorted(row + [number for number, _ in rejected]) == list(range(len(row) + len(rejected))), trial
        if b'"\n' not in body.tobytes() and not _spanning(body.tobytes()):
            assert len(row) + len(rejected) == 60, trial


def _spanning(body: bytes) -> bool:
    return any(line.count(b'"') % 2 for line in body.split(b"\n"))


KEPT_CSV = b"""zip,acct,when,x
00501,9007199254740993,2026-03-28 00:00:00+00:00,1.50
"=1+1", 9007199254740995 ,NA,-2e3
"a ""b"", c",?,2026-03-28T00:37,
"""
KEPT = {
    "zip": ["00501", "=1+1", 'a "b", c'],
    "acct": ["9007199254740993", " 9007199254740995 ", "?"],
    "when": ["2026-03-28 00:00:00+00:00", "NA", "2026-03-28T00:37"],
    "x": ["1.50", "-2e3", None],
}


@pytest.mark.parametrize("with_arrow", [True, False])
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_what_is_kept_stands_as_in_the_file(
    with_arrow: bool, compress: Callable[[bytes], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / ("a.csv" if compress is bytes else "a.csv.gz")
    path.write_bytes(compress(KEPT_CSV))
    if not with_arrow:
        monkeypatch.setattr(csv_stream.CsvReader, "_parse_with_arrow", lambda *_: None)
    wanted = {"acct": pa.float64(), "x": pa.float64(), "zip": TEXT}
    (chunk,) = (chunk for chunk in read_chunks(path, wanted, FileLayout(list(KEPT)), list(KEPT)) if len(chunk.row))
    assert {name: values.to_pylist() for name, values in chunk.kept.items()} == KEPT
    assert chunk.table["x"].to_pylist() == [1.5, -2000, None]
    assert chunk.table["acct"].to_pylist() == [9007199254740992, 9007199254740996, None]


def test_a_kept_text_that_is_no_number_is_rejected_where_a_number_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n01,x\nzz,y\n02,z\n")
    chunks = read_chunks(tmp_path / "a.csv", {"a": pa.float64()}, FileLayout(["a", "b"]), ["a"])
    chunk = next(chunks)
    assert chunk.kept["a"].to_pylist() == ["01", "02"] and chunk.row.tolist() == [0, 2]
    assert [reject.reason for reject in chunk.rejects] == ["the column a holds 'zz', which is not a number"]
