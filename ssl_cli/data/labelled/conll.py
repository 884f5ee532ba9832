"""Sentences word by word, each with its tag: columns as CoNLL has them, CoNLL-U, JSON lines."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_cli.data.io.files import plain_name
from ssl_cli.data.io.json_lines import SUFFIXES, Records, json_lines
from ssl_cli.data.io.text import LINE, ReadIssues, parted, pieces, without_surrogates
from ssl_cli.errors import InputError

Column = int | str | None  # a number, from the left or (below 0) from the right; a name; None: where it usually is
Lines = list[tuple[int, str]]  # of a sentence, by their numbers in the file
CONLLU = (".conllu", ".conllup")
FIELDS = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")  # of CoNLL-U
NEW_DOCUMENT = "-DOCSTART-"
NO_NUMBER = "doesn't begin with a word's number: CoNLL-U parts its fields by tabs"
UNTOLD = "_"  # a field of CoNLL-U that holds nothing


@dataclass(frozen=True)
class Sentence:
    """Words, and where they are known a tag each; `lines`: where each word stands in the file."""

    id: Any
    words: tuple[str, ...]
    tags: tuple[str, ...] | None
    lines: tuple[int, ...] = ()


@dataclass(frozen=True)
class TaggedSentences(Sequence[Sentence]):
    """The sentences of a file; `told`: what was left out or replaced while it was read, a sentence each."""

    source: str
    listed: Sequence[Sentence]
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.listed)

    def __getitem__(self, which: Any) -> Any:
        return self.listed[which]

    def place(self, sentence: Sentence, word: int) -> str:
        return f"{self.source}, line {sentence.lines[word]:,}"


def read_sentences(path: Path, word: Column, tag: Column, tagged: bool) -> TaggedSentences:
    """The sentences of a file, plain or compressed, of the kind that its name ends in; `tagged`: each must have tags.

    Raises InputError, with file and line, for a line that lacks a column and a record without the fields.
    """
    faults, more = ReadIssues(), list[str]()
    listed: Sequence[Sentence]
    name = plain_name(path.name)
    if name.endswith(SUFFIXES):
        listed = sentences_of(str(path), json_lines(path, faults), word, tag, tagged, faults).listed
    elif name.endswith(CONLLU):
        at = _field(word, "form"), _field(tag, "upos")
        listed = list(_conllu(path, _blocks(path, faults), at, tagged))
    else:
        at = _number(word, 0), _number(tag, -1)
        blocks = list(_blocks(path, faults))
        kept = [[line for line in block if not line[1].startswith(NEW_DOCUMENT)] for block in blocks]
        n_documents = sum(map(len, blocks)) - sum(map(len, kept))
        more = [f"{path}: {n_documents:,} {NEW_DOCUMENT} lines left out."] if n_documents else []
        listed = list(_columns(path, filter(None, kept), at, tagged))
    if not listed:
        raise InputError(f"{path} holds no sentence: there must be a word and its tag a line.")
    return TaggedSentences(str(path), listed, (*more, *faults.sentences()))


def _blocks(path: Path, faults: ReadIssues) -> Iterator[Lines]:
    """What lies between blank lines."""
    block: Lines = []
    for number, line in enumerate(parted(pieces(path, faults), LINE, faults), 1):
        if line.strip():
            block.append((number, line))
        elif block:
            yield block
            block = []
    if block:
        yield block


# --- columns ---


def _columns(path: Path, blocks: Iterable[Lines], at: tuple[int, int], tagged: bool) -> Iterator[Sentence]:
    """Columns between blanks, or between tabs where a line has one. Without `tagged` the first line tells whether
    there are tags."""
    has_tags = tagged
    for index, block in enumerate(blocks):
        rows = [cells(line) for _, line in block]
        if not index and not tagged:
            has_tags = place_of(at[1], rows[0]) not in (None, place_of(at[0], rows[0]))
        words = _column(path, block, rows, at[0], "word")
        tags = _column(path, block, rows, at[1], "tag", at[0]) if has_tags else None
        yield Sentence(index, words, tags, tuple(number for number, _ in block))


def cells(line: str) -> list[str]:
    # Not by all that Unicode calls a blank: such a sign may be the word itself.
    return line.split("\t") if "\t" in line else [cell for cell in line.split(" ") if cell]


def place_of(column: int, row: Sequence[str]) -> int | None:
    place = column if column >= 0 else len(row) + column
    return place if 0 <= place < len(row) else None


def _column(
    path: Path, block: Lines, rows: Sequence[Sequence[str]], column: int, named: str, other: int | None = None
) -> tuple[str, ...]:
    """`other`: the column that this one must not be, as both are where a line has only one."""
    places = [place_of(column, row) for row in rows]
    for (number, line), row, place in zip(block, rows, places, strict=True):
        if place is None or (other is not None and place == place_of(other, row)):
            raise InputError(
                f"{path}, line {number:,}: {line.strip()[:40]!r} has {len(row)} column(s), and none of its own for the "
                f"{named}, which is in column {column} (task.{named}; counted from 0, or from the right: -1 is the "
                "last)."
            )
    return tuple(row[place] for row, place in zip(rows, places, strict=True) if place is not None)


def _number(column: Column, usual: int) -> int:
    if isinstance(column, str):
        raise InputError(
            f"{column!r} is no column's number, and only CoNLL-U (.conllu) and JSON lines (.jsonl) have names: say "
            f"task.word=0 task.tag=-1, counted from 0, or from the right."
        )
    return usual if column is None else column


# --- CoNLL-U ---


def _conllu(path: Path, blocks: Iterable[Lines], at: tuple[int, int], tagged: bool) -> Iterator[Sentence]:
    """Words alone: no comments, no tokens of several words (1-2), no empty nodes (8.1)."""
    for index, block in enumerate(blocks):
        lines = [(number, line) for number, line in block if not line.startswith("#")]
        rows = [line.split("\t") for _, line in lines]
        if odd := next((number for (number, _), row in zip(lines, rows, strict=True) if not has_number(row)), None):
            raise InputError(f"{path}, line {odd:,} {NO_NUMBER}.")
        chosen = [k for k, row in enumerate(rows) if is_word(row)]
        if not chosen:
            continue
        lines, rows = [lines[k] for k in chosen], [rows[k] for k in chosen]
        words, tags = _column(path, lines, rows, at[0], "word"), _column(path, lines, rows, at[1], "tag")
        is_told = any(tag != UNTOLD for tag in tags)
        if tagged and not is_told:
            raise InputError(
                f"{path}, line {lines[0][0]:,}: no word of the sentence has a tag ({FIELDS[at[1]]} is {UNTOLD} "
                "throughout): name another field by task.tag, or leave the sentence out."
            )
        named = sentence_id([line for _, line in block])
        numbers = tuple(number for number, _ in lines)
        yield Sentence(index if named is None else named, words, tags if is_told else None, numbers)


def has_number(row: Sequence[str]) -> bool:
    """As CoNLL-U has it: 3 of a word, 1-2 of a token of several words, 8.1 of an empty node"""
    return re.fullmatch(r"\d+([-.]\d+)?", row[0]) is not None


def is_word(row: Sequence[str]) -> bool:
    return row[0].isdecimal()


def sentence_id(block: Iterable[str]) -> str | None:
    """Where one of a sentence's comments tells it"""
    named = (line.split("=", 1)[1].strip() for line in block if line.startswith("# sent_id") and "=" in line)
    return next(named, None)


