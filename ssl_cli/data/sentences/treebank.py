"""Sentences of a treebank in CoNLL-U, with labels of syntax and of where they are from."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ssl_cli.data.io.text import read_documents
from ssl_cli.data.sentences.sources import Sentences

UPOS, NO_WORDS = 3, ("PUNCT", "SYM")


@dataclass(kw_only=True)
class TreebankSentences(Sentences):
    """Sentences of CoNLL-U files (universaldependencies.org/format.html).

    The columns are `text`; `first_pos` and `last_pos`, the part of speech of the first and of the last word; and
    `genre`, the beginning of the sentence's id up to a hyphen.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".conllu",)

    def records(self, path: Path) -> Iterator[tuple[str, dict[str, Any] | str]]:
        """Yield the place of each sentence in a file, and its columns, or the reason why it can't be read."""
        for number, block in enumerate(read_documents(path, "block", self.issues), start=1):
            if block.strip():
                yield f"sentence {number:,}", sentence_of(block.splitlines())


def sentence_of(lines: list[str]) -> dict[str, Any] | str:
    """Return the columns of a sentence, from its lines, or what is wrong with it."""
    comments = dict(line[1:].split("=", 1) for line in lines if line.startswith("#") and "=" in line)
    named = {name.strip(): value.strip() for name, value in comments.items()}
    rows = [line.split("\t") for line in lines if line[:1].isdigit()]
    words = [row for row in rows if row[0].isdigit()]  # neither 1-2, two words written as one, nor 8.1, an absent word
    if not words or any(len(row) <= UPOS for row in words):
        return "it has no words with a part of speech"
    pos = [row[UPOS] for row in words if row[UPOS] not in NO_WORDS]
    labels = {"first_pos": pos[0], "last_pos": pos[-1]} if pos else {}
    genre = named.get("sent_id", "").partition("-")[0]
    return {"text": named.get("text") or " ".join(row[1] for row in words), "genre": genre or None, **labels}
