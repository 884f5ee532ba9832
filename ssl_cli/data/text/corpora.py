"""Published corpora: WikiText and C4, from a folder of their files or streamed from the hub, of which none is kept."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

from ssl_cli.config.types import Path as FilePath
from ssl_cli.config.types import Range
from ssl_cli.data.io.files import files_of, marks
from ssl_cli.data.io.hub_errors import in_words
from ssl_cli.data.io.json_lines import json_lines
from ssl_cli.data.io.text import parted, pieces
from ssl_cli.data.text.holdout import split
from ssl_cli.data.text.records import parquet_rows, texts_of
from ssl_cli.data.text.sources import TextSource
from ssl_cli.errors import InputError

AT_ONCE = 1000  # rows of the hub
FIELD = "text"
SPLITS = {"train": ("train",), "validation": ("validation", "valid")}
# An article of WikiText begins with ` = Title = `; its sections with ` = = Section = = `.
ARTICLE = re.compile(r"\n\s*?\n(?= = (?!= )[^\n]*(?<! =) = *\n)")

Hub = Annotated[str | None, "data set on the Hugging Face hub, streamed where `dir` is absent"]


def hub_rows(hub: str, name: str, part: str, otherwise: str) -> Iterator[dict[str, list[Any]]]:
    """Some rows at a time, as columns. Raises InputError, which ends in `otherwise`, where they can't be had."""
    import datasets  # takes half a second, and is needed here only

    try:
        rows = datasets.load_dataset(hub, name, split=part, streaming=True)
        yield from rows.iter(batch_size=AT_ONCE)
    except Exception as error:  # the hub and the network fail in many ways
        raise InputError(f"{hub} can't be streamed: {in_words(error)}. {otherwise}") from error


@dataclass(kw_only=True)
class PublishedCorpus(TextSource):
    """A corpus that lies in a folder, or else is streamed from the hub."""

    dir: Annotated[FilePath, "folder of its published files"]
    hub: Hub = None
    name: Annotated[str, "its configuration, as the hub calls it"]

    def found(self, part: str) -> list[Path] | None:
        """The files of a part of the corpus; None: they are to be streamed."""
        raise NotImplementedError(f"{type(self).__name__} doesn't say how it is published")

    def folder(self) -> Path | None:
        folder = Path(self.dir).expanduser()
        if folder.is_dir():
            return folder / self.name if (folder / self.name).is_dir() else folder
        if folder.exists() or self.hub is None:
            raise InputError(f"data.dir={folder} is no folder. {self.otherwise()}")
        return None

    def otherwise(self) -> str:
        return (
            f"Put its files in {Path(self.dir).expanduser()}, say data.dir=PATH where they lie elsewhere, or "
            "data.hub=ID for a data set of the hub."
        )

    def streamed(self, part: str) -> Iterator[dict[str, list[Any]]]:
        assert self.hub is not None
        for columns in hub_rows(self.hub, self.name, part, self.otherwise()):
            if FIELD not in columns:
                raise InputError(f"{self.hub} lacks the column {FIELD}; it has {', '.join(columns)}.")
            yield columns

    def marked(self) -> list[object]:
        """What is on the hub is taken not to change."""
        return [self.name, *(self.hub if (files := self.found(part)) is None else marks(files) for part in SPLITS)]


@dataclass(kw_only=True)
class Wikitext(PublishedCorpus):
    """Wikipedia's good articles (arXiv 1609.07843): Parquet as on the hub, or wiki.train.tokens, or train.txt.

    A document is an article. Its published validation split is held out where `val` is null.
    """

    val: Annotated[  # type: ignore[assignment]
        Annotated[float, Range(0, 1, open_high=True)] | None,
        "share of the training text held out to watch; null: the published validation split",
    ]
    name: Literal["wikitext-2-raw-v1", "wikitext-103-raw-v1", "wikitext-2-v1", "wikitext-103-v1"]

    def found(self, part: str) -> list[Path] | None:
        if (folder := self.folder()) is None:
            return None
        named = re.compile(rf"(.*[._-])?({'|'.join(SPLITS[part])})[._-]")
        found = files_of(str(folder), (".parquet", ".tokens", ".raw", ".txt"))
        found = [path for path in found if named.match(path.name)]
        if not found and (part == "train" or self.val is None):
            raise InputError(
                f"{folder} holds no {part} files, such as {part}-00000-of-00001.parquet or "
                f"{'wiki.train.tokens' if part == 'train' else 'wiki.valid.tokens (or say data.val=0.05)'}."
            )
        return found

    def read(self) -> Iterator[str]:
        return self._articles("train")

    def splits(self) -> Iterator[tuple[str, str]]:
        """What is held out comes first, so that data.max_tokens leaves it whole."""
        if self.val is not None:
            return split(self.documents(), self.val)
        held_out = (("val", text) for text in self._articles("validation") if not text.isspace())
        return chain(held_out, (("train", text) for text in self.documents()))

    def _articles(self, part: str) -> Iterator[str]:
        return parted(self._pieces(part), ARTICLE, self.faults)

    def _pieces(self, part: str) -> Iterator[str]:
        if (files := self.found(part)) is None:
            for columns in self.streamed(part):
                yield _lines(columns[FIELD])
            return
        for path in files:
            if path.suffix == ".parquet":
                rows = texts_of(str(path), parquet_rows(path, FIELD), FIELD, self.faults)
                yield from map(_lines, _batches(rows))
            else:
                yield from pieces(path, self.faults)


def _batches(rows: Iterator[str]) -> Iterator[list[str]]:
    while some := [row for row, _ in zip(rows, range(AT_ONCE), strict=False)]:
        yield some


def _lines(rows: list[str]) -> str:
    """Rows that end in a line feed or, where they are blank, don't."""
    return "".join(row if row.endswith("\n") else f"{row}\n" for row in rows)


@dataclass(kw_only=True)
class C4(PublishedCorpus):
    """Cleaned pages of the web (arXiv 1910.10683): c4-train.00000-of-01024.json.gz and so on, a page a document."""

    def found(self, part: str) -> list[Path] | None:
        if (folder := self.folder()) is None:
            return None
        found = [path for path in files_of(str(folder), (".json", ".jsonl")) if path.name.startswith("c4-")]
        if not found:
            raise InputError(f"{folder} holds no file of C4, such as c4-train.00000-of-01024.json.gz.")
        return [path for path in found if "validation" not in path.name] or found

    def read(self) -> Iterator[str]:
        if (files := self.found("train")) is None:
            for columns in self.streamed("train"):
                yield from columns[FIELD]
            return
        for path in files:
            yield from texts_of(str(path), json_lines(path, self.faults), FIELD, self.faults)
