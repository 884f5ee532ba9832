"""Sentences of tagged words, from columns of CoNLL, CoNLL-U, or JSON lines."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_cli.data.io.files import uncompressed_name
from ssl_cli.data.io.lines import decode_lines
from ssl_cli.data.io.records import JSON, Records, read_records
from ssl_cli.data.io.text import ReadIssues, replace_surrogates
from ssl_cli.errors import InputError

Column = int | str | None  # a number, from the left or (below 0) from the right; a name; None: the usual column
Lines = list[tuple[int, str]]  # of a sentence, with their numbers in the file
CONLLU = (".conllu", ".conllup")
FIELDS = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")  # of CoNLL-U
NEW_DOCUMENT = "-DOCSTART-"
NO_TOKEN_ID = "doesn't begin with a word's number: CoNLL-U separates its fields by tabs"
EMPTY_FIELD = "_"  # of CoNLL-U


@dataclass(frozen=True)
class Sentence:
    """The words of a sentence, with one tag each if the tags are known. `lines`: the line of each word in the file."""

    id: Any
    words: tuple[str, ...]
    tags: tuple[str, ...] | None
    lines: tuple[int, ...] = ()


@dataclass(frozen=True)
class TaggedSentences(Sequence[Sentence]):
    """The sentences of a file. `warnings`: one message for each kind of thing left out or replaced while reading."""

    source: str
    sentences: Sequence[Sentence]
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.sentences)

    def __getitem__(self, which: Any) -> Any:
        return self.sentences[which]

    def place(self, sentence: Sentence, word: int) -> str:
        """Return the file and line of a word, for messages."""
        return f"{self.source}, line {sentence.lines[word]:,}"


def read_sentences(path: Path, word: Column, tag: Column, tagged: bool) -> TaggedSentences:
    """Return the sentences of a file, plain or compressed, whose format follows from its suffix.

    `word` and `tag` name the columns or fields. `tagged`: each sentence must have tags. Raises InputError, with file
    and line, if a line lacks a column or a record lacks a field.
    """
    issues, warnings = ReadIssues(), list[str]()
    sentences: Sequence[Sentence]
    name = uncompressed_name(path.name)
    if name.endswith(JSON):
        records = ((record.place, record.record) for record in read_records(path, issues=issues, suffix=".jsonl"))
        sentences = sentences_from_records(str(path), records, word, tag, tagged, issues).sentences
    elif name.endswith(CONLLU):
        columns = _field_number(word, "form"), _field_number(tag, "upos")
        sentences = list(_read_conllu(path, _read_blocks(path, issues), columns, tagged))
    else:
        columns = _column_number(word, 0), _column_number(tag, -1)
        blocks = list(_read_blocks(path, issues))
        kept = [[line for line in block if not line[1].startswith(NEW_DOCUMENT)] for block in blocks]
        n_documents = sum(map(len, blocks)) - sum(map(len, kept))
        warnings = [f"{path}: {n_documents:,} {NEW_DOCUMENT} lines left out."] if n_documents else []
        sentences = list(_read_columns(path, filter(None, kept), columns, tagged))
    if not sentences:
        raise InputError(f"{path} has no sentence: each line must be a word and its tag.")
    return TaggedSentences(str(path), sentences, (*warnings, *issues.messages()))


def _read_blocks(path: Path, issues: ReadIssues) -> Iterator[Lines]:
    """Yield the blocks of lines between blank lines."""
    block: Lines = []
    for number, line, error in decode_lines(path, issues):
        if error:
            raise InputError(f"{path}, line {number:,}: {error}.")
        if line.strip():
            block.append((number, line))
        elif block:
            yield block
            block = []
    if block:
        yield block


# --- columns ---


def _read_columns(path: Path, blocks: Iterable[Lines], columns: tuple[int, int], tagged: bool) -> Iterator[Sentence]:
    """Yield sentences from columns separated by tabs, or by spaces in a line without tabs.

    Unless they must be `tagged`, the first line decides whether there are tags.
    """
    has_tags = tagged
    for index, block in enumerate(blocks):
        rows = [row for _, row in word_rows(block, is_conllu=False)]
        if not index and not tagged:
            has_tags = column_index(columns[1], rows[0]) not in (None, column_index(columns[0], rows[0]))
        words = _take_column(path, block, rows, columns[0], "word")
        tags = _take_column(path, block, rows, columns[1], "tag", columns[0]) if has_tags else None
        yield Sentence(index, words, tags, tuple(number for number, _ in block))


def word_rows(lines: Iterable[tuple[int, str]], is_conllu: bool) -> list[tuple[int, list[str]]]:
    """Return the cells of each word of a sentence, with the number of its line.

    Lines of -DOCSTART- are no words; in CoNLL-U neither are comments, multiword tokens (1-2) and empty nodes (8.1).
    Raises ValueError, with the line, if one of CoNLL-U does not begin with a number.
    """
    if not is_conllu:
        return [(number, split_cells(line)) for number, line in lines if not line.startswith(NEW_DOCUMENT)]
    rows = [(number, _strip_cells(line.split("\t"))) for number, line in lines if not line.startswith("#")]
    if (bad_line := next((number for number, row in rows if not has_token_id(row)), None)) is not None:
        raise ValueError(f"line {bad_line:,} {NO_TOKEN_ID}")
    return [(number, row) for number, row in rows if row[0].isdecimal()]


def split_cells(line: str) -> list[str]:
    """Return the cells of a line, separated by tabs, or by spaces if it has no tab, without spaces around them."""
    # Not by str.split and str.strip: what Unicode counts as white space may be the word itself.
    line = line.rstrip(" \t")
    return _strip_cells(line.split("\t")) if "\t" in line else [cell for cell in line.split(" ") if cell]


def _strip_cells(cells: Iterable[str]) -> list[str]:
    return [cell.strip(" ") for cell in cells]


def column_index(column: int, row: Sequence[str]) -> int | None:
    """Return the index of a column that is counted from the left, or (below 0) from the right; None if it is absent."""
    index = column if column >= 0 else len(row) + column
    return index if 0 <= index < len(row) else None


def _take_column(
    path: Path, block: Lines, rows: Sequence[Sequence[str]], column: int, role: str, other: int | None = None
) -> tuple[str, ...]:
    """Return one cell of each row. `other`: the column that this one must differ from, as in rows of one cell."""
    indices = [column_index(column, row) for row in rows]
    for (number, line), row, index in zip(block, rows, indices, strict=True):
        if index is None or (other is not None and index == column_index(other, row)):
            raise InputError(
                f"{path}, line {number:,}: {line.strip()[:40]!r} has {len(row)} column(s) and no separate one for the "
                f"{role}, which is in column {column} (task.{role}; counted from 0, or from the right: -1 is the last)."
            )
    return tuple(row[index] for row, index in zip(rows, indices, strict=True) if index is not None)


def _column_number(column: Column, default: int) -> int:
    if isinstance(column, str):
        raise InputError(
            f"{column!r} is not a column number, and only CoNLL-U (.conllu) and JSON lines (.jsonl) have names: set "
            "task.word=0 task.tag=-1, counted from 0, or from the right."
        )
    return default if column is None else column


# --- CoNLL-U ---


def _read_conllu(path: Path, blocks: Iterable[Lines], columns: tuple[int, int], tagged: bool) -> Iterator[Sentence]:
    """Yield sentences of words only: without comments, multiword tokens (1-2) and empty nodes (8.1)."""
    for index, block in enumerate(blocks):
        try:
            numbered = dict(word_rows(block, is_conllu=True))
        except ValueError as reason:
            raise InputError(f"{path}, {reason}.") from reason
        if not numbered:
            continue
        rows, lines = list(numbered.values()), [line for line in block if line[0] in numbered]
        words = _take_column(path, lines, rows, columns[0], "word")
        tags = _take_column(path, lines, rows, columns[1], "tag")
        has_tags = any(tag != EMPTY_FIELD for tag in tags)
        if tagged and not has_tags:
            raise InputError(
                f"{path}, line {lines[0][0]:,}: no word of the sentence has a tag ({FIELDS[columns[1]]} is always "
                f"{EMPTY_FIELD}): choose another field with task.tag, or leave the sentence out."
            )
        sent_id = sentence_id([line for _, line in block])
        yield Sentence(index if sent_id is None else sent_id, words, tags if has_tags else None, tuple(numbered))


def has_token_id(row: Sequence[str]) -> bool:
    """Return whether a row of CoNLL-U begins with an id: 3 (word), 1-2 (multiword token) or 8.1 (empty node)."""
    return re.fullmatch(r"\d+([-.]\d+)?", row[0]) is not None


def sentence_id(block: Iterable[str]) -> str | None:
    """Return the `sent_id` in a sentence's comments, or None."""
    ids = (line.split("=", 1)[1].strip() for line in block if line.startswith("# sent_id") and "=" in line)
    return next(ids, None)


