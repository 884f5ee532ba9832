"""Sources of text to pretrain on: documents in order, streamed, and their splits. Your own files, and pydoc's."""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from ssl_cli.config.types import Count, Range
from ssl_cli.config.types import Path as FilePath
from ssl_cli.data.io.files import files_of, marks
from ssl_cli.data.io.text import LONGEST, ReadIssues, cut, documents_of
from ssl_cli.data.text.holdout import split
from ssl_cli.errors import InputError

if TYPE_CHECKING:
    from ssl_cli.data.text.tokens import TextData
    from ssl_cli.data.tokenizers.trainers import TokenizerTrainer

TEXT_SUFFIXES = (".txt", ".text", ".md", ".rst", ".tokens", ".raw")
UNDERLINE = re.compile(r"^ *([*=~^-])\1{2,} *\n", re.MULTILINE)  # of headings: each sign would be a token
PARAGRAPHS = re.compile(r"\n\s*\n")
REPEATED = 0.9  # of a topic's paragraphs stand in a longer one: then it is a part of that

Files = Annotated[FilePath | list[FilePath], "a file, a folder, a pattern such as 'news/*.txt', or a list of them"]


@dataclass(kw_only=True)
class TextSource:
    """Documents, and the options that all text has. Each source says how it is read; `faults` what it met then."""

    kind: ClassVar[str] = "text"
    gives: ClassVar[tuple[str, ...]] = ("ids", "starts", "document", "sentence_ends", "document_id")
    offers: ClassVar[Mapping[str, type]] = {"vocab_size": int, "specials": dict, "bytes_per_token": float}

    val: Annotated[float, Range(0, 1, open_high=True), "share of the text held out to watch"]
    max_tokens: Annotated[Count | None, "tokens to take, then no more is read; null: all there are"] = None
    isolate_documents: Annotated[bool, "whether attention stays within a document, where positions restart"] = False
    phrases: Annotated[FilePath | None, "a file of words or entities, one a line, that are masked as a whole"] = None
    cache: Annotated[FilePath | None, "folder for the tokens; null: ~/.cache/ssl/tokens"] = None
    faults: ReadIssues = field(init=False, default_factory=ReadIssues)

    def read(self) -> Iterator[str]:
        """The texts in order, streamed. Raises InputError where they can't be found or read."""
        raise NotImplementedError(f"{type(self).__name__} doesn't say how it is read")

    def marked(self) -> list[object]:
        """What changes whenever the documents may: the files with their sizes and times, the options."""
        raise NotImplementedError(f"{type(self).__name__} doesn't say what it depends on")

    def documents(self) -> Iterator[str]:
        """The texts that aren't blank. Raises InputError where there is none."""
        self.faults.clear()
        return self._with_text(self.read())

    def splits(self) -> Iterator[tuple[str, str]]:
        """Each document with its split, "train" or "val"."""
        return split(self.documents(), self.val)

    def stamp(self) -> list[object]:
        """JSON-able; two sources of one stamp have the same documents in the same splits."""
        units = [] if self.phrases is None else marks(files_of(self.phrases, TEXT_SUFFIXES))
        return [f"{type(self).__module__}.{type(self).__qualname__}", self.val, self.max_tokens, units, *self.marked()]

    def tokenize(self, tokenizer: "TokenizerTrainer") -> "TextData":
        """The documents as tokens, from the cache where they are there already."""
        from ssl_cli.data.text.token_cache import build

        home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "ssl" / "tokens"
        return build(self, tokenizer, Path(self.cache or home).expanduser())

    def _with_text(self, texts: Iterator[str]) -> Iterator[str]:
        is_empty = True
        for text in texts:
            if text and not text.isspace():
                is_empty = False
                yield from cut(text, LONGEST, self.faults)
        if is_empty:
            raise InputError(
                " ".join(["There is no text in the data: every document is empty.", *self.faults.sentences()])
            )


@dataclass(kw_only=True)
class Pydoc(TextSource):
    """Python's own documentation, embedded as `pydoc_data.topics`: a topic a document.

    Topics that are parts of others are left out: they would be held out and trained on.
    """

    def read(self) -> Iterator[str]:
        topics = [UNDERLINE.sub("", text) for text in _topics().values()]
        parts = [{part.strip() for part in PARAGRAPHS.split(text)} for text in topics]
        for k, text in enumerate(topics):
            larger = (other for other in parts if len(other) > len(parts[k]))
            if all(len(parts[k] & other) < REPEATED * len(parts[k]) for other in larger):
                yield text

    def marked(self) -> list[object]:
        return [hashlib.sha256("\0".join(_topics().values()).encode()).hexdigest()]


def _topics() -> dict[str, str]:
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise InputError("This Python lacks pydoc_data, its own documentation: say data=text data.files=...") from error
    return topics


@dataclass(kw_only=True)
class TextFiles(TextSource):
    """Plain text, compressed or not: a document is a line, a block between blank lines, or a whole file."""

    files: Files
    document: Annotated[
        Literal["line", "block", "file"], "what a document is: a line, what lies between blank lines, or a file"
    ]

    def read(self) -> Iterator[str]:
        for path in files_of(self.files, TEXT_SUFFIXES):
            yield from documents_of(path, self.document, self.faults)

    def marked(self) -> list[object]:
        return [self.document, *marks(files_of(self.files, TEXT_SUFFIXES))]
