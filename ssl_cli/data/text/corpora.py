"""Published corpora, WikiText and C4: from a folder of their files, or streamed from the hub without keeping a copy."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

from ssl_cli.config.types import Path as FilePath
from ssl_cli.config.types import Range
from ssl_cli.data.io.files import file_versions, list_files
from ssl_cli.data.io.hub import hub_access
from ssl_cli.data.io.hub_errors import describe_hub_error
from ssl_cli.data.io.records import read_records
from ssl_cli.data.io.text import read_text, split_text
from ssl_cli.data.text.holdout import hold_out
from ssl_cli.data.text.records import extract_texts
from ssl_cli.data.text.sources import TextSource
from ssl_cli.errors import InputError

HUB_BATCH_ROWS = 1000
FIELD = "text"
SPLITS = {"train": ("train",), "validation": ("validation", "valid")}
# An article of WikiText begins with ` = Title = `; its sections with ` = = Section = = `.
ARTICLE_BREAK = re.compile(r"\n\s*?\n(?= = (?!= )[^\n]*(?<! =) = *\n)")

Hub = Annotated[str | None, "dataset on the Hugging Face hub, streamed if `dir` does not exist"]


def hub_rows(hub: str, name: str, split: str, hint: str) -> Iterator[dict[str, list[Any]]]:
    """Yield batches of rows as columns. Raises InputError, whose message ends in `hint`, if they can't be streamed."""
    import datasets  # takes half a second, and is needed here only

    try:
        with hub_access(hub):
            rows = datasets.load_dataset(hub, name, split=split, streaming=True)
            yield from rows.iter(batch_size=HUB_BATCH_ROWS)
    except Exception as error:  # the hub and the network fail in many ways
        raise InputError(f"{hub} can't be streamed: {describe_hub_error(error)}. {hint}") from error


@dataclass(kw_only=True)
class PublishedCorpus(TextSource):
    """A corpus in a local folder or, if there is none, on the hub."""

    dir: Annotated[FilePath, "folder of its published files"]
    hub: Hub = None
    name: Annotated[str, "name of its configuration on the hub"]

    def split_files(self, split: str) -> list[Path] | None:
        """Return the files of a split, or None if it has to be streamed."""
        raise NotImplementedError(f"{type(self).__name__} does not define split_files")

    def folder(self) -> Path | None:
        """Return the folder of the files, or None to use the hub. Raises InputError if there is neither."""
        folder = Path(self.dir).expanduser()
        if folder.is_dir():
            return folder / self.name if (folder / self.name).is_dir() else folder
        if folder.exists() or self.hub is None:
            raise InputError(f"data.dir={folder} is not a folder. {self.download_hint()}")
        return None

    def download_hint(self) -> str:
        """Return a sentence that says how to provide the corpus."""
        return (
            f"Put its files in {Path(self.dir).expanduser()}, set data.dir=PATH if they are elsewhere, or set "
            "data.hub=ID for a dataset of the hub."
        )

    def stream_split(self, split: str) -> Iterator[dict[str, list[Any]]]:
        """Yield batches of rows of a split from the hub. Raises InputError if they have no text."""
        assert self.hub is not None
        for columns in hub_rows(self.hub, self.name, split, self.download_hint()):
            if FIELD not in columns:
                raise InputError(f"{self.hub} has no column {FIELD}; it has {', '.join(columns)}.")
            yield columns

    def version(self) -> list[object]:
        """Return the versions of the files. A dataset of the hub is assumed not to change."""
        return [
            self.name,
            *(self.hub if (files := self.split_files(split)) is None else file_versions(files) for split in SPLITS),
        ]


@dataclass(kw_only=True)
class Wikitext(PublishedCorpus):
    """Wikipedia's good articles (arXiv 1609.07843): Parquet as on the hub, or wiki.train.tokens, or train.txt.

    A document is an article. If `val` is null, the published validation split is held out.
    """

    val: Annotated[  # type: ignore[assignment]
        Annotated[float, Range(0, 1, open_high=True)] | None,
        "share of the training text held out for validation; null: the published validation split",
    ]
    name: Literal["wikitext-2-raw-v1", "wikitext-103-raw-v1", "wikitext-2-v1", "wikitext-103-v1"]

    def split_files(self, split: str) -> list[Path] | None:
        """Return the files of a split. Raises InputError if a split that is needed has none."""
        if (folder := self.folder()) is None:
            return None
        pattern = re.compile(rf"(.*[._-])?({'|'.join(SPLITS[split])})[._-]")
        candidates = list_files(str(folder), (".parquet", ".tokens", ".raw", ".txt"))
        files = [path for path in candidates if pattern.match(path.name)]
        if not files and (split == "train" or self.val is None):
            raise InputError(
                f"{folder} holds no {split} files, such as {split}-00000-of-00001.parquet or "
                f"{'wiki.train.tokens' if split == 'train' else 'wiki.valid.tokens (or set data.val=0.05)'}."
            )
        return files

    def read(self) -> Iterator[str]:
        """Yield the articles of the training split."""
        return self._articles("train")

    def splits(self) -> Iterator[tuple[str, str]]:
        """Yield each document with its split; a published validation split first, so that max_tokens keeps it whole."""
        if self.val is not None:
            return hold_out(self.documents(), self.val)
        held_out = (("val", text) for text in self._articles("validation") if not text.isspace())
        return chain(held_out, (("train", text) for text in self.documents()))

    def _articles(self, split: str) -> Iterator[str]:
        return split_text(self._text_blocks(split), ARTICLE_BREAK, self.issues)

    def _text_blocks(self, split: str) -> Iterator[str]:
        if (files := self.split_files(split)) is None:
            for columns in self.stream_split(split):
                yield _join_lines(columns[FIELD])
            return
        for path in files:
            if path.suffix == ".parquet":
                rows = read_records(path, columns=[FIELD], issues=self.issues)
                texts = extract_texts(path, rows, FIELD, self.issues)
                yield from map(_join_lines, _row_batches(texts))
            else:
                yield from read_text(path, self.issues)


def _row_batches(rows: Iterator[str]) -> Iterator[list[str]]:
    while batch := [row for row, _ in zip(rows, range(HUB_BATCH_ROWS), strict=False)]:
        yield batch


def _join_lines(rows: list[str]) -> str:
    """Join rows that are one line each; blank ones may lack their line feed."""
    return "".join(row if row.endswith("\n") else f"{row}\n" for row in rows)


@dataclass(kw_only=True)
class C4(PublishedCorpus):
    """Cleaned web pages (arXiv 1910.10683): c4-train.00000-of-01024.json.gz and so on; a document is a page."""

    def split_files(self, split: str) -> list[Path] | None:
        """Return the training files, or the validation files if there are no others."""
        if (folder := self.folder()) is None:
            return None
        files = [path for path in list_files(str(folder), (".json", ".jsonl")) if path.name.startswith("c4-")]
        if not files:
            raise InputError(f"{folder} holds no file of C4, such as c4-train.00000-of-01024.json.gz.")
        return [path for path in files if "validation" not in path.name] or files

    def read(self) -> Iterator[str]:
        """Yield the pages."""
        if (files := self.split_files("train")) is None:
            for columns in self.stream_split("train"):
                yield from columns[FIELD]
            return
        for path in files:
            pages = read_records(path, issues=self.issues, suffix=".jsonl")
            yield from extract_texts(path, pages, FIELD, self.issues)
