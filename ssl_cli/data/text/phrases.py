"""Phrases to mask as a whole: words or entities from a list, such as Chinese words or ERNIE's entities."""

from pathlib import Path

import numpy as np

from ssl_cli.errors import InputError

OUTSIDE, BEGIN, INSIDE = 0, 1, 2  # tags of characters, as in IOB tagging


class PhraseMatcher:
    """Finds the listed phrases in a text: from left to right, the longest that begins at each position.

    If a phrase begins or ends with a letter that is not Chinese, no further letter may be next to it: `art` does not
    match in `party`.
    """

    def __init__(self, phrases: list[str]):
        self.phrases = {phrase for phrase in phrases if len(phrase) > 1}
        lengths: dict[str, set[int]] = {}
        for phrase in self.phrases:
            lengths.setdefault(phrase[:2], set()).add(len(phrase))
        self._lengths = {prefix: sorted(sizes, reverse=True) for prefix, sizes in lengths.items()}

    @classmethod
    def read(cls, path: Path) -> "PhraseMatcher":
        """Read a UTF-8 file of one phrase per line. Raises InputError if it can't be read or is empty."""
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"data.phrases={path} can't be read: {error}; it must be a UTF-8 text file.") from error
        phrases = [line.strip() for line in lines if line.strip()]
        if not phrases:
            raise InputError(f"data.phrases={path} is empty: it must list one word or entity per line.")
        return cls(phrases)

    def tag_spans(self, text: str) -> np.ndarray:
        """Return the tag of each character, (characters,) uint8: a phrase begins there, continues there, or neither."""
        tags = np.zeros(len(text), np.uint8)
        position = 0
        while position < len(text) - 1:
            length = self._longest_match(text, position)
            if length:
                tags[position], tags[position + 1 : position + length] = BEGIN, INSIDE
            position += length or 1
        return tags

    def _longest_match(self, text: str, start: int) -> int:
        """Return the number of characters of the longest phrase at a position, or 0 if there is none."""
        for length in self._lengths.get(text[start : start + 2], ()):
            end = start + length
            if text[start:end] in self.phrases and _is_word_boundary(text, start) and _is_word_boundary(text, end):
                return length
        return 0


def _is_word_boundary(text: str, position: int) -> bool:
    """Return whether no word continues across a position."""
    if not 0 < position < len(text):
        return True
    before, after = text[position - 1], text[position]
    return not (before.isalnum() and after.isalnum() and before < "\u2e80" and after < "\u2e80")
