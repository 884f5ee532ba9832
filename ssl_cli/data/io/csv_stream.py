"""A CSV of any size -> chunks of sound rows, and rejects.

It is read in blocks of whole lines. Arrow parses a block at once where it can; a block in which anything is odd (a row
that doesn't fit, a field of several lines, bytes that are no text) is parsed again line by line. Both ways give the
same rows, and no line is lost: each is a row of a chunk, a reject, or blank.
"""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv

from ssl_cli.data.io.arrow import MISSING, TAB, FileLayout
from ssl_cli.data.io.chunks import Chunk, Reject, RowErrors, Types, converted
from ssl_cli.data.io.csv_header import LONGEST_RECORD, fields_of, may_go_on, read_header
from ssl_cli.errors import InputError

BLOCK_BYTES = 16 << 20
PIECE_BYTES = 1 << 18  # of a block in which something is odd
COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4"}
SURROGATE = re.compile("[\udc80-\udcff]")  # what Python makes of a byte that is no UTF-8
OPEN_QUOTE = "a quote is opened and not closed"
LONGEST_TEXT = 10_000  # characters of a rejected line that are kept
csv.field_size_limit(2 * BLOCK_BYTES)  # as long as a field may be where Arrow reads it


def csv_chunks(path: Path, wanted: Types, layout: FileLayout) -> Iterator[Chunk]:
    delimiter = "\t" if layout.delimiter in TAB else layout.delimiter
    with path.open("rb") as file:
        blocks = _blocks(file, path)
        first, whole = next(blocks, (b"", True))
        if not first.strip(b"\r\n"):
            raise InputError(f"{path} is empty.")
        if not whole:
            raise InputError(f"{path} has no line end in its first {BLOCK_BYTES >> 20} MB: it is no CSV.")
        names, body, line = read_header(path, first, wanted, layout, delimiter)
        reader = CsvReader(names, wanted, delimiter, line)
        yield from reader.read(body, file.tell())
        for block, whole in blocks:
            yield from (reader.read if whole else reader.refuse)(block, file.tell())
        yield from reader.read(b"", path.stat().st_size, last=True)


def _blocks(file: BinaryIO, path: Path) -> Iterator[tuple[bytes, bool]]:
    """Pieces of the file's bytes, each of whole lines, with True; or the beginning of a line that is longer than a
    piece, with False: the rest of it is skipped, so that memory stays bounded."""
    compression = COMPRESSIONS.get(path.suffix.lower())
    stream: Any = pa.CompressedInputStream(pa.PythonFile(file, "r"), compression) if compression else file
    rest, skipping = b"", False
    while piece := stream.read(BLOCK_BYTES):
        if skipping:
            end = piece.find(b"\n") + 1
            if not end:
                continue
            piece, skipping = piece[end:], False
        end = piece.rfind(b"\n") + 1
        if end:
            yield rest + piece[:end], True
            rest = piece[end:]
        elif len(rest) + len(piece) > BLOCK_BYTES:
            yield (rest + piece)[:LONGEST_TEXT], False
            rest, skipping = b"", True
        else:
            rest += piece
    if rest:
        yield rest, True


