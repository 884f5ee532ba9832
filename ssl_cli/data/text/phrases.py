"""Units: words or entities from a list, which are masked as a whole (Chinese words, ERNIE's entities)."""

from pathlib import Path

import numpy as np

from ssl_cli.errors import InputError

OUTSIDE, BEGIN, WITHIN = 0, 1, 2


class PhraseMatcher:
    """Finds the listed phrases in a text: from left to right, the longest that begins at each place.

    Where a phrase begins or ends with a letter that is not Chinese, no further letter may be beside it: `art` is not
    found in `party`.
    """

    def __init__(self, phrases: list[str]):
        self.phrases = {phrase for phrase in phrases if len(phrase) > 1}
        lengths: dict[str, set[int]] = {}
        for phrase in self.phrases:
            lengths.setdefault(phrase[:2], set()).add(len(phrase))
        self._lengths = {start: sorted(found, reverse=True) for start, found in lengths.items()}

    @classmethod
    def read(cls, path: Path) -> "PhraseMatcher":
        """From a file of one a line, in UTF-8. Raises InputError where there is none."""
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"data.phrases={path} can't be read: {error}; it must be a text in UTF-8.") from error
        phrases = [line.strip() for line in lines if line.strip()]
        if not phrases:
            raise InputError(f"data.phrases={path} is empty: it must list a word or an entity a line.")
        return cls(phrases)

    def mark(self, text: str) -> np.ndarray:
        """(characters,) uint8: a unit begins there, goes on there, or neither"""
        marks = np.zeros(len(text), np.uint8)
        place = 0
        while place < len(text) - 1:
            length = self._longest(text, place)
            if length:
                marks[place], marks[place + 1 : place + length] = BEGIN, WITHIN
            place += length or 1
        return marks

    def _longest(self, text: str, place: int) -> int:
        """Characters of the longest phrase at a place; 0 where there is none"""
        for length in self._lengths.get(text[place : place + 2], ()):
            end = place + length
            if text[place:end] in self.phrases and _parted(text, place) and _parted(text, end):
                return length
        return 0


def _parted(text: str, place: int) -> bool:
    """Whether no word goes on across a place"""
    if not 0 < place < len(text):
        return True
    before, after = text[place - 1], text[place]
    return not (before.isalnum() and after.isalnum() and before < "\u2e80" and after < "\u2e80")
