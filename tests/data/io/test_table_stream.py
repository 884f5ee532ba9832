"""No row of a file is lost: each is in a chunk or among the rejects, whatever is wrong with it."""

import bz2
import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from ssl_cli.data.io import csv_stream
from ssl_cli.data.io.arrow import FileLayout
from ssl_cli.data.io.chunks import Reject, Types
from ssl_cli.data.io.columns import QUANTITIES
from ssl_cli.data.io.table_stream import stream
from ssl_cli.errors import InputError

TEXT = pa.string()
NAMES = ["id", "amount", "kind", "ok", "day", "clock", "at"]
WANTED: Types = {
    "amount": QUANTITIES["number"],
    "kind": TEXT,
    "ok": QUANTITIES["truth"],
    "day": QUANTITIES["date"],
    "clock": QUANTITIES["time"],
    "at": QUANTITIES["moment"],
}
LAYOUT = FileLayout(NAMES)
SOUND = [
    '0,1.5,a,true,2024-01-01,10:30:00,2024-01-01 10:30:00',
    '1, 2e3 ,"b, with a comma",false,2024-02-29,00:00:00,2024-01-01T10:30:00.123456',
    '2,,"he said ""no""",TRUE,,,',
    '3,?,NA,0,NaN,null,None',
    '4,-inf,ünï,1,1969-12-31,23:59:59,1969-12-31 23:59:59',
    '"5","7","",true,2024-01-01,10:30:00,2024-01-01',
]  # fmt: skip


def everything(
    path: Path, wanted: Types = WANTED, layout: FileLayout = LAYOUT
) -> tuple[pa.Table, list[int], list[Reject]]:
    chunks = list(stream(path, wanted, layout))
    table = pa.concat_tables([chunk.table for chunk in chunks])
    row = [int(number) for chunk in chunks for number in chunk.row]
    return table, row, [reject for chunk in chunks for reject in chunk.rejects]


def written(path: Path, lines: list[str] | list[bytes], end: bytes = b"\n") -> Path:
    raw = [line if isinstance(line, bytes) else line.encode() for line in lines]
    path.write_bytes(end.join([",".join(NAMES).encode(), *raw]) + end)
    return path


def test_at_once_and_line_by_line_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "a.csv", SOUND * 50)
    at_once = everything(path)
    monkeypatch.setattr(csv_stream.CsvReader, "_at_once", lambda *_: None)
    line_by_line = everything(path)
    assert at_once[0].schema == line_by_line[0].schema
    assert at_once[0].to_pydict()["kind"] == line_by_line[0].to_pydict()["kind"]
    for name in WANTED:
        one, other = (found[0][name].combine_chunks() for found in (at_once, line_by_line))
        assert one.is_null().equals(other.is_null()), name
        assert one.drop_null().equals(other.drop_null()), name
    assert at_once[1] == line_by_line[1] == list(range(300))
    assert not at_once[2] and not line_by_line[2]


