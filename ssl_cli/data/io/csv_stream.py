"""Streaming of a CSV of any size as chunks of valid rows and rejected rows.

The file is read in blocks of whole lines. Arrow parses a whole block where it can. A block with anything irregular (a
row that does not fit, a field over several lines, bytes that are not UTF-8) is parsed again line by line. Both ways
give the same rows, and no line is lost: each is a row of a chunk, a rejected row, or blank.
"""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv

from ssl_cli.data.io.arrow import NULL_TEXTS, TAB_NAMES, FileLayout
from ssl_cli.data.io.chunks import Chunk, ColumnTypes, RejectedRow, RowErrors, parse_texts
from ssl_cli.data.io.csv_header import MAX_RECORD_BYTES, may_continue, read_header, split_fields
from ssl_cli.errors import InputError

BLOCK_BYTES = 16 << 20
SMALL_BLOCK_BYTES = 1 << 18  # a block with something irregular is tried again in blocks of this size
COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4"}
SURROGATE = re.compile("[\udc80-\udcff]")  # what Python's surrogateescape makes of a byte that is not UTF-8
OPEN_QUOTE = "a quote is opened and not closed"
CARRIAGE_RETURN = "the line contains a carriage return"
MAX_REJECT_CHARS = 10_000  # characters of a rejected line that are kept
csv.field_size_limit(2 * BLOCK_BYTES)  # as long as Arrow allows a field to be


def read_csv_chunks(path: Path, wanted: ColumnTypes, layout: FileLayout) -> Iterator[Chunk]:
    """Yield the chunks of a CSV, plain or compressed, with the wanted columns.

    Raises InputError if the file is empty, is not a CSV or lacks a column.
    """
    delimiter = "\t" if layout.delimiter in TAB_NAMES else layout.delimiter
    with path.open("rb") as file:
        blocks = _read_blocks(file, path)
        first, is_whole = next(blocks, (b"", True))
        if not first.strip(b"\r\n"):
            raise InputError(f"{path} is empty.")
        if not is_whole:
            raise InputError(f"{path} has no line end in its first {BLOCK_BYTES >> 20} MB: it is not a CSV.")
        names, body, n_lines = read_header(path, first, wanted, layout, delimiter)
        reader = CsvReader(names, wanted, delimiter, n_lines)
        yield from reader.read(body, file.tell())
        for block, is_whole in blocks:
            yield from (reader.read if is_whole else reader.reject_line)(block, file.tell())
        yield from reader.read(b"", path.stat().st_size, last=True)


def _read_blocks(file: BinaryIO, path: Path) -> Iterator[tuple[bytes, bool]]:
    """Yield blocks of whole lines, with True; or the beginning of a line longer than a block, with False.

    The rest of such a line is skipped, so that memory stays bounded.
    """
    compression = COMPRESSIONS.get(path.suffix.lower())
    stream: Any = pa.CompressedInputStream(pa.PythonFile(file, "r"), compression) if compression else file
    rest, skipping = b"", False
    while block := stream.read(BLOCK_BYTES):
        if skipping:
            end = block.find(b"\n") + 1
            if not end:
                continue
            block, skipping = block[end:], False
        end = block.rfind(b"\n") + 1
        if end:
            yield rest + block[:end], True
            rest = block[end:]
        elif len(rest) + len(block) > BLOCK_BYTES:
            yield (rest + block)[:MAX_REJECT_CHARS], False
            rest, skipping = b"", True
        else:
            rest += block
    if rest:
        yield rest, True


