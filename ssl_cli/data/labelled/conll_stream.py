"""Sentences in CoNLL's columns or CoNLL-U, in a file of any size, one by one: words that are to be tagged."""

import re
from collections.abc import Iterator, Sequence, Set
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from ssl_cli.data.io.delimited import Lines
from ssl_cli.data.io.files import plain_name
from ssl_cli.data.io.records import SUFFIXES, TEXT, Record, lines
from ssl_cli.data.labelled.conll import (
    CONLLU,
    FIELDS,
    NEW_DOCUMENT,
    NO_NUMBER,
    Column,
    cells,
    has_number,
    is_word,
    place_of,
    sentence_id,
)

CONLL = ".conll"
MOST_WORDS = 1 << 14  # of a sentence: a file without blank lines is none
LONGEST = 10_000  # characters of a line: memory stays bounded, whatever is taken for columns
ENTITY_TAG = re.compile(r"[BIESLUM]-(\S+)")
LOOKED_AT = 20  # sentences, for one of several words
Block = list[tuple[int, str, str]]  # lines as record_stream has them: number, text, and what is wrong


def has_columns(path: Path, tag: Column, known: Set[str]) -> bool:
    """Whether each line of a file is a word: by its name; or where that doesn't say (a .txt, a .tsv, CoNLL-2003's
    eng.testb) by its first sentence of several words, all of as many columns, with a tag that is `known`."""
    suffix = Path(plain_name(path.name)).suffix
    if suffix in (CONLL, *CONLLU):
        return True
    if suffix in SUFFIXES and suffix not in (TEXT, ".tsv"):
        return False
    begin = ([line for line in block if not line[1].startswith(NEW_DOCUMENT)] for block in _blocks(path))
    first = next((block for block in islice(begin, LOOKED_AT) if len(block) > 1), [])
    rows = [cells(text) for _, text, _ in first]
    if any(fault for _, _, fault in first) or len({len(row) for row in rows}) != 1 or len(rows[0]) < 2:
        return False
    kinds = {label[2:] for label in known if ENTITY_TAG.fullmatch(label)}
    tags = [_cell(row, tag if isinstance(tag, int) else -1) or "" for row in rows]
    return all(one in known or ((found := ENTITY_TAG.fullmatch(one)) and found[1] in kinds) for one in tags)


def sentences(path: Path, word: Column) -> Iterator[Record]:
    """Records of `tokens`, and of CoNLL-U their `id`. A name of `word` is a field of CoNLL-U; a number is a column of
    both, but for 0, where CoNLL-U has the words' numbers."""
    is_conllu = plain_name(path.name).endswith(CONLLU)
    at = _column(word, is_conllu)
    found = ((block[0][0], _record(block, at, is_conllu), block) for block in _blocks(path))
    filled = (one for one in found if one[1] is not None)
    for row, (number, record, block) in enumerate(filled):
        yield Record(row, number, record or "", "\n".join(text for _, text, _ in block))


def _blocks(path: Path) -> Iterator[Block]:
    """What lies between blank lines; of what is too long its beginning."""
    for is_blank, block in groupby(_short(path), key=lambda line: not line[1].strip()):
        if not is_blank:
            yield list(islice(block, MOST_WORDS + 1))


def _short(path: Path) -> Lines:
    for number, text, fault in lines(path):
        is_long = len(text) > LONGEST
        yield number, text[:LONGEST], fault or (f"a line has more than {LONGEST:,} characters" if is_long else "")


def _column(word: Column, is_conllu: bool) -> int:
    if not is_conllu:
        return word if isinstance(word, int) else 0
    name = word.lower() if isinstance(word, str) else ""
    return FIELDS.index(name if name in FIELDS else "form") if isinstance(word, str) or not word else word


def _record(block: Block, at: int, is_conllu: bool) -> dict[str, Any] | str | None:
    """None where there is no word, but only comments or the sign of a new document"""
    if len(block) > MOST_WORDS:
        return f"it has more than {MOST_WORDS:,} lines: blank lines part sentences"
    if fault := next(((number, fault) for number, _, fault in block if fault), None):
        return "{1}, in line {0:,}".format(*fault)
    rows = [(number, cells(text)) for number, text, _ in block if not text.startswith(NEW_DOCUMENT)]
    if is_conllu:
        rows = [(number, text.split("\t")) for number, text, _ in block if not text.startswith("#")]
        if odd := next((number for number, row in rows if not has_number(row)), None):
            return f"line {odd:,} {NO_NUMBER}"
        rows = [(number, row) for number, row in rows if is_word(row)]
    words = [(number, _cell(row, at)) for number, row in rows]
    if lacking := [number for number, word in words if word is None]:
        return f"it has no column {at} in line {lacking[0]:,}, where its word should be (task.word)"
    if not words:
        return None
    named = sentence_id([text for _, text, _ in block]) if is_conllu else None
    return {"tokens": [word for _, word in words]} | ({} if named is None else {"id": named})


def _cell(row: Sequence[str], column: int) -> str | None:
    place = place_of(column, row)
    return None if place is None else row[place]
