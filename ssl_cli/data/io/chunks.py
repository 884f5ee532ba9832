"""What a file is read into, piece by piece: sound rows, and the rows that are not sound, each with the reason."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ssl_cli.config.choices import nearest
from ssl_cli.data.io.columns import nulled
from ssl_cli.errors import InputError

Types = dict[str, pa.DataType]


@dataclass(frozen=True)
class Reject:
    """A row that can't be read: its number from 0 (blank lines don't count), its line from 1, why, and what it is."""

    row: int
    line: int | None
    reason: str
    text: str


@dataclass
class Chunk:
    """Sound rows: `table` of the columns asked for, `row` (N,) their numbers in the file; and the rejects among them.

    `done` of the file's bytes have been read.
    """

    table: pa.Table
    row: np.ndarray
    rejects: list[Reject] = field(default_factory=list)
    done: int = 0


def refuse_missing(path: Path, wanted: list[str], names: list[str]) -> None:
    if absent := [name for name in wanted if name not in names]:
        none = len(absent) == len(wanted)
        hint = " If the file has no header, say header=false." if none else nearest(absent[0], names)
        raise InputError(f"{path} lacks the column {', '.join(absent[:10])}; it has {', '.join(names[:20])}.{hint}")
    if twice := [name for name in wanted if names.count(name) > 1]:
        raise InputError(f"{path} has more than one column called {', '.join(twice)}: rename them.")


class RowErrors:
    """Which of N rows are sound, and the first reason why each of the others isn't."""

    def __init__(self, n_rows: int):
        self.sound = np.ones(n_rows, bool)
        self.reasons: dict[int, str] = {}

    def add(self, row: int, reason: str) -> None:
        self.sound[row] = False
        self.reasons.setdefault(row, reason)

    def found(self) -> list[tuple[int, str]]:
        return sorted(self.reasons.items())


WORDS = {
    "double": "number",
    "bool": "truth value",
    "date32[day]": "date",
    "time64[ns]": "time",
    "timestamp[us]": "timestamp",
    "timestamp[ns]": "timestamp",
    "timestamp[us, tz=UTC]": "timestamp with a time zone",
    "timestamp[ns, tz=UTC]": "timestamp with a time zone",
}


def converted(texts: pa.Array, kind: pa.DataType, name: str, faults: RowErrors) -> pa.Array:
    """(N,) texts as values of a type; null, and a fault, where one is none. Halves what fails until it is found."""
    if kind == pa.string():
        return nulled(texts)
    texts = nulled(pc.utf8_trim(texts, " \t"))
    parts: list[pa.Array] = []

    def convert(start: int, end: int) -> None:
        try:
            parts.append(_cast(texts[start:end], kind))
        except pa.ArrowInvalid:
            if end - start > 1:
                middle = (start + end) // 2
                convert(start, middle)
                convert(middle, end)
                return
            parts.append(pa.nulls(1, kind))
            held = texts[start].as_py()[:100]
            faults.add(start, f"the column {name} holds {held!r}, which is no {WORDS[str(kind)]}")

    convert(0, len(texts))
    return pa.concat_arrays(parts)


def _cast(texts: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_time(kind):  # which Arrow reads only as part of a timestamp
        moments = pc.binary_join_element_wise(pa.scalar("1970-01-01"), texts, " ")
        return pc.cast(pc.cast(moments, pa.timestamp(kind.unit)), kind)
    return pc.cast(texts, kind)