def _field(column: Column, usual: str) -> int:
    if isinstance(column, int):
        return column
    name = (column or usual).lower()
    if name not in FIELDS:
        raise InputError(f"CoNLL-U has no field {column!r}: it has {', '.join(FIELDS)}.")
    return FIELDS.index(name)


# --- records ---


def sentences_of(
    source: str, records: Records, word: Column, tag: Column, tagged: bool, faults: ReadIssues
) -> TaggedSentences:
    """Of JSON objects: the words are a list in the field `tokens` (or `word`), the tags one in `tags` (or `tag`)."""
    listed: list[Sentence] = []
    for place, record in records:
        where = f"{source}, {place}"
        try:
            if isinstance(record, str):
                raise ValueError(record)
            words = _texts(record, word if isinstance(word, str) else "tokens", where, faults)
            name = tag if isinstance(tag, str) else "tags"
            tags = _texts(record, name, where, faults) if tagged or record.get(name) is not None else None
            if tags is not None and len(tags) != len(words):
                raise ValueError(f"there are {len(words)} words and {len(tags)} tags: each word needs one")
        except ValueError as reason:
            raise InputError(f"{where}: {reason}.") from reason
        number = int(place.rsplit(" ", 1)[1].replace(",", ""))
        known_by = record.get("id", len(listed))
        if isinstance(known_by, str):
            known_by = without_surrogates(known_by, where, faults)
        listed.append(Sentence(known_by, words, tags, (number,) * len(words)))
    return TaggedSentences(source, listed)


def _texts(record: Mapping[str, Any], name: str, place: str, faults: ReadIssues) -> tuple[str, ...]:
    if name not in record:
        raise ValueError(f"there is no field {name}, only {', '.join(map(str, record)) or 'none'}")
    values = record[name]
    if not isinstance(values, list) or not values or not all(isinstance(value, str) for value in values):
        raise ValueError(f"the field {name} must be a list of texts, one a word")
    return tuple(without_surrogates(value, place, faults) for value in values)