def _field_number(column: Column, default: str) -> int:
    if isinstance(column, int):
        return column
    name = (column or default).lower()
    if name not in FIELDS:
        raise InputError(f"CoNLL-U has no field {column!r}: it has {', '.join(FIELDS)}.")
    return FIELDS.index(name)


# --- records ---


def sentences_from_records(
    source: str, records: Records, word: Column, tag: Column, tagged: bool, issues: ReadIssues
) -> TaggedSentences:
    """Return the sentences of JSON objects: the words are a list in the field `tokens` (or `word`), the tags one in
    `tags` (or `tag`).

    Raises InputError, with the place in `source`, if a record lacks a field or the lists differ in length.
    """
    sentences: list[Sentence] = []
    for place, record in records:
        where = f"{source}, {place}"
        try:
            if isinstance(record, str):
                raise ValueError(record)
            words = _text_list(record, word if isinstance(word, str) else "tokens", where, issues)
            name = tag if isinstance(tag, str) else "tags"
            tags = _text_list(record, name, where, issues) if tagged or record.get(name) is not None else None
            tags = None if tags is None else tuple(_strip_cells(tags))
            if tags is not None and len(tags) != len(words):
                raise ValueError(f"there are {len(words)} words and {len(tags)} tags: each word needs one")
        except ValueError as reason:
            raise InputError(f"{where}: {reason}.") from reason
        number = int(place.rsplit(" ", 1)[1].replace(",", ""))
        record_id = record.get("id", len(sentences))
        if isinstance(record_id, str):
            record_id = replace_surrogates(record_id, where, issues)
        sentences.append(Sentence(record_id, words, tags, (number,) * len(words)))
    return TaggedSentences(source, sentences)


def _text_list(record: Mapping[str, Any], name: str, place: str, issues: ReadIssues) -> tuple[str, ...]:
    if name not in record:
        raise ValueError(f"there is no field {name}, only {', '.join(map(str, record)) or 'none'}")
    values = record[name]
    if not isinstance(values, list) or not values or not all(isinstance(value, str) for value in values):
        raise ValueError(f"the field {name} must be a list of texts, one per word")
    return tuple(replace_surrogates(value, place, issues) for value in values)
