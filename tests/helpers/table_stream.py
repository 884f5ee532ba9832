"""A CSV with columns of all types, and reading of a table file as a stream."""

from pathlib import Path

import pyarrow as pa

from ssl_cli.data.io.arrow import FileLayout
from ssl_cli.data.io.chunks import ColumnTypes, RejectedRow
from ssl_cli.data.io.columns import QUANTITIES
from ssl_cli.data.io.table_stream import read_chunks

TEXT = pa.string()
NAMES = ["id", "amount", "kind", "ok", "day", "clock", "at"]
WANTED: ColumnTypes = {
    "amount": QUANTITIES["number"],
    "kind": TEXT,
    "ok": QUANTITIES["truth"],
    "day": QUANTITIES["date"],
    "clock": QUANTITIES["time"],
    "at": QUANTITIES["moment"],
}
LAYOUT = FileLayout(NAMES)
VALID_ROWS = [
    '0,1.5,a,true,2024-01-01,10:30:00,2024-01-01 10:30:00',
    '1, 2e3 ,"b, with a comma",false,2024-02-29,00:00:00,2024-01-01T10:30:00.123456',
    '2,,"he said ""no""",TRUE,,,',
    '3,?,NA,0,NaN,null,None',
    '4,-inf,ünï,1,1969-12-31,23:59:59,1969-12-31 23:59:59',
    '"5","7","",true,2024-01-01,10:30:00,2024-01-01',
]  # fmt: skip


def read_all(
    path: Path, wanted: ColumnTypes = WANTED, layout: FileLayout = LAYOUT
) -> tuple[pa.Table, list[int], list[RejectedRow]]:
    """Return all valid rows of a file, their numbers, and the rejected rows."""
    chunks = list(read_chunks(path, wanted, layout))
    table = pa.concat_tables([chunk.table for chunk in chunks])
    row = [int(index) for chunk in chunks for index in chunk.row]
    return table, row, [reject for chunk in chunks for reject in chunk.rejects]


def write_csv(path: Path, lines: list[str] | list[bytes], end: bytes = b"\n") -> Path:
    """Write a header of NAMES and lines to a file."""
    raw = [line if isinstance(line, bytes) else line.encode() for line in lines]
    path.write_bytes(end.join([",".join(NAMES).encode(), *raw]) + end)
    return path
