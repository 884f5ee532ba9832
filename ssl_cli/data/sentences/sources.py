"""Sentences, one a line or in a column of a table: what a sentence auto-encoder learns from."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

from ssl_cli.config.choices import did_you_mean
from ssl_cli.config.types import Count, Delimiter, OpenShare
from ssl_cli.config.types import Path as FilePath
from ssl_cli.data.io.delimited import CsvDialect
from ssl_cli.data.io.files import file_versions, list_files
from ssl_cli.data.io.records import SUFFIXES, read_records
from ssl_cli.data.io.text import ReadIssues
from ssl_cli.data.sentences.words import normalize, sentence_words
from ssl_cli.errors import InputError

TRAIN, VAL, TEST = "train", "val", "test"
Files = FilePath | list[FilePath]
Labels = dict[str, str | None]  # name of a label -> its value


@dataclass
class SentenceSplit:
    """Sentences, and for each name of a label the value of each sentence, None where it is not known."""

    texts: list[str] = field(default_factory=list)
    labels: list[Labels] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.texts)

    def add(self, text: str, labels: Labels) -> None:
        """Add a sentence."""
        self.texts.append(text)
        self.labels.append(labels)

    def take(self, rows: Sequence[int]) -> "SentenceSplit":
        """Return some of the sentences."""
        return SentenceSplit([self.texts[row] for row in rows], [self.labels[row] for row in rows])


@dataclass
class SentenceData:
    """Splits train, val (to watch training by) and test; no sentence is in two of them, nor twice in one.

    `label_values` are the values of each label in training, sorted.
    """

    splits: dict[str, SentenceSplit]
    label_values: dict[str, list[str]]
    fingerprint: str
    warnings: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class Sentences:
    """Sentences of text files, one a line, or of a column of JSON lines, CSV, TSV or Parquet.

    Words are what stands between spaces, and single characters of scripts without spaces.
    """

    gives: ClassVar[tuple[str, ...]] = ("sentences",)
    offers: ClassVar[Mapping[str, type]] = {"vocab_size": int, "specials": dict, "num_classes": int}
    suffixes: ClassVar[tuple[str, ...]] = SUFFIXES

    files: Annotated[Files, "a file, a folder, a pattern such as 'news/*.txt', or a list of them"]
    val_files: Annotated[Files | None, "the same, to watch training by; null: a share of the files"] = None
    test_files: Annotated[Files | None, "the same, to measure on; null: a share of the files"] = None
    text: Annotated[str, "column of the sentence; the lines of a .txt are text"] = "text"
    labels: Annotated[
        dict[str, str] | None, "labels that probes read in the code: name -> column; the first is the style"
    ] = None
    val: Annotated[OpenShare, "share of the sentences that is val, without val_files"] = 0.05
    test: Annotated[OpenShare, "share of the sentences that is the test split, without test_files"] = 0.1
    min_words: Annotated[Count, "sentences with fewer words are left out"] = 1
    max_words: Annotated[Count, "sentences with more words are left out"] = 30
    lowercase: Annotated[bool, "convert to lower case"] = False
    columns: Annotated[list[str] | None, "names of the columns, if a TSV or CSV has no header"] = None
    delimiter: Annotated[Delimiter | None, "delimiter of the fields; null: by the suffix, .tsv or .csv"] = None
    issues: ReadIssues = field(init=False, default_factory=ReadIssues)
    left_out: dict[str, int] = field(init=False, default_factory=dict)  # reason -> sentences, in the last reading

    def sentence_splits(self, seed: int) -> SentenceData:
        """Return the sentences of each split; which one a sentence is in follows from its words and the seed.

        Raises InputError if a column is missing, or too little is left.
        """
        self.issues.clear()
        self.left_out.clear()
        splits, known = {name: SentenceSplit() for name in (TRAIN, VAL, TEST)}, set[str]()
        for name, files in ((TEST, self.test_files), (VAL, self.val_files), (TRAIN, self.files)):
            if files is not None:
                self._add_files(files, splits[name], known)
        self._hold_out(splits, seed)
        for name, split in splits.items():
            if not len(split):
                raise InputError(f"There are too few sentences: none is left for {name}. {' '.join(self._messages())}")
        return SentenceData(splits, self._label_values(splits[TRAIN]), self._fingerprint(), self._messages())

    def records(self, path: Path) -> Iterator[tuple[str, dict[str, Any] | str]]:
        """Yield the place of each record in a file, and its fields, or the reason why it can't be read."""
        header = None if self.columns is None else tuple(self.columns)
        dialect = CsvDialect(self.delimiter, None, header, text_columns=(self.text,), ragged=True)
        for record in read_records(path, dialect, issues=self.issues):
            yield record.place, record.record

    def _add_files(self, files: Files, split: SentenceSplit, known: set[str]) -> None:
        """Add the sentences of files that are not yet known, of a suitable length."""
        for path in list_files(files, self.suffixes):
            for place, record in self.records(path):
                if isinstance(record, str):
                    self.issues.add_skipped(f"{path}, {place}: {record}")
                    continue
                text, labels = self._text(path, place, record), self._labels(record)
                if reason := self._reason_against(text, known):
                    self.left_out[reason] = self.left_out.get(reason, 0) + 1
                else:
                    known.add(text)
                    split.add(text, labels)

    def _reason_against(self, text: str, known: set[str]) -> str:
        """Return why a sentence is left out, "" if it is not."""
        n_words = len(sentence_words(text))
        if n_words > self.max_words:
            return f"more words than data.max_words={self.max_words}"
        if n_words < self.min_words:
            return f"fewer words than data.min_words={self.min_words}"
        return "the words of another sentence" if text in known else ""

    def _text(self, path: Path, place: str, record: Mapping[str, Any]) -> str:
        """Return the sentence of a record. Raises InputError if its column is missing, or holds no text."""
        if self.text not in record:
            raise InputError(
                f"{path}, {place}: there is no column data.text={self.text}, only {', '.join(list(record)[:20])}."
                f"{did_you_mean(self.text, list(record))}"
            )
        value = record[self.text]
        if value is not None and not isinstance(value, str):
            raise InputError(f"{path}, {place}: {self.text} holds {str(value)[:50]!r}, which is no text.")
        return normalize(value or "", self.lowercase)

    def _labels(self, record: Mapping[str, Any]) -> Labels:
        values = {name: record.get(column) for name, column in (self.labels or {}).items()}
        return {name: None if value in (None, "") else str(value) for name, value in values.items()}

    def _hold_out(self, splits: dict[str, SentenceSplit], seed: int) -> None:
        """Move shares of the training sentences to the splits that have no files."""
        texts = splits[TRAIN].texts
        order = sorted(range(len(texts)), key=lambda row: hashlib.sha256(f"{seed} {texts[row]}".encode()).digest())
        first = 0
        for name, files, share in ((TEST, self.test_files, self.test), (VAL, self.val_files, self.val)):
            if files is None:
                n = round(share * len(texts))
                splits[name], first = splits[TRAIN].take(sorted(order[first : first + n])), first + n
        splits[TRAIN] = splits[TRAIN].take(sorted(order[first:]))

    def _label_values(self, train: SentenceSplit) -> dict[str, list[str]]:
        """Return the values of each label. Raises InputError for a label that training does not have."""
        found = {}
        for name, column in (self.labels or {}).items():
            found[name] = sorted({value for labels in train.labels if (value := labels[name]) is not None})
            if not found[name]:
                raise InputError(f"data.labels.{name}={column}: no training sentence has a value in such a column.")
        return found

    def _fingerprint(self) -> str:
        """Return a digest of the versions of the files and of what decides on the sentences."""
        versions = [
            None if files is None else file_versions(list_files(files, self.suffixes))
            for files in (self.files, self.val_files, self.test_files)
        ]
        options = [self.text, self.labels, self.val, self.test, self.min_words, self.max_words, self.lowercase]
        return hashlib.sha256(json.dumps([versions, options, self.columns, self.delimiter]).encode()).hexdigest()

    def _messages(self) -> list[str]:
        """Return a sentence on what was left out and why, and one for each issue of the files."""
        reasons = [f"{n:,} with {reason}" for reason, n in self.left_out.items()]
        return [*([f"Sentences left out: {', '.join(reasons)}."] if reasons else []), *self.issues.messages()]
