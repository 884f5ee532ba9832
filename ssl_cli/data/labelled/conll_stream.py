"""Streaming of untagged sentences from a file of any size in CoNLL columns or CoNLL-U, for prediction."""

import re
from collections.abc import Iterator, Sequence, Set
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from ssl_cli.data.io.files import uncompressed_name
from ssl_cli.data.io.lines import NumberedLines, decode_lines
from ssl_cli.data.io.records import SUFFIXES, TEXT, Record
from ssl_cli.data.labelled.conll import (
    CONLLU,
    FIELDS,
    NEW_DOCUMENT,
    Column,
    column_index,
    sentence_id,
    split_cells,
    word_rows,
)

CONLL = ".conll"
MAX_SENTENCE_LINES = 1 << 14  # a block of more lines is not a sentence: the file lacks blank lines
MAX_LINE_CHARS = 10_000  # keeps memory bounded, whatever file is taken for columns
ENTITY_TAG = re.compile(r"[BIESLUM]-(\S+)")
SNIFFED_SENTENCES = 20  # searched for one of several words
Block = list[tuple[int, str, str]]  # numbered lines: number, text, and what is wrong with it


def has_columns(path: Path, tag: Column, known: Set[str]) -> bool:
    """Return whether each line of a file is a word, and blank lines separate sentences.

    The suffix decides if it can. Otherwise (a .txt, a .tsv, CoNLL-2003's eng.testb) the first sentence of several words
    must have the same number of columns in all lines, with a `known` tag in each.
    """
    suffix = Path(uncompressed_name(path.name)).suffix
    if suffix in (CONLL, *CONLLU):
        return True
    if suffix in SUFFIXES and suffix not in (TEXT, ".tsv"):
        return False
    blocks = ([line for line in block if not line[1].startswith(NEW_DOCUMENT)] for block in _read_blocks(path))
    first = next((block for block in islice(blocks, SNIFFED_SENTENCES) if len(block) > 1), [])
    rows = [split_cells(text) for _, text, _ in first]
    if any(error for _, _, error in first) or len({len(row) for row in rows}) != 1 or len(rows[0]) < 2:
        return False
    entity_types = {label[2:] for label in known if ENTITY_TAG.fullmatch(label)}
    tags = [_cell(row, tag if isinstance(tag, int) else -1) or "" for row in rows]
    return all(
        label in known or ((match := ENTITY_TAG.fullmatch(label)) and match[1] in entity_types) for label in tags
    )


def stream_sentences(path: Path, word: Column) -> Iterator[Record]:
    """Yield one record per sentence, with its `tokens`, and for CoNLL-U its `id`.

    A name in `word` is a field of CoNLL-U. A number is a column of either format, but 0 means the words in CoNLL-U,
    whose column 0 holds the words' numbers.
    """
    is_conllu = uncompressed_name(path.name).endswith(CONLLU)
    column = _word_column(word, is_conllu)
    parsed = ((block, _parse_block(block, column, is_conllu)) for block in _read_blocks(path))
    filled = ((block, record) for block, record in parsed if record is not None)
    for row, (block, record) in enumerate(filled):
        yield Record(row, block[0][0], record, "\n".join(text for _, text, _ in block))


def _read_blocks(path: Path) -> Iterator[Block]:
    """Yield the blocks of lines between blank lines; only the beginning of a block that is too long."""
    for is_blank, block in groupby(_read_cut_lines(path), key=lambda line: not line[1].strip()):
        if not is_blank:
            yield list(islice(block, MAX_SENTENCE_LINES + 1))


def _read_cut_lines(path: Path) -> NumberedLines:
    for number, text, error in decode_lines(path):
        is_long = len(text) > MAX_LINE_CHARS
        reason = f"a line has more than {MAX_LINE_CHARS:,} characters" if is_long else ""
        yield number, text[:MAX_LINE_CHARS], error or reason


def _word_column(word: Column, is_conllu: bool) -> int:
    if not is_conllu:
        return word if isinstance(word, int) else 0
    name = word.lower() if isinstance(word, str) else ""
    return FIELDS.index(name if name in FIELDS else "form") if isinstance(word, str) or not word else word


def _parse_block(block: Block, column: int, is_conllu: bool) -> dict[str, Any] | str | None:
    """Return a sentence's record, or the reason why it has none; None if there is no word but only comments."""
    if len(block) > MAX_SENTENCE_LINES:
        return f"it has more than {MAX_SENTENCE_LINES:,} lines: blank lines must separate sentences"
    if (faulty := next(((number, error) for number, _, error in block if error), None)) is not None:
        return "{1}, in line {0:,}".format(*faulty)
    try:
        rows = word_rows([(number, text) for number, text, _ in block], is_conllu)
    except ValueError as reason:
        return str(reason)
    words = [(number, _cell(row, column)) for number, row in rows]
    if lacking := [number for number, word in words if word is None]:
        return f"it has no column {column} in line {lacking[0]:,}, where its word should be (task.word)"
    if not words:
        return None
    sent_id = sentence_id([text for _, text, _ in block]) if is_conllu else None
    return {"tokens": [word for _, word in words]} | ({} if sent_id is None else {"id": sent_id})


def _cell(row: Sequence[str], column: int) -> str | None:
    index = column_index(column, row)
    return None if index is None else row[index]
