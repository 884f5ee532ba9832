"""Files of any size -> their text, piece by piece -> documents. Faults of UTF-8 are replaced, counted, and named."""

import codecs
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ssl_cli.data.io.files import blocks
from ssl_cli.errors import InputError

LONGEST = 1 << 22  # characters of a document: a longer one is cut, so that memory stays bounded
NAMED = 5  # faults that are named; the others are counted
LINE = re.compile("\n")
SEPARATORS = {"line": LINE, "block": re.compile(r"\n(?:[^\S\n]*\n)+"), "file": None}
BLANK_LINES = re.compile(r"\A(?:[^\S\n]*\n)+")
SURROGATE = re.compile("[\ud800-\udfff]")  # halves of a character, which JSON can spell and UTF-8 can't
NOT_TEXT = "is no text in UTF-8"
CONVERT = "convert it, for example by iconv -f {} -t UTF-8"


@dataclass
class ReadIssues:
    """What was not as it should be in the text read so far, counted; the first few of each kind are named."""

    n_bytes: int = 0
    bytes_at: list[str] = field(default_factory=list)
    n_skipped: int = 0
    skipped: list[str] = field(default_factory=list)
    n_cut: int = 0

    def clear(self) -> None:
        self.__init__()  # type: ignore[misc]  # whoever holds it sees the new count

    def skip(self, reason: str) -> None:
        """A record is left out: `a.jsonl, line 3: it is no JSON`."""
        self.n_skipped += 1
        if len(self.skipped) < NAMED:
            self.skipped.append(reason)

    def replace(self, n: int, place: str) -> None:
        """`n` faults of UTF-8 have been replaced, the first of them at a `place` (empty: it isn't known)."""
        self.n_bytes += n
        if place and len(self.bytes_at) < NAMED:
            self.bytes_at.append(place)

    def sentences(self) -> list[str]:
        """A sentence for each kind of fault there was."""
        told = []
        if self.n_bytes:
            named = _some(self.bytes_at, self.n_bytes)
            told.append(f"{self.n_bytes:,} fault(s) of UTF-8 replaced by the sign \ufffd: {named}.")
        if self.n_skipped:
            told.append(f"{self.n_skipped:,} record(s) left out: {_some(self.skipped, self.n_skipped)}.")
        if self.n_cut:
            told.append(f"Documents of more than {LONGEST:,} characters were cut, in {self.n_cut:,} place(s).")
        return told


def _some(named: list[str], n: int) -> str:
    more = f"; and {n - len(named):,} more" if n > len(named) else ""
    return "; ".join(named) + more


def pieces(path: Path, faults: ReadIssues) -> Iterator[str]:
    """A file's text, which ends its lines by \\n alone, in pieces of whole lines (but for a line of megabytes).

    Raises InputError where it can't be read, or is not in UTF-8 at all.
    """
    rest, place = b"", 0  # the bytes not yet given, and where they begin
    for block in blocks(path):
        block = rest + block
        end = block.rfind(b"\n") + 1 or _whole_characters(block)
        yield _text(block[:end], path, place, faults)
        rest, place = block[end:], place + end
    yield _text(rest, path, place, faults)


def _whole_characters(block: bytes) -> int:
    """Where the last character of a block begins, or where it ends, if nothing can follow that belongs to it."""
    for end in range(len(block) - 1, max(len(block) - 5, -1), -1):
        if block[end] >= 0xC0 or block[end] == ord("\r"):
            return end
        if block[end] < 0x80:
            break
    return len(block)


def _text(block: bytes, path: Path, place: int, faults: ReadIssues) -> str:
    """Bytes, which begin at a `place` of the (unpacked) file, as text."""
    if not place:
        if block.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise InputError(f"{path} {NOT_TEXT}: it begins as UTF-16 does; {CONVERT.format('UTF-16')}.")
        place = len(codecs.BOM_UTF8) if block.startswith(codecs.BOM_UTF8) else 0
        block = block[place:]
    try:
        text = block.decode()
    except UnicodeDecodeError:
        text = _replaced(block, path, place, faults)
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _replaced(block: bytes, path: Path, place: int, faults: ReadIssues) -> str:
    text = block.decode(errors="replace")
    n = text.count("\ufffd") - block.count("\ufffd".encode())
    if n > 100 and n > len(text) / 10:
        raise InputError(f"{path} {NOT_TEXT}: {n:,} of {len(text):,} characters are none; {CONVERT.format('GB18030')}.")
    start = 0
    while n and len(faults.bytes_at) < NAMED:
        try:
            block[start:].decode()
            break
        except UnicodeDecodeError as error:
            faults.replace(1, f"{path} at byte {place + start + error.start:,}")
            start, n = start + error.end, n - 1
    faults.replace(n, "")
    return text


def documents_of(path: Path, document: str, faults: ReadIssues) -> Iterator[str]:
    """A file's lines, its blocks between blank lines, or its whole text. Some may be blank."""
    separator = SEPARATORS[document]
    for text in parted(pieces(path, faults), separator, faults):
        yield BLANK_LINES.sub("", text).rstrip("\n") if document == "block" else text


def parted(
    text: Iterable[str], separator: re.Pattern[str] | None, faults: ReadIssues, longest: int | None = None
) -> Iterator[str]:
    """A text that comes in pieces -> what lies between the separators, also where that is empty.

    What is longer than `longest` (None: LONGEST) is cut.
    """
    rest = ""
    for piece in text:
        *whole, rest = separator.split(rest + piece) if separator else [rest + piece]
        yield from whole
        *cut_off, rest = cut(rest, longest or LONGEST, faults)
        yield from cut_off
    yield rest


def cut(text: str, longest: int, faults: ReadIssues) -> Iterator[str]:
    """The text in parts that aren't too long, between words where there are any."""
    while len(text) > longest:
        end = max(text.rfind(sign, longest // 2, longest) for sign in "\n ") + 1 or longest
        faults.n_cut += 1
        yield text[:end]
        text = text[end:]
    yield text


def without_surrogates(text: str, place: str, faults: ReadIssues) -> str:
    """A text that can be written in UTF-8."""
    if text.isascii() or not SURROGATE.search(text):
        return text
    text, n = SURROGATE.subn("\ufffd", text)
    faults.replace(n, place)
    return text