class CsvReader:
    """Parser of consecutive blocks of a CSV. A quoted field that a block leaves open waits for the next block."""

    def __init__(self, names: list[str], wanted: ColumnTypes, delimiter: str, lines_before: int):
        self.names, self.wanted, self.delimiter = names, wanted, delimiter
        self.line, self.row, self.pending = lines_before + 1, 0, b""  # the line and row that come next

    def read(self, block: bytes, bytes_read: int, last: bool = False) -> Iterator[Chunk]:
        """Yield the rows of a block of whole lines.

        If Arrow cannot parse it, it is parsed again in small blocks, and those that still fail line by line.
        """
        block, self.pending = self.pending + block, b""
        table = None if _has_irregular_lines(block) else self._parse_with_arrow(block)
        if table is not None:
            yield self._count_rows(Chunk(table, np.arange(self.row, self.row + len(table)), bytes_read=bytes_read))
            self.line += block.count(b"\n")
            return
        if len(block) <= SMALL_BLOCK_BYTES:
            yield self._count_rows(self._parse_by_line(block, last, bytes_read))
            return
        start = 0
        while start < len(block):
            end = block.rfind(b"\n", start, start + SMALL_BLOCK_BYTES) + 1 or block.find(b"\n", start) + 1 or len(block)
            yield from self.read(block[start:end], bytes_read, last and end == len(block))
            start = end

    def reject_line(self, beginning: bytes, bytes_read: int) -> Iterator[Chunk]:
        """Yield a chunk that rejects one line longer than a block, given its beginning."""
        yield from self.read(b"", bytes_read, last=True)
        reason = f"a line of more than {BLOCK_BYTES >> 20} MB"
        reject = RejectedRow(self.row, self.line, reason, beginning.decode(errors="replace"))
        self.line += 1
        yield self._count_rows(Chunk(self._empty_table(), np.arange(0), [reject], bytes_read))

    def _count_rows(self, chunk: Chunk) -> Chunk:
        self.row += len(chunk.row) + len(chunk.rejects)
        return chunk

    def _empty_table(self) -> pa.Table:
        return pa.table({name: pa.array([], dtype) for name, dtype in self.wanted.items()})

    def _parse_with_arrow(self, block: bytes) -> pa.Table | None:
        """Return the rows of a block, or None if Arrow cannot parse one of them."""
        if not block.strip(b"\r\n"):
            return self._empty_table()
        convert = pyarrow.csv.ConvertOptions(
            column_types=self.wanted,
            include_columns=list(self.wanted),
            null_values=NULL_TEXTS,
            strings_can_be_null=True,
        )
        read = pyarrow.csv.ReadOptions(column_names=self.names)
        parse = pyarrow.csv.ParseOptions(delimiter=self.delimiter)
        try:
            return pyarrow.csv.read_csv(pa.py_buffer(block), read, parse, convert)
        except pa.ArrowInvalid:
            return None

    def _parse_by_line(self, block: bytes, last: bool, bytes_read: int) -> Chunk:
        """Parse the records of a block one by one; an open record at its end becomes `pending`, unless it is `last`."""
        lines = block.split(b"\n")
        ends_whole = lines[-1] == b""
        if ends_whole:
            lines.pop()
        records, places, texts, rejects = [], [], [], []
        row, index = self.row, 0
        while index < len(lines):
            if not lines[index].rstrip(b"\r"):
                index += 1
                continue
            parsed = self._parse_record(lines, index)
            if parsed is None and not last and sum(map(len, lines[index:])) < MAX_RECORD_BYTES:
                self.pending = b"\n".join(lines[index:]) + b"\n" * ends_whole
                break
            fields, n_lines, reason = parsed or ([], 1, OPEN_QUOTE)
            text = b"\n".join(lines[index : index + n_lines]).decode(errors="replace").rstrip("\r")
            if reason:
                rejects.append(RejectedRow(row, self.line + index, reason, text[:MAX_REJECT_CHARS]))
            else:
                records.append(fields)
                places.append((row, self.line + index))
                texts.append(text[:MAX_REJECT_CHARS])
            row, index = row + 1, index + n_lines
        self.line += index
        chunk = self._make_chunk(records, places, texts, rejects)
        chunk.bytes_read = bytes_read
        return chunk

    def _parse_record(self, lines: list[bytes], index: int) -> tuple[list[str], int, str] | None:
        """Return the fields of the record that begins at a line, its number of lines, and what is wrong with it.

        Returns None if its quote is not closed by the end of the block.
        """
        line = lines[index]
        if not may_continue(line, self.delimiter):
            fields, reason = self._parse_fields(line)
            return fields, 1, reason
        fields, reason = self._parse_fields(line, strict=True)
        if not reason:
            return fields, 1, ""
        size, quotes, end = len(line), line.count(b'"'), index + 1
        while quotes % 2 and size <= MAX_RECORD_BYTES:
            if end == len(lines):
                return None
            size, quotes, end = size + len(lines[end]), quotes + lines[end].count(b'"'), end + 1
        fields, reason = self._parse_fields(b"\n".join(lines[index:end]), strict=True)
        # If the lines together are not a record, the quote was a typo: it must not swallow the lines after it.
        return ([], 1, OPEN_QUOTE) if reason else (fields, end - index, "")

    def _parse_fields(self, record: bytes, strict: bool = False) -> tuple[list[str], str]:
        """Return a record's fields, and what is wrong with it. `strict`: a quoted field ends where its quote closes."""
        text = record.removesuffix(b"\r").decode(errors="surrogateescape")
        if "\r" in text and '"' not in text:
            return [], CARRIAGE_RETURN
        try:
            fields = split_fields(text, self.delimiter, strict)
        except csv.Error as error:
            return [], CARRIAGE_RETURN if "new-line character" in str(error) else str(error)
        if len(fields) != len(self.names):
            return [], f"{len(fields)} field{'s' * (len(fields) > 1)} instead of {len(self.names)}"
        for name in self.wanted if not text.isascii() else ():
            if SURROGATE.search(fields[self.names.index(name)]):
                return [], f"the column {name} contains bytes that are not valid UTF-8"
        return fields, ""

    def _make_chunk(
        self, records: list[list[str]], places: list[tuple[int, int]], texts: list[str], rejects: list[RejectedRow]
    ) -> Chunk:
        """Convert records of texts to typed columns; a record with a text that does not fit its column is rejected.

        `places` are the records' rows and lines, `texts` their lines in the file.
        """
        errors, columns = RowErrors(len(records)), {}
        by_name = dict(zip(self.names, zip(*records, strict=True), strict=True)) if records else {}
        for name, dtype in self.wanted.items():
            values = pa.array(by_name.get(name, []), pa.string())
            columns[name] = parse_texts(values, dtype, name, errors)
        rejects += [RejectedRow(*places[i], reason, texts[i]) for i, reason in errors.sorted_reasons()]
        row = np.array([row for row, _ in places], dtype=np.int64)
        table = pa.table(columns).filter(pa.array(errors.valid))
        return Chunk(table, row[errors.valid], sorted(rejects, key=lambda reject: reject.row))


def _has_irregular_lines(block: bytes) -> bool:
    """Return whether a line of a block is not a record by itself: it has an open quote or a bare carriage return."""
    if b"\r" in block and block.count(b"\r") != block.count(b"\r\n"):
        return True
    if b'"' not in block:
        return False
    raw = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(raw == ord("\n"))
    quotes = np.flatnonzero(raw == ord('"'))
    return bool((np.searchsorted(quotes, ends) % 2).any() or len(quotes) % 2)
