"""Words -> tokens, each word by itself, so that it is known which token a word begins with; sentences -> windows."""

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from ssl_cli.data.tokenizers.tokenizer import Tokenizer

# Han, kana, and the signs and wide letters that stand among them: written without blanks.
WITHOUT_BLANKS = re.compile("[\u2e80-\u312f\u31f0-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]")

# A text's words, roughly as the treebanks part them (CoNLL-2003, Penn, UD English): marks are words of their own, but
# for those within a number (3.5), a word (e-mail, O'Neill, AT&T) or an abbreviation (U.S., Mr., J. Smith); so are n't
# and 's. A letter is all that is no mark: \w lacks the vowel signs of Hindi.
MARKS = r"!-/:-@\[-`{-~¡-©«-±´¶-¸»¿×÷،؛؟।॥\u2010-\u2027\u2030-\u205e\u20a0-\u20cf"
LETTER = rf"[^\s{MARKS}{WITHOUT_BLANKS.pattern[1:-1]}]"
ENDING = r"['’](?i:s|m|d|ll|re|ve)(?!\w)"
WORD = re.compile(
    rf"""[A-Za-z]+://\S*[\w/]
    | (?!\s){WITHOUT_BLANKS.pattern}
    | (?:[^\W\d_]\.){{2,}}(?!\w) | [A-Z]\.(?=\s+[A-Z])
    | (?i:mr|mrs|ms|dr|prof|st|jr|sr|gen|gov|sen|rep|lt|col|inc|corp|ltd|co|vs|etc)\.(?!\w)
    | (?i:n['’]t)(?!\w) | {LETTER}+?(?=(?i:n['’]t)(?!\w)) | {ENDING}
    | {LETTER}+(?:(?:(?!{ENDING})[-'’&@_./:] | (?<=\d),(?=\d)){LETTER}+)*
    | \.{{2,}} | -{{2,}} | \S""",
    re.VERBOSE,
)


def words_of(text: str) -> list[str]:
    """The words and marks of a plain text; its characters, where more than half of these are Chinese."""
    words = WORD.findall(text)
    n_chinese = sum(WITHOUT_BLANKS.match(word) is not None for word in words)
    return list("".join(words)) if 2 * n_chinese > len(words) else words


def spelled(words: Sequence[str]) -> list[str]:
    """Each word with the blank before it, where one is written: not at the beginning, nor beside Chinese characters,
    nor where each word is a character."""
    if all(len(word) <= 1 for word in words) and any(map(WITHOUT_BLANKS.match, words)):
        return list(words)
    spelled = list(words[:1])
    for before, word in pairwise(words):
        joined = WITHOUT_BLANKS.match(before[-1:]) or WITHOUT_BLANKS.match(word)
        spelled.append(word if joined else f" {word}")
    return spelled


class WordTokenizer:
    """The tokens of words as `spelled` gives them, each as if it stood alone: what transformers calls is_pretokenized,
    but for the blank, which a byte-level tokenizer's word begins with.

    A word that becomes no token is the unknown token, and counted in `vanished`.
    """

    def __init__(self, tokenizer: Tokenizer, instead: int, longest: int, at_last: bool = False):
        """`instead`: for a word without tokens, where none is the unknown one; `longest`: tokens of a word at most;
        `at_last`: its last token stands for a word, not its first."""
        self.tokenizer, self.longest, self.at_last = tokenizer, longest, at_last
        self.unknown = tokenizer.specials.get("unk", instead)
        self.known: dict[str, tuple[list[int], int]] = {}
        self.vanished: set[str] = set()

    def learn(self, words: Iterable[str]) -> None:
        """Words that are to be asked for, each once."""
        new = sorted(set(words) - self.known.keys())
        for word, encoding in zip(new, self.tokenizer.library.encode_batch(new, add_special_tokens=False), strict=True):
            self.known[word] = self._tokens(word, encoding.ids)

    def of(self, word: str) -> tuple[list[int], int]:
        """Its tokens, and which of them stands for the word: the first that is more than a blank"""
        return self.known[word]

    def _tokens(self, word: str, ids: list[int]) -> tuple[list[int], int]:
        if not ids:
            self.vanished.add(word)
            return [self.unknown], 0
        opens_blank = len(ids) > 1 and not self.tokenizer.decode(ids[:1]).strip()
        if opens_blank and not word[:1].isspace():  # SentencePiece puts one before each word
            ids, opens_blank = ids[1:], False
        ids = ids[: self.longest]
        return ids, len(ids) - 1 if self.at_last else int(opens_blank and len(ids) > 1)


def windows(lengths: Sequence[int], room: int) -> list[tuple[int, int, int, int]]:
    """How a sentence with so many tokens a word is read in windows of so many tokens: in each the words `begin` to
    `end` are read, and those from `first` to `last` answered, which have a quarter of a window beside them on both
    sides; each word is answered in one window. No word may have more than `room` tokens."""
    n, ends = len(lengths), np.r_[0, np.cumsum(lengths, dtype=np.int64)]
    if ends[-1] <= room:
        return [(0, 0, n, n)]
    found, first, margin = [], 0, room // 4
    while first < n:
        begin = int(np.searchsorted(ends, ends[first] - margin))
        if ends[first + 1] - ends[begin] > room:
            begin = first
        end = int(np.searchsorted(ends, ends[begin] + room, "right")) - 1
        inner = int(np.searchsorted(ends, ends[end] - margin, "right")) - 1
        last = n if end == n else max(inner, first + 1)
        found.append((begin, first, last, end))
        first = last
    return found
