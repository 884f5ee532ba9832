"""Streaming of a CSV of any size as chunks of valid rows and rejected rows.

The file is read in blocks of whole lines. Arrow parses a whole block where it can. A block with anything irregular (a
row that does not fit, a field over several lines, bytes that are not UTF-8) is parsed by the reader of records. Both
ways give the same rows, and no line is lost: each is a row of a chunk, a rejected row, or blank.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from ssl_cli.data.io.arrow import NULL_TEXTS, FileLayout
from ssl_cli.data.io.chunks import (
    Chunk,
    ColumnTypes,
    RejectedRow,
    RowErrors,
    parse_texts,
    parsed_type,
    text_type,
)
from ssl_cli.data.io.csv_header import end_of_line, read_header
from ssl_cli.data.io.csv_source import declared_delimiter_of
from ssl_cli.data.io.delimited import Row, delimiter_character, row_fault, split_rows
from ssl_cli.data.io.lines import read_line_blocks, replace_bytes
from ssl_cli.data.io.notation import Notation
from ssl_cli.errors import InputError

BLOCK_BYTES = 16 << 20
SMALL_BLOCK_BYTES = 1 << 18  # a block with something irregular is tried again in blocks of this size
MAX_REJECT_CHARS = 10_000  # characters of a rejected row that are kept


def read_csv_chunks(
    path: Path, wanted: ColumnTypes, layout: FileLayout, keep: Sequence[str] = ()
) -> Iterator[Chunk]:
    """Yield the chunks of a CSV, plain or compressed, with the wanted columns, and those to keep as they are written.

    Raises InputError if the file is empty, is not a CSV or lacks a column.
    """
    declared = declared_delimiter_of(path)
    delimiter = declared or delimiter_character(layout.delimiter)
    blocks = read_line_blocks(path, BLOCK_BYTES)
    first = next(blocks, None)
    if first is None or not first.content.strip(b"\r\n"):
        raise InputError(f"{path} is empty.")
    if first.fault:
        raise InputError(f"{path} begins with {first.fault}: it is not a CSV.")
    before = 0 if declared is None else _end_of_declaration(first.content)
    columns, n_lines = list(dict.fromkeys([*keep, *wanted])), first.content.count(b"\n", 0, before)
    names, start = read_header(path, first.content[before:], columns, layout, delimiter, n_lines)
    start += before
    reader = CsvReader(names, wanted, keep, delimiter, first.content.count(b"\n", 0, start))
    yield from reader.read(first.content[start:], first.bytes_read)
    for block in blocks:
        if block.fault:
            yield from reader.reject_line(block.content, block.fault, block.bytes_read)
        else:
            yield from reader.read(block.content, block.bytes_read)
    yield from reader.read(b"", path.stat().st_size, last=True)


class CsvReader:
    """Parser of consecutive blocks of a CSV. A quoted field that a block leaves open waits for the next block."""

    def __init__(
        self, names: list[str], wanted: ColumnTypes, keep: Sequence[str], delimiter: str, lines_before: int
    ):
        self.names, self.wanted, self.keep, self.delimiter = names, wanted, keep, delimiter
        self.indices = [names.index(name) for name in dict.fromkeys([*keep, *wanted])]
        # The types as which Arrow parses the columns.
        self.parsed = {name: text_type(dtype) for name, dtype in wanted.items()} | dict.fromkeys(keep, pa.string())
        self.line, self.row, self.pending = lines_before + 1, 0, b""  # the line and row that come next

    def read(self, block: bytes, bytes_read: int, last: bool = False) -> Iterator[Chunk]:
        """Yield the rows of a block of whole lines.

        If Arrow cannot parse it, it is parsed again in small blocks, and those that still fail row by row.
        """
        n_open = len(self.pending)
        block, self.pending = self.pending + block, b""
        if (chunk := self._parse_with_arrow(block)) is not None:
            yield self._advance(chunk, block, bytes_read)
            return
        start, size = 0, max(SMALL_BLOCK_BYTES, 2 * n_open)
        while start < len(block):
            end = end_of_line(block, start + size)
            piece = block[start:end]
            chunk = self._parse_with_arrow(piece) if size == SMALL_BLOCK_BYTES else None
            if chunk is None:
                chunk, n_bytes = self._parse_rows(piece, last and end == len(block))
                if not n_bytes and end == len(block):
                    self.pending = piece
                    return
                if not n_bytes:  # the first row does not end before the next quote
                    quote = block.find(b'"', end)
                    size = max(2 * size, (len(block) if quote < 0 else quote) - start)
                    continue
                piece = piece[:n_bytes]
            yield self._advance(chunk, piece, bytes_read)
            start, size = start + len(piece), SMALL_BLOCK_BYTES

    def reject_line(self, beginning: bytes, fault: str, bytes_read: int) -> Iterator[Chunk]:
        """Yield a chunk that rejects one line that is too long, given its beginning."""
        yield from self.read(b"", bytes_read, last=True)
        reject = RejectedRow(self.row, self.line, fault, beginning.decode(errors="replace"))
        chunk = self._empty_chunk()
        chunk.rejects = [reject]
        yield self._advance(chunk, b"\n", bytes_read)

    def _advance(self, chunk: Chunk, block: bytes, bytes_read: int) -> Chunk:
        """Count the rows of a chunk and the lines of the block that it is from."""
        chunk.bytes_read = bytes_read
        self.row += len(chunk.row) + len(chunk.rejects)
        self.line += block.count(b"\n")
        return chunk

    def _empty_chunk(self) -> Chunk:
        columns = {name: pa.array([], parsed_type(dtype)) for name, dtype in self.wanted.items()}
        return Chunk(pa.table(columns), {name: pa.array([], pa.string()) for name in self.keep}, np.arange(0))

    def _parse_with_arrow(self, block: bytes) -> Chunk | None:
        """Return the rows of a block, or None if Arrow cannot parse one of them.

        What is kept is parsed as text, and then converted if it is wanted too.
        """
        if not block.strip(b"\r\n"):
            return self._empty_chunk()
        if _has_irregular_lines(block):
            return None
        convert = pyarrow.csv.ConvertOptions(
            column_types=self.parsed,
            include_columns=list(self.parsed),
            null_values=NULL_TEXTS,
            strings_can_be_null=not self.keep,
        )
        read = pyarrow.csv.ReadOptions(column_names=self.names)
        parse = pyarrow.csv.ParseOptions(delimiter=self.delimiter)
        try:
            table = pyarrow.csv.read_csv(pa.py_buffer(block), read, parse, convert)
            return self._split_columns(table)
        except pa.ArrowInvalid:
            return None

    def _split_columns(self, table: pa.Table) -> Chunk | None:
        """Return a chunk of the columns of a block; None if a text does not fit the type or notation wanted of it."""
        errors, columns = RowErrors(len(table)), {}
        for name, dtype in self.wanted.items():
            is_text = isinstance(dtype, Notation) or (self.keep and self.parsed[name] == pa.string())
            columns[name] = parse_texts(table[name].combine_chunks(), dtype, name, errors) if is_text else table[name]
        kept = {name: _filled(table[name]) for name in self.keep}
        row = np.arange(self.row, self.row + len(table))
        return Chunk(pa.table(columns), kept, row) if errors.valid.all() else None

    def _parse_rows(self, block: bytes, last: bool) -> tuple[Chunk, int]:
        """Return the rows of a block, and the number of its bytes up to a row that is open at its end.

        If it is the `last` block, the open quote was a typo. Of a large block, which holds one that was searched for
        far ahead, only the first rows are read.
        """
        text = block.decode(errors="surrogateescape")
        max_lines = block.count(b"\n", 0, SMALL_BLOCK_BYTES) + 1
        rest = ""

        def rows() -> Iterator[Row]:
            nonlocal rest
            rest = yield from split_rows(text, self.delimiter, is_last=last, number=self.line, max_lines=max_lines)

        # No row itself is kept: Python's collector would visit each.
        records, places, texts, rejects = list[list[str]](), list[int](), list[str](), list[RejectedRow]()
        for number, row in enumerate(rows(), self.row):
            line, fields, _, row_text = row
            if fault := row_fault(row, self.names, self.indices):
                rejects.append(_reject(number, line, fault, row_text))
            else:
                records.append(fields)
                places += number, line
                texts.append(row_text)
        n_bytes = len(block) - len(rest.encode(errors="surrogateescape"))
        if not n_bytes:
            return self._empty_chunk(), 0
        return self._make_chunk(records, np.array(places, np.int64).reshape(-1, 2), texts, rejects), n_bytes

    def _make_chunk(
        self, records: list[list[str]], places: np.ndarray, texts: list[str], rejects: list[RejectedRow]
    ) -> Chunk:
        """Convert records of texts to typed columns; a record with a text that does not fit its column is rejected.

        `places` (N, 2) are the records' rows and lines, `texts` their lines in the file.
        """
        errors = RowErrors(len(records))
        by_name = dict(zip(self.names, zip(*records, strict=True), strict=True)) if records else {}
        texts_of = {name: pa.array(by_name.get(name, []), pa.string()) for name in self.parsed}
        columns = {name: parse_texts(texts_of[name], dtype, name, errors) for name, dtype in self.wanted.items()}
        for i, reason in errors.sorted_reasons():
            rejects.append(_reject(int(places[i, 0]), int(places[i, 1]), reason, texts[i]))
        valid = pa.array(errors.valid)
        kept = {name: _filled(texts_of[name]).filter(valid) for name in self.keep}
        rejects = sorted(rejects, key=lambda reject: reject.row)
        return Chunk(pa.table(columns).filter(valid), kept, places[errors.valid, 0], rejects)


def _end_of_declaration(block: bytes) -> int:
    """Return where the line `sep=;` ends, which may come after empty lines."""
    return end_of_line(block, len(block) - len(block.lstrip(b"\r\n")))


def _filled(texts: Any) -> Any:
    """Return texts with null for the empty ones, which a CSV then has as empty cells and not as `""`."""
    return pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)


def _reject(row: int, line: int, reason: str, text: str) -> RejectedRow:
    return RejectedRow(row, line, reason, replace_bytes(text[:MAX_REJECT_CHARS]))


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