GOOD = SOUND[0]
FAULTS: dict[str, tuple[bytes, str]] = {
    "too few fields": (b"9,1.5,a", "3 fields instead of 7"),
    "too many fields": (GOOD.encode() + b",1,2", "9 fields instead of 7"),
    "a text in a number": (GOOD.replace("1.5", "abc").encode(), "the column amount holds 'abc', which is no number"),
    "a decimal comma": (GOOD.replace("1.5", '"1,5"').encode(), "the column amount holds '1,5', which is no number"),
    "thousands": (GOOD.replace("1.5", '"1,000.5"').encode(), "'1,000.5', which is no number"),
    "a hexadecimal": (GOOD.replace("1.5", "0x1F").encode(), "'0x1F', which is no number"),
    "a currency": (GOOD.replace("1.5", "$1.5").encode(), "'$1.5', which is no number"),
    "underscores": (GOOD.replace("1.5", "1_000").encode(), "'1_000', which is no number"),
    "no truth": (GOOD.replace("true", "maybe").encode(), "the column ok holds 'maybe', which is no truth value"),
    "no such day": (GOOD.replace("-01-01,", "-02-30,").encode(), "'2024-02-30', which is no date"),
    "another order of date": (GOOD.replace("2024-01-01,", "01/02/2024,").encode(), "'01/02/2024', which is no date"),
    "no time": (GOOD.replace(",10:30:00", ",25:00:00").encode(), "'25:00:00', which is no time"),
    "no moment": (GOOD.replace(" 10:30", " 10h30").encode(), "which is no timestamp"),
    "an open quote": (GOOD.replace("a,", '"a,').encode(), "a quote is opened and not closed"),
    "not UTF-8": (GOOD.replace("a,", "é,").encode("latin1"), "the column kind holds bytes that are no UTF-8 text"),
    "a null byte": (GOOD.replace("1.5", "1\0.5").encode(), "which is no number"),
    "a bare carriage return": (b"9,1.5,a\rb,true,2024-01-01,10:30:00,", "a carriage return stands within the line"),
    "blanks": (b"   ", "1 field instead of 7"),
    "another file's header": (b"x,y,z", "3 fields instead of 7"),
    "the header again": (",".join(NAMES).encode(), "the column amount holds 'amount', which is no number"),
    "binary": (bytes(range(128, 200)), " field instead of 7"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("block", [16 << 20, 200])
def test_a_fault_costs_its_own_row(fault: str, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_stream, "BLOCK_BYTES", block)
    line, reason = FAULTS[fault]
    # Line 1 is the header; blank lines are no rows, but lines.
    path = written(
        tmp_path / "a.csv", [*(word.encode() for word in SOUND), b"", line, b"", *(word.encode() for word in SOUND)]
    )
    _, row, rejects = everything(path)
    assert row == [0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12]
    (reject,) = rejects
    assert (reject.row, reject.line) == (6, 9)
    assert reason in reject.reason
    assert reject.text == line.decode(errors="replace")


@pytest.mark.parametrize("line", ["", "\r"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_line_ends_and_blank_lines(line: str, end: bytes, tmp_path: Path) -> None:
    _, row, rejects = everything(written(tmp_path / "a.csv", [*SOUND, line, "9,x", *SOUND], end))
    assert len(row) == 12
    assert [(reject.row, reject.line) for reject in rejects] == [(6, 9)]


def test_the_last_line_may_lack_its_end_and_be_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("\n".join([",".join(NAMES), *SOUND]))
    assert len(everything(path)[1]) == 6
    path.write_text("\n".join([",".join(NAMES), *SOUND])[:-30])
    _, row, rejects = everything(path)
    assert (len(row), [reject.row for reject in rejects]) == (5, [5])


@pytest.mark.parametrize("block", [16 << 20, 100])
def test_a_quoted_field_may_span_lines(block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_stream, "BLOCK_BYTES", block)
    spanning = GOOD.replace("a,", '"two\nlines, and ""three""\n",')
    table, row, rejects = everything(written(tmp_path / "a.csv", [GOOD, spanning, "9,x", spanning, GOOD]))
    assert table["kind"].to_pylist() == ["a", 'two\nlines, and "three"\n', 'two\nlines, and "three"\n', "a"]
    assert row == [0, 1, 3, 4]
    assert [(reject.row, reject.line) for reject in rejects] == [(2, 6)]


def test_two_slips_swallow_nothing_between_them(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("t,a,b\n" + '"12 inch,1,2\n' + "x,1,2\n" * 1000 + '"9 inch,3,4\n')
    _, row, rejects = everything(path, {"a": pa.float64()})
    assert row == list(range(1, 1001))
    assert [(reject.row, reject.line) for reject in rejects] == [(0, 2), (1001, 1003)]


@pytest.mark.parametrize("block", [16 << 20, 100])
def test_crlf_within_quotes_and_quotes_amid_fields(block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_stream, "BLOCK_BYTES", block)
    path = tmp_path / "a.csv"
    path.write_bytes(b't,a,b\r\n"x\r\ny",1,2\r\n5" p,"1",2\r\n"5"" p",1,2\r\n')
    table, row, rejects = everything(path, {"t": TEXT, "a": pa.float64()})
    assert table["t"].to_pylist() == ["x\r\ny", '5" p', '5" p']
    assert (row, rejects) == ([0, 1, 2], [])


def test_one_odd_row_leaves_the_others_to_arrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_stream, "PIECE_BYTES", 1000)
    careful, seen = csv_stream.CsvReader._line_by_line, []

    def watched(reader: csv_stream.CsvReader, block: bytes, last: bool, done: int) -> object:
        seen.append(len(block))
        return careful(reader, block, last, done)

    monkeypatch.setattr(csv_stream.CsvReader, "_line_by_line", watched)
    _, row, rejects = everything(written(tmp_path / "a.csv", [*SOUND[3:] * 300, "9,x", *SOUND[3:] * 300]))
    assert [(reject.row, reject.line) for reject in rejects] == [(900, 902)]
    assert len(row) == 1800
    assert sum(seen) < 3000


def test_a_name_over_two_lines_and_a_field_longer_than_csv_likes(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('"a\nb",c\n1,' + "y" * 200_000 + '\n2,"' + "y" * 200_000 + '"\nx,y\n')
    _, row, rejects = everything(path, {"a\nb": pa.float64()})
    assert row == [0, 1]
    assert [(reject.row, reject.line) for reject in rejects] == [(2, 5)]


def test_an_odd_quote_in_the_header_is_a_letter(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('id,width"\n' + "1,2\n" * 20_000)
    assert len(everything(path, {"id": pa.float64()})[1]) == 20_000


def test_an_open_quote_swallows_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slip = GOOD.replace("a,", '"a,')
    lines = [*SOUND * 20, slip, *SOUND * 20, slip, *SOUND * 20]
    for block in (16 << 20, 5000):
        monkeypatch.setattr(csv_stream, "BLOCK_BYTES", block)
        monkeypatch.setattr(csv_stream, "LONGEST_RECORD", 2000)
        _, row, rejects = everything(written(tmp_path / "a.csv", lines))
        assert [reject.row for reject in rejects] == [120, 241]
        assert len(row) == 360


def test_a_line_longer_than_a_block_is_one_reject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_stream, "BLOCK_BYTES", 1000)
    _, row, rejects = everything(written(tmp_path / "a.csv", [*SOUND, "x" * 5432, *SOUND, "y" * 9000]))
    assert [(reject.row, reject.line) for reject in rejects] == [(6, 8), (13, 15)]
    assert row == [0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12]


def test_whatever_is_broken_the_sum_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Bytes of a sound file are changed at random, line ends left alone: as many rows come out as lines went in.
    rng = np.random.default_rng(0)
    letters = np.frombuffer(b'",x0.-\xff\x00 \r;', np.uint8)
    for trial in range(100):
        body = np.frombuffer("\n".join(SOUND * 10).encode(), np.uint8).copy()
        hits = rng.choice(len(body), size=rng.integers(1, 30), replace=False)
        hits = hits[body[hits] != ord("\n")]
        body[hits] = rng.choice(letters, size=len(hits))
        path = tmp_path / "a.csv"
        path.write_bytes(",".join(NAMES).encode() + b"\n" + body.tobytes())
        found = []
        for block in (16 << 20, 400):
            monkeypatch.setattr(csv_stream, "BLOCK_BYTES", block)
            _, row, rejects = everything(path)
            found.append((row, [(reject.row, reject.line) for reject in rejects]))
        assert found[0] == found[1], trial
        row, rejected = found[0]
        assert sorted(row + [number for number, _ in rejected]) == list(range(len(row) + len(rejected))), trial
        if b'"\n' not in body.tobytes() and not _spanning(body.tobytes()):
            assert len(row) + len(rejected) == 60, trial


def _spanning(body: bytes) -> bool:
    return any(line.count(b'"') % 2 for line in body.split(b"\n"))


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress)])
def test_compressed(suffix: str, pack: object, tmp_path: Path) -> None:
    raw = written(tmp_path / "a.csv", SOUND).read_bytes()
    path = tmp_path / f"a.csv{suffix}"
    path.write_bytes(pack(raw))  # type: ignore[operator]
    assert len(everything(path)[1]) == 6
    path.write_bytes(pack(raw * 50)[:-20])  # type: ignore[operator]
    with pytest.raises(InputError, match=r"a\.csv.* can't be read"):
        everything(path)


def test_parquet_keeps_types_and_rejects_texts_that_are_no_numbers(tmp_path: Path) -> None:
    table = pa.table({"amount": ["1", "2.5", "x", "", None], "kind": ["a", "b", "c", "d", "e"], "more": range(5)})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    found, row, rejects = everything(tmp_path / "a.parquet", {"amount": pa.float64(), "kind": TEXT})
    assert found["amount"].to_pylist() == [1, 2.5, None, None]
    assert row == [0, 1, 3, 4]
    assert [(reject.row, reject.line) for reject in rejects] == [(2, None)]
    assert "the column amount holds 'x', which is no number" in rejects[0].reason


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("id,amuont,kind,ok,day,clock,at\n", r"lacks the column amount; it has id, amuont.* Did you mean amuont\?"),
        ("0,1,a\n", "lacks the column amount, kind, .* If the file has no header, say header=false"),
        ("id,amount,amount,kind,ok,day,clock,at\n", "more than one column called amount"),
        ("id,amount\r0,1\r2,3\r", "ends its lines with carriage returns alone"),
        ('id,amount\r"\n', "its header can't be read"),
        ("id;amount;kind;ok;day;clock;at\n", "its fields seem parted by ';'; say delimiter=';'"),
    ],
)
def test_headers_that_will_not_do(content: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(InputError, match=sentence):
        everything(tmp_path / "a.csv")


def test_columns_are_found_by_name_in_any_order_and_without_a_header_by_place(tmp_path: Path) -> None:
    wanted = {"b": pa.float64(), "a": pa.float64()}
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbfa,more,b\n1,x,2\n")
    assert everything(path, wanted)[0].to_pylist() == [{"b": 2, "a": 1}]
    path.write_text("1,x,2\n")
    assert everything(path, wanted, FileLayout(["a", "more", "b"], header=False))[0].to_pylist() == [{"b": 2, "a": 1}]
    with pytest.raises(InputError, match="has 3 fields in its first rows"):
        everything(path, wanted, FileLayout(["a", "b", "c", "d"], header=False))
    # The first row is short; the others say that the label is there.
    path.write_text("1,2\n" + "1,x,2\n" * 3)
    table, _, rejects = everything(path, wanted, FileLayout(["a", "more", "b"], False, unlabelled=["a", "b"]))
    assert table.to_pylist() == [{"b": 2, "a": 1}] * 3
    assert [reject.row for reject in rejects] == [0]


def test_timestamps_far_off_and_durations(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("at,b\n9999-12-31 00:00:00,1\n2024-01-01 00:00:00.123456,x\n")
    table, row, rejects = everything(path, {"at": QUANTITIES["moment"]})
    assert (len(table), row, rejects) == (2, [0, 1], [])
    durations = pa.table({"t": pa.array([1, 2], pa.duration("ms")), "d": pa.nulls(2)})
    pyarrow.parquet.write_table(durations, tmp_path / "a.parquet")
    wanted = {"t": QUANTITIES["number"], "d": QUANTITIES["date"]}
    assert everything(tmp_path / "a.parquet", wanted)[1] == [0, 1]
    pyarrow.parquet.write_table(pa.table({"t": pa.array([b"\xff"], pa.large_binary())}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="holds large_binary, which is neither a number nor a text"):
        everything(tmp_path / "a.parquet", {"t": TEXT})