class CsvReader:
    """Parses blocks one after another; what a block leaves open (a quoted field that goes on) waits for the next."""

    def __init__(self, names: list[str], wanted: Types, delimiter: str, lines_before: int):
        self.names, self.wanted, self.delimiter = names, wanted, delimiter
        self.line, self.row, self.left = lines_before + 1, 0, b""  # the line and the row that come next

    def read(self, block: bytes, done: int, last: bool = False) -> Iterator[Chunk]:
        """The rows of a block of whole lines. Where Arrow stumbles, piece by piece, and that piece line by line."""
        block, self.left = self.left + block, b""
        table = None if _is_odd(block) else self._at_once(block)
        if table is not None:
            yield self._counted(Chunk(table, np.arange(self.row, self.row + len(table)), done=done))
            self.line += block.count(b"\n")
            return
        if len(block) <= PIECE_BYTES:
            yield self._counted(self._line_by_line(block, last, done))
            return
        start = 0
        while start < len(block):
            end = block.rfind(b"\n", start, start + PIECE_BYTES) + 1 or block.find(b"\n", start) + 1 or len(block)
            yield from self.read(block[start:end], done, last and end == len(block))
            start = end

    def refuse(self, head: bytes, done: int) -> Iterator[Chunk]:
        """Reject the one line that begins so."""
        yield from self.read(b"", done, last=True)
        reject = Reject(
            self.row, self.line, f"a line of more than {BLOCK_BYTES >> 20} MB", head.decode(errors="replace")
        )
        self.line += 1
        yield self._counted(Chunk(self._none(), np.arange(0), [reject], done))

    def _counted(self, chunk: Chunk) -> Chunk:
        self.row += len(chunk.row) + len(chunk.rejects)
        return chunk

    def _none(self) -> pa.Table:
        return pa.table({name: pa.array([], kind) for name, kind in self.wanted.items()})

    def _at_once(self, block: bytes) -> pa.Table | None:
        """The rows of a block, or None where Arrow stumbles over one."""
        if not block.strip(b"\r\n"):
            return self._none()
        convert = pyarrow.csv.ConvertOptions(
            column_types=self.wanted,
            include_columns=list(self.wanted),
            null_values=MISSING,
            strings_can_be_null=True,
        )
        read = pyarrow.csv.ReadOptions(column_names=self.names)
        parse = pyarrow.csv.ParseOptions(delimiter=self.delimiter)
        try:
            return pyarrow.csv.read_csv(pa.py_buffer(block), read, parse, convert)
        except pa.ArrowInvalid:
            return None

    def _line_by_line(self, block: bytes, last: bool, done: int) -> Chunk:
        lines = block.split(b"\n")
        ends_whole = lines[-1] == b""
        if ends_whole:
            lines.pop()
        rows, numbers, texts, rejects = [], [], [], []
        row, place = self.row, 0
        while place < len(lines):
            if not lines[place].rstrip(b"\r"):
                place += 1
                continue
            taken = self._record(lines, place)
            if taken is None and not last and sum(map(len, lines[place:])) < LONGEST_RECORD:
                self.left = b"\n".join(lines[place:]) + b"\n" * ends_whole
                break
            fields, n_lines, reason = taken or ([], 1, OPEN_QUOTE)
            text = b"\n".join(lines[place : place + n_lines]).decode(errors="replace").rstrip("\r")
            if reason:
                rejects.append(Reject(row, self.line + place, reason, text[:LONGEST_TEXT]))
            else:
                rows.append(fields)
                numbers.append((row, self.line + place))
                texts.append(text[:LONGEST_TEXT])
            row, place = row + 1, place + n_lines
        self.line += place
        chunk = self._converted(rows, numbers, texts, rejects)
        chunk.done = done
        return chunk

    def _record(self, lines: list[bytes], place: int) -> tuple[list[str], int, str] | None:
        """The fields of the record that begins at a line, the lines that it takes, and what is wrong with it.

        None where its quote isn't closed by the end of the block.
        """
        line = lines[place]
        if not may_go_on(line, self.delimiter):
            fields, reason = self._parsed(line)
            return fields, 1, reason
        fields, reason = self._parsed(line, strict=True)
        if not reason:
            return fields, 1, ""
        size, quotes, end = len(line), line.count(b'"'), place + 1
        while quotes % 2 and size <= LONGEST_RECORD:
            if end == len(lines):
                return None
            size, quotes, end = size + len(lines[end]), quotes + lines[end].count(b'"'), end + 1
        fields, reason = self._parsed(b"\n".join(lines[place:end]), strict=True)
        # Where the lines together are no record, the quote was a slip: it must not swallow the lines after it.
        return ([], 1, OPEN_QUOTE) if reason else (fields, end - place, "")

    def _parsed(self, record: bytes, strict: bool = False) -> tuple[list[str], str]:
        """A record's fields and what is wrong with it. `strict`: a quoted field ends where its quote is closed."""
        text = record.removesuffix(b"\r").decode(errors="surrogateescape")
        if "\r" in text and '"' not in text:
            return [], "a carriage return stands within the line"
        try:
            fields = fields_of(text, self.delimiter, strict)
        except csv.Error as error:
            bare = "new-line character" in str(error)
            return [], "a carriage return stands within the line" if bare else str(error)
        if len(fields) != len(self.names):
            return [], f"{len(fields)} field{'s' * (len(fields) > 1)} instead of {len(self.names)}"
        for name in self.wanted if not text.isascii() else ():
            if SURROGATE.search(fields[self.names.index(name)]):
                return [], f"the column {name} holds bytes that are no UTF-8 text"
        return fields, ""

    def _converted(
        self, rows: list[list[str]], numbers: list[tuple[int, int]], texts: list[str], rejects: list[Reject]
    ) -> Chunk:
        """Rows of texts -> typed columns; a row with a text that isn't of its column's type joins the rejects."""
        faults, columns = RowErrors(len(rows)), {}
        by_name = dict(zip(self.names, zip(*rows, strict=True), strict=True)) if rows else {}
        for name, kind in self.wanted.items():
            values = pa.array(by_name.get(name, []), pa.string())
            columns[name] = converted(values, kind, name, faults)
        rejects += [Reject(*numbers[i], reason, texts[i]) for i, reason in faults.found()]
        row = np.array([row for row, _ in numbers], dtype=np.int64)
        table = pa.table(columns).filter(pa.array(faults.sound))
        return Chunk(table, row[faults.sound], sorted(rejects, key=lambda reject: reject.row))


def _is_odd(block: bytes) -> bool:
    """Whether a block has a line that isn't a record by itself: an open quote, or a bare carriage return."""
    if b"\r" in block and block.count(b"\r") != block.count(b"\r\n"):
        return True
    if b'"' not in block:
        return False
    raw = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(raw == ord("\n"))
    quotes = np.flatnonzero(raw == ord('"'))
    return bool((np.searchsorted(quotes, ends) % 2).any() or len(quotes) % 2)
