"""Articles and titles that don't belong together: what an unsupervised summarizer learns from."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from ssl_cli.config.choices import did_you_mean
from ssl_cli.config.types import Delimiter, Natural, OpenShare
from ssl_cli.config.types import Path as FilePath
from ssl_cli.data.articles.words import words_of
from ssl_cli.data.io.delimited import CsvDialect
from ssl_cli.data.io.files import file_versions, list_files
from ssl_cli.data.io.records import SUFFIXES, read_records
from ssl_cli.data.io.text import ReadIssues
from ssl_cli.errors import InputError
from ssl_cli.evaluation.metrics.rouge import rouge_tokens

TRAIN, TEST = "train", "test"
Files = Annotated[FilePath | list[FilePath], "a file, a folder, a pattern such as 'news/*.jsonl', or a list of them"]


@dataclass(frozen=True)
class Pair:
    """An article and its title."""

    article: str
    title: str

    @property
    def title_key(self) -> str:
        """The title as it is compared with others: its words in lower case, without punctuation."""
        return " ".join(rouge_tokens(self.title))


@dataclass
class ArticleData:
    """What is learned from and measured on.

    `articles` and `titles` are of training, and no title is that of an article, by its words. `other_titles` are those
    of the articles, to measure by: no method learns from them. `splits` have whole pairs: val, to choose settings by,
    and test.
    """

    articles: list[str]
    titles: list[str]
    other_titles: list[str]
    splits: dict[str, list[Pair]]
    fingerprint: str
    warnings: list[str] = field(default_factory=list)

    @property
    def val_articles(self) -> list[str]:
        """The held-out articles to watch training by."""
        return [pair.article for pair in self.splits["val"]]


@dataclass(kw_only=True)
class TextPairs:
    """Records with an article and its title, in files of JSON lines, CSV, TSV or Parquet.

    Training takes the pairs apart: half of the different titles are kept without their articles, the articles of the
    other half without their titles. With `title_files` all articles are kept, without their titles, and the titles are
    those of these files that belong to no article.
    """

    kind: ClassVar[str] = "articles"
    gives: ClassVar[tuple[str, ...]] = ("articles", "titles")
    offers: ClassVar[Mapping[str, type]] = {"vocab_size": int, "specials": dict}  # of a tokenizer trained on it

    files: Files
    article: Annotated[str, "column of the article"]
    title: Annotated[str, "column of its title"]
    split: Annotated[str | None, "column that says whether a record is for training or for the test"] = None
    splits: Annotated[dict[str, str] | None, "train and test -> their values in that column"] = None
    test_files: Annotated[Files | None, "files of the test split; null: it is part of data.files"] = None
    title_files: Annotated[
        Files | None, "files with titles of other articles; null: half of the training titles, without their articles"
    ] = None
    title_column: Annotated[str | None, "column of a title in title_files; null: the column `title`"] = None
    val: Annotated[OpenShare, "share of the training records that is held out to choose settings by: the last ones"]
    test: Annotated[OpenShare, "share of the records that is the test split if there is no column of it: the last ones"]
    min_words: Annotated[Natural, "articles with fewer words are left out"]
    remove: Annotated[str | None, "regular expression of what is no part of a title, such as <[^<>]*>"] = None
    columns: Annotated[list[str] | None, "names of the columns, if a TSV or CSV has no header"] = None
    delimiter: Annotated[Delimiter | None, "delimiter of the fields; null: by the suffix, .tsv or .csv"] = None
    issues: ReadIssues = field(init=False, default_factory=ReadIssues)
    n_short: int = field(init=False, default=0)  # articles left out in the last reading, as too short

    def article_splits(self, seed: int) -> ArticleData:
        """Return the texts to learn from and the pairs to measure on.

        Raises InputError for options that don't fit the files, or if too little is left.
        """
        if (self.split is None) != (self.splits is None):
            raise InputError("data.split and data.splits go together: a column, and {train: VALUE, test: VALUE}.")
        if self.split is not None and self.test_files is not None:
            raise InputError("data.split and data.test_files both name the test split: set only one of them.")
        try:
            re.compile(self.remove or "")
        except re.error as error:
            raise InputError(f"data.remove={self.remove} is not a regular expression: {error}.") from error
        pairs = self._by_split()
        n_val = round(self.val * len(pairs[TRAIN]))
        training, val = pairs[TRAIN][: len(pairs[TRAIN]) - n_val], pairs[TRAIN][len(pairs[TRAIN]) - n_val :]
        if self.title_files is None:
            with_article, alone = take_apart(training, seed)
            titles = [pair.title for pair in alone]
        else:
            with_article, titles = training, self._titles_of_none({*training, *val, *pairs[TEST]})
        for name, found in (("the test", pairs[TEST]), ("val", val), ("training", training)):
            if not found:
                raise InputError(f"There are too few records: none is left for {name}. {' '.join(self._left_out())}")
        if not titles:
            n, shown = f"{len(training):,}", repr(training[0].title[:60])
            same = f"all {n} training records have the same one, {shown}"
            where = same if self.title_files is None else f"all titles of data.title_files are theirs, such as {shown}"
            raise InputError(f"No title is left that belongs to none of the articles: {where}.")
        others = [list_files(files, SUFFIXES) for files in (self.test_files, self.title_files) if files is not None]
        versions = file_versions([*list_files(self.files, SUFFIXES), *(path for files in others for path in files)])
        options = [self.article, self.title, self.split, self.splits, self.val, self.test, self.min_words, self.remove]
        options += [len(files) for files in others] + [self.title_column]
        digest = hashlib.sha256(json.dumps([versions, options, self.columns, self.delimiter]).encode()).hexdigest()
        return ArticleData(
            articles=[pair.article for pair in with_article],
            titles=titles,
            other_titles=[pair.title for pair in with_article],
            splits={"val": val, "test": pairs[TEST]},
            fingerprint=digest,
            warnings=self._left_out(),
        )

    def _by_split(self) -> dict[str, list[Pair]]:
        """Return all pairs of each split, in the order of the files."""
        self.issues.clear()
        self.n_short = 0
        pairs: dict[str, list[Pair]] = {TRAIN: [], TEST: []}
        names = {value: name for name, value in (self.splits or {}).items()}
        if unknown := set(names.values()) - set(pairs):
            raise InputError(f"data.splits has {', '.join(sorted(unknown))}: it takes train and test.")
        for record, pair in self._pairs(self.files):
            name = TRAIN if self.split is None else names.get(str(record.get(self.split)))
            if name is not None:
                pairs[name].append(pair)
        if self.test_files is not None:
            pairs[TEST] = [pair for _, pair in self._pairs(self.test_files)]
        elif self.split is None:
            n_test = round(self.test * len(pairs[TRAIN]))
            pairs[TEST] = pairs[TRAIN][len(pairs[TRAIN]) - n_test :]
            pairs[TRAIN] = pairs[TRAIN][: len(pairs[TRAIN]) - n_test]
        return pairs

    def _pairs(self, files: Files) -> Iterator[tuple[dict[str, Any], Pair]]:
        """Yield the records with a title and an article that is long enough; count and name the others."""
        for place, record, (article, title) in self._texts(files, {"article": self.article, "title": self.title}):
            pair = Pair(article, self._cleaned(title))
            if not pair.title_key:
                self.issues.add_skipped(f"{place}: the title has no words")
            elif len(words_of(pair.article)) < max(self.min_words, 1):
                self.n_short += 1
            else:
                yield record, pair

    def _titles_of_none(self, pairs: set[Pair]) -> list[str]:
        """Return each different title of `title_files` that is not the title of one of the pairs, by its words."""
        taken, titles = {pair.title_key for pair in pairs}, list[str]()
        assert self.title_files is not None
        for _, _, (text,) in self._texts(self.title_files, {"title_column": self.title_column or self.title}):
            title = self._cleaned(text)
            key = Pair("", title).title_key
            if key and key not in taken:
                taken.add(key)
                titles.append(title)
        return titles

    def _cleaned(self, title: str) -> str:
        return " ".join((re.sub(self.remove, " ", title) if self.remove else title).split())

    def _texts(self, files: Files, columns: dict[str, str]) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
        """Yield where a record is, the record, and its texts in the columns that options name; name broken ones."""
        header = None if self.columns is None else tuple(self.columns)
        dialect = CsvDialect(self.delimiter, None, header, text_columns=(self.article,), ragged=True)
        for path in list_files(files, SUFFIXES):
            for record in read_records(path, dialect, issues=self.issues):
                place = f"{path}, {record.place}"
                if isinstance(record.record, str):
                    self.issues.add_skipped(f"{place}: {record.record}")
                else:
                    yield place, record.record, self._texts_of(place, record.record, columns)

    @staticmethod
    def _texts_of(place: str, record: dict[str, Any], columns: dict[str, str]) -> list[str]:
        """Return the texts of a record, one space between words. Raises InputError if one is missing, or no text."""
        texts = []
        for option, name in columns.items():
            if name not in record:
                names = ", ".join(list(record)[:20])
                raise InputError(
                    f"{place}: there is no column data.{option}={name}, only {names}."
                    f"{did_you_mean(name, list(record))}"
                )
            value = record[name]
            if value is not None and not isinstance(value, str):
                raise InputError(f"{place}: {name} holds {str(value)[:50]!r}, which is no text.")
            texts.append(" ".join((value or "").split()))
        return texts

    def _left_out(self) -> list[str]:
        """Return a sentence for each reason why records were left out."""
        short = f"{self.n_short:,} article(s) have fewer than data.min_words={self.min_words} words and were left out."
        return [*([short] if self.n_short else []), *self.issues.messages()]


def take_apart(pairs: Sequence[Pair], seed: int) -> tuple[list[Pair], list[Pair]]:
    """Return two lists of pairs that have no title in common, by its words, with half of the different titles each.

    Which list a title is in follows from its words and the seed.
    """
    keys = {pair.title_key for pair in pairs}
    shuffled = sorted(keys, key=lambda key: hashlib.sha256(f"{seed} {key}".encode()).digest())
    second = set(shuffled[: len(keys) // 2])
    lists: tuple[list[Pair], list[Pair]] = [], []
    for pair in pairs:
        lists[pair.title_key in second].append(pair)
    return lists
