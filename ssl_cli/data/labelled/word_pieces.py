"""Tokenization of sentences word by word, which keeps track of each word's tokens; sentences split into windows."""

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from ssl_cli.data.tokenizers.tokenizer import Tokenizer

# Han, kana, and the punctuation and full-width letters used with them: written without spaces.
UNSPACED = re.compile("[\u2e80-\u312f\u31f0-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]")

# The words of a text, roughly as in treebanks (CoNLL-2003, Penn, UD English). Punctuation marks are separate words,
# except within a number (3.5), a word (e-mail, O'Neill, AT&T) or an abbreviation (U.S., Mr., J. Smith); n't and 's are
# separate, too. A letter is whatever is not punctuation: \w lacks the vowel signs of Hindi.
PUNCTUATION = r"!-/:-@\[-`{-~¡-©«-±´¶-¸»¿×÷،؛؟।॥\u2010-\u2027\u2030-\u205e\u20a0-\u20cf"
LETTER = rf"[^\s{PUNCTUATION}{UNSPACED.pattern[1:-1]}]"
CONTRACTION = r"['’](?i:s|m|d|ll|re|ve)(?!\w)"
WORD = re.compile(
    rf"""[A-Za-z]+://\S*[\w/]
    | (?!\s){UNSPACED.pattern}
    | (?:[^\W\d_]\.){{2,}}(?!\w) | [A-Z]\.(?=\s+[A-Z])
    | (?i:mr|mrs|ms|dr|prof|st|jr|sr|gen|gov|sen|rep|lt|col|inc|corp|ltd|co|vs|etc)\.(?!\w)
    | (?i:n['’]t)(?!\w) | {LETTER}+?(?=(?i:n['’]t)(?!\w)) | {CONTRACTION}
    | {LETTER}+(?:(?:(?!{CONTRACTION})[-'’&@_./:] | (?<=\d),(?=\d)){LETTER}+)*
    | \.{{2,}} | -{{2,}} | \S""",
    re.VERBOSE,
)


def split_words(text: str) -> list[str]:
    """Return the words and punctuation of a plain text; its characters, if more than half of the words are Chinese."""
    words = WORD.findall(text)
    n_chinese = sum(UNSPACED.match(word) is not None for word in words)
    return list("".join(words)) if 2 * n_chinese > len(words) else words


def add_spaces(words: Sequence[str]) -> list[str]:
    """Return each word with the space that is written before it.

    There is none at the beginning, beside Chinese characters, or if each word is a character.
    """
    if all(len(word) <= 1 for word in words) and any(map(UNSPACED.match, words)):
        return list(words)
    spaced = list(words[:1])
    for before, word in pairwise(words):
        joined = UNSPACED.match(before[-1:]) or UNSPACED.match(word)
        spaced.append(word if joined else f" {word}")
    return spaced


class WordTokenizer:
    """Tokens of words as `add_spaces` returns them, each word tokenized by itself.

    This is the tokenizers library's is_pretokenized, but keeps the space with which a byte-level tokenizer's word
    begins. A word without tokens becomes the unknown token, and is added to `untokenized`.
    """

    def __init__(self, tokenizer: Tokenizer, fallback_id: int, max_word_tokens: int, use_last_token: bool = False):
        """`fallback_id` stands for a word without tokens, if the tokenizer has no unknown token. A word is cut to
        `max_word_tokens`. `use_last_token`: a word's last token stands for it, not its first."""
        self.tokenizer, self.max_word_tokens, self.use_last_token = tokenizer, max_word_tokens, use_last_token
        self.fallback_id = tokenizer.specials.get("unk", fallback_id)
        self.tokens_by_word: dict[str, tuple[list[int], int]] = {}
        self.untokenized: set[str] = set()

    def add_words(self, words: Iterable[str]) -> None:
        """Tokenize those words that are new, in one batch. `tokens_of` needs it."""
        new = sorted(set(words) - self.tokens_by_word.keys())
        for word, encoding in zip(new, self.tokenizer.library.encode_batch(new, add_special_tokens=False), strict=True):
            self.tokens_by_word[word] = self._make_tokens(word, encoding.ids)

    def tokens_of(self, word: str) -> tuple[list[int], int]:
        """Return a word's tokens, and the index of the one that stands for it: the first that is not only a space."""
        return self.tokens_by_word[word]

    def _make_tokens(self, word: str, ids: list[int]) -> tuple[list[int], int]:
        if not ids:
            self.untokenized.add(word)
            return [self.fallback_id], 0
        begins_with_space = len(ids) > 1 and not self.tokenizer.decode(ids[:1]).strip()
        if begins_with_space and not word[:1].isspace():  # SentencePiece puts one before each word
            ids, begins_with_space = ids[1:], False
        ids = ids[: self.max_word_tokens]
        return ids, len(ids) - 1 if self.use_last_token else int(begins_with_space and len(ids) > 1)


def sentence_windows(lengths: Sequence[int], max_tokens: int) -> list[tuple[int, int, int, int]]:
    """Return windows (begin, first, last, end) that cover a sentence whose words have `lengths` tokens.

    A window reads the words from `begin` to `end`, at most `max_tokens` tokens, and predicts those from `first` to
    `last`, which have a quarter of a window as context on both sides. Each word is predicted in exactly one window. No
    word may have more than `max_tokens` tokens.
    """
    n, ends = len(lengths), np.r_[0, np.cumsum(lengths, dtype=np.int64)]
    if ends[-1] <= max_tokens:
        return [(0, 0, n, n)]
    windows, first, margin = [], 0, max_tokens // 4
    while first < n:
        begin = int(np.searchsorted(ends, ends[first] - margin))
        if ends[first + 1] - ends[begin] > max_tokens:
            begin = first
        end = int(np.searchsorted(ends, ends[begin] + max_tokens, "right")) - 1
        inner = int(np.searchsorted(ends, ends[end] - margin, "right")) - 1
        last = n if end == n else max(inner, first + 1)
        windows.append((begin, first, last, end))
        first = last
    return windows
