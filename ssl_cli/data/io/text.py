"""Text of files of any size, read in pieces and split into documents. Invalid UTF-8 is replaced, counted and named."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ssl_cli.data.io.utf8 import CONVERT, read_utf8_blocks, skip_byte_order_mark
from ssl_cli.errors import InputError

MAX_DOCUMENT_CHARS = 1 << 22  # a longer document is cut, so that memory stays bounded
MAX_NAMED = 5  # issues whose places are named; the others are only counted
LINE = re.compile("\n")
SEPARATORS = {"line": LINE, "block": re.compile(r"\n(?:[^\S\n]*\n)+"), "file": None}
BLANK_LINES = re.compile(r"\A(?:[^\S\n]*\n)+")
SURROGATE = re.compile("[\ud800-\udfff]")  # halves of a character: JSON can spell them, UTF-8 cannot
NOT_TEXT = "is not UTF-8 text"


@dataclass
class ReadIssues:
    """Counts of what was wrong in the text read so far; the first few places of each kind are named."""

    n_invalid: int = 0  # invalid sequences of UTF-8
    invalid_at: list[str] = field(default_factory=list)
    n_skipped: int = 0  # records
    skipped: list[str] = field(default_factory=list)
    n_cut: int = 0  # places where a document was cut

    def clear(self) -> None:
        """Reset all counts in place, for all holders of this object."""
        self.__init__()  # type: ignore[misc]

    def add_skipped(self, reason: str) -> None:
        """Count a skipped record: `a.jsonl, line 3: it is not JSON`."""
        self.n_skipped += 1
        if len(self.skipped) < MAX_NAMED:
            self.skipped.append(reason)

    def add_invalid(self, n: int, place: str) -> None:
        """Count `n` replaced sequences of invalid UTF-8, the first of them at a `place` (empty if it is not known)."""
        self.n_invalid += n
        if place and len(self.invalid_at) < MAX_NAMED:
            self.invalid_at.append(place)

    def messages(self) -> list[str]:
        """Return one sentence for each kind of issue that occurred."""
        messages = []
        if self.n_invalid:
            places = _join_places(self.invalid_at, self.n_invalid)
            messages.append(f"{self.n_invalid:,} invalid UTF-8 sequence(s) replaced by \ufffd: {places}.")
        if self.n_skipped:
            messages.append(f"{self.n_skipped:,} record(s) left out: {_join_places(self.skipped, self.n_skipped)}.")
        if self.n_cut:
            messages.append(
                f"Documents of more than {MAX_DOCUMENT_CHARS:,} characters were cut, in {self.n_cut:,} place(s)."
            )
        return messages


def _join_places(named: list[str], n: int) -> str:
    more = f"; and {n - len(named):,} more" if n > len(named) else ""
    return "; ".join(named) + more


def read_text(path: Path, issues: ReadIssues) -> Iterator[str]:
    """Yield a file's text in pieces of whole lines (except lines of megabytes). All line ends become \\n.

    Raises InputError if the file cannot be read, or is not in UTF-8 at all.
    """
    rest, offset = b"", 0  # the bytes that are not decoded yet, and where they begin
    for block, _ in read_utf8_blocks(path):
        block = rest + block
        end = block.rfind(b"\n") + 1 or _last_character_boundary(block)
        yield _decode(block[:end], path, offset, issues)
        rest, offset = block[end:], offset + end
    yield _decode(rest, path, offset, issues)


def _last_character_boundary(block: bytes) -> int:
    """Return where the last character of a block begins; or where it ends, if no following byte can belong to it."""
    for end in range(len(block) - 1, max(len(block) - 5, -1), -1):
        if block[end] >= 0xC0 or block[end] == ord("\r"):
            return end
        if block[end] < 0x80:
            break
    return len(block)


def _decode(block: bytes, path: Path, offset: int, issues: ReadIssues) -> str:
    """Decode bytes that begin at an `offset` in the decompressed file. All line ends become \\n."""
    if not offset:
        start = skip_byte_order_mark(block)
        offset, block = len(block) - len(start), start
    text = decode_block(block, path, offset, issues)
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def decode_block(block: bytes, path: Path, offset: int, issues: ReadIssues) -> str:
    """Decode bytes that begin at an `offset` in the decompressed file. What is not UTF-8 is replaced and counted.

    Raises InputError if that is more than a tenth.
    """
    try:
        return block.decode()
    except UnicodeDecodeError:
        return _decode_invalid(block, path, offset, issues)


def _decode_invalid(block: bytes, path: Path, offset: int, issues: ReadIssues) -> str:
    text = block.decode(errors="replace")
    n = text.count("\ufffd") - block.count("\ufffd".encode())
    if n > 100 and n > len(text) / 10:
        raise InputError(
            f"{path} {NOT_TEXT}: {n:,} of {len(text):,} characters are invalid; {CONVERT.format('GB18030')}."
        )
    start = 0
    while n and len(issues.invalid_at) < MAX_NAMED:
        try:
            block[start:].decode()
            break
        except UnicodeDecodeError as error:
            issues.add_invalid(1, f"{path} at byte {offset + start + error.start:,}")
            start, n = start + error.end, n - 1
    issues.add_invalid(n, "")
    return text


def read_documents(path: Path, document: str, issues: ReadIssues) -> Iterator[str]:
    """Yield a file's documents, some of which may be blank.

    `document`: a "line", a "block" between blank lines, or the whole "file".
    """
    separator = SEPARATORS[document]
    for text in split_text(read_text(path, issues), separator, issues):
        yield BLANK_LINES.sub("", text).rstrip("\n") if document == "block" else text


def split_text(
    text: Iterable[str], separator: re.Pattern[str] | None, issues: ReadIssues, max_chars: int | None = None
) -> Iterator[str]:
    """Yield what lies between the separators of a text that comes in pieces, empty parts included.

    A part of more than `max_chars` (None: MAX_DOCUMENT_CHARS) is cut.
    """
    rest = ""
    for piece in text:
        *whole, rest = separator.split(rest + piece) if separator else [rest + piece]
        yield from whole
        *cut_off, rest = cut_text(rest, max_chars or MAX_DOCUMENT_CHARS, issues)
        yield from cut_off
    yield rest


def cut_text(text: str, max_chars: int, issues: ReadIssues) -> Iterator[str]:
    """Yield the text in parts of at most `max_chars`, cut between words where possible."""
    while len(text) > max_chars:
        end = max(text.rfind(char, max_chars // 2, max_chars) for char in "\n ") + 1 or max_chars
        issues.n_cut += 1
        yield text[:end]
        text = text[end:]
    yield text


def replace_surrogates(text: str, place: str, issues: ReadIssues) -> str:
    """Return the text with unpaired surrogates replaced, so that it can be written in UTF-8."""
    if text.isascii() or not SURROGATE.search(text):
        return text
    text, n = SURROGATE.subn("\ufffd", text)
    issues.add_invalid(n, place)
    return text
