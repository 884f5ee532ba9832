"""Text sources for pretraining: documents streamed in order, with their splits. Local text files, and Python's docs."""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from ssl_cli.config.types import Count, Range
from ssl_cli.config.types import Path as FilePath
from ssl_cli.data.io.files import file_versions, list_files
from ssl_cli.data.io.text import MAX_DOCUMENT_CHARS, ReadIssues, cut_text, read_documents
from ssl_cli.data.text.holdout import hold_out
from ssl_cli.errors import InputError

if TYPE_CHECKING:
    from ssl_cli.data.text.tokens import TextData
    from ssl_cli.data.tokenizers.trainers import TokenizerTrainer

TEXT_SUFFIXES = (".txt", ".text", ".md", ".rst", ".tokens", ".raw")
UNDERLINE = re.compile(r"^ *([*=~^-])\1{2,} *\n", re.MULTILINE)  # of headings: each character would be a token
PARAGRAPHS = re.compile(r"\n\s*\n")
MIN_OVERLAP = 0.9  # share of a topic's paragraphs also in a longer topic from which it counts as part of that

Files = Annotated[FilePath | list[FilePath], "a file, a folder, a pattern such as 'news/*.txt', or a list of them"]


@dataclass(kw_only=True)
class TextSource:
    """Documents, and the options of all text sources. Subclasses define how they are read; `issues` collects problems.

    The issues are those of the last reading.
    """

    kind: ClassVar[str] = "text"
    gives: ClassVar[tuple[str, ...]] = ("ids", "starts", "document", "sentence_ends", "document_id")
    offers: ClassVar[Mapping[str, type]] = {
        **{"vocab_size": int, "specials": dict, "sentinels": list},
        "bytes_per_token": float,
    }

    val: Annotated[float, Range(0, 1, open_high=True), "share of the text held out for validation"]
    max_tokens: Annotated[Count | None, "tokens to take, after which no more is read; null: all"] = None
    isolate_documents: Annotated[bool, "whether attention stays within a document, where positions restart"] = False
    phrases: Annotated[FilePath | None, "a file of words or entities to mask as a whole, one per line"] = None
    cache: Annotated[FilePath | None, "folder for the tokens; null: ~/.cache/ssl/tokens"] = None
    issues: ReadIssues = field(init=False, default_factory=ReadIssues)

    def read(self) -> Iterator[str]:
        """Yield the texts in order. Raises InputError if they can't be found or read."""
        raise NotImplementedError(f"{type(self).__name__} does not define read")

    def version(self) -> list[object]:
        """Return JSON-able values that change if the documents may have: file sizes and times, and options."""
        raise NotImplementedError(f"{type(self).__name__} does not define version")

    def documents(self) -> Iterator[str]:
        """Yield the texts that are not blank. Raises InputError if there are none."""
        self.issues.clear()
        return self._non_blank(self.read())

    def splits(self) -> Iterator[tuple[str, str]]:
        """Yield each document with its split, "train" or "val"."""
        return hold_out(self.documents(), self.val)

    def cache_key(self) -> list[object]:
        """Return JSON-able values; sources with equal ones have the same documents in the same splits."""
        phrases = [] if self.phrases is None else file_versions(list_files(self.phrases, TEXT_SUFFIXES))
        source = f"{type(self).__module__}.{type(self).__qualname__}"
        return [source, self.val, self.max_tokens, phrases, *self.version()]

    def tokenize(self, tokenizer: "TokenizerTrainer") -> "TextData":
        """Return the documents as tokens, from the cache if they are there already."""
        from ssl_cli.data.text.token_cache import load_or_build

        home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "ssl" / "tokens"
        return load_or_build(self, tokenizer, Path(self.cache or home).expanduser())

    def _non_blank(self, texts: Iterator[str]) -> Iterator[str]:
        is_empty = True
        for text in texts:
            if text and not text.isspace():
                is_empty = False
                yield from cut_text(text, MAX_DOCUMENT_CHARS, self.issues)
        if is_empty:
            raise InputError(
                " ".join(["There is no text in the data: every document is empty.", *self.issues.messages()])
            )


@dataclass(kw_only=True)
class Pydoc(TextSource):
    """Python's own documentation, installed as `pydoc_data.topics`; a document is a topic.

    Topics that are parts of others are left out: they could be both trained on and held out.
    """

    def read(self) -> Iterator[str]:
        """Yield the topics."""
        topics = [UNDERLINE.sub("", text) for text in _topics().values()]
        paragraphs = [{part.strip() for part in PARAGRAPHS.split(text)} for text in topics]
        for k, text in enumerate(topics):
            longer = (other for other in paragraphs if len(other) > len(paragraphs[k]))
            if all(len(paragraphs[k] & other) < MIN_OVERLAP * len(paragraphs[k]) for other in longer):
                yield text

    def version(self) -> list[object]:
        """Return a hash of all topics."""
        return [hashlib.sha256("\0".join(_topics().values()).encode()).hexdigest()]


def _topics() -> dict[str, str]:
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise InputError(
            "This Python is installed without pydoc_data, its documentation: set data=text data.files=..."
        ) from error
    return topics


@dataclass(kw_only=True)
class TextFiles(TextSource):
    """Plain text files, compressed or not; a document is a line, a block between blank lines, or a whole file."""

    files: Files
    document: Annotated[
        Literal["line", "block", "file"], "what a document is: a line, the text between blank lines, or a whole file"
    ]

    def read(self) -> Iterator[str]:
        """Yield the documents of all files."""
        for path in list_files(self.files, TEXT_SUFFIXES):
            yield from read_documents(path, self.document, self.issues)

    def version(self) -> list[object]:
        """Return the options and the versions of the files."""
        return [self.document, *file_versions(list_files(self.files, TEXT_SUFFIXES))]
