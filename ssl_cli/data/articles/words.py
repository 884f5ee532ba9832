"""Words of a text, and a vocabulary of them."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

from ssl_cli.evaluation.metrics.rouge import SCRIPTS_WITHOUT_SPACES

# A word may have points, hyphens and the like inside: U.S, 4.5, rate-cut. A Chinese character is a word of its own.
LETTERS = rf"[^\W_{SCRIPTS_WITHOUT_SPACES}]+"
WORD = re.compile(rf"[{SCRIPTS_WITHOUT_SPACES}]|{LETTERS}(?:[.,'’/&-]{LETTERS})*")
WITHOUT_SPACES = re.compile(rf"[{SCRIPTS_WITHOUT_SPACES}]")
MAX_CHARS = 20_000  # of a text whose words are looked for


def words_of(text: str) -> list[str]:
    """Return the words of a text as they are spelled, without punctuation."""
    return WORD.findall(unicodedata.normalize("NFKC", text[:MAX_CHARS]))


def join_words(words: Sequence[str]) -> str:
    """Return words as a text: with spaces between them, but not between Chinese characters."""
    text = ""
    for word in words:
        is_joined = text and WITHOUT_SPACES.match(text[-1]) and WITHOUT_SPACES.match(word[0])
        text += word if is_joined or not text else f" {word}"
    return text


class WordVocabulary:
    """Words in lower case and their numbers. The last two numbers are END, of a text, and UNKNOWN, any other word."""

    def __init__(self, words: Iterable[str]):
        self.words = list(words)
        self.numbers = {word: number for number, word in enumerate(self.words)}
        self.end, self.unknown = len(self.words), len(self.words) + 1

    @classmethod
    def of_texts(cls, texts: Iterable[Sequence[str]]) -> "WordVocabulary":
        """Build from all words of texts, the most frequent first."""
        counts = Counter(word.lower() for words in texts for word in words)
        return cls(sorted(counts, key=lambda word: (-counts[word], word)))

    def __len__(self) -> int:
        return len(self.words) + 2

    def encode(self, words: Iterable[str]) -> list[int]:
        """Return the numbers of words."""
        return [self.numbers.get(word.lower(), self.unknown) for word in words]
