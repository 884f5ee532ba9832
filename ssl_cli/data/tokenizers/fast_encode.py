"""Text -> tokens, several times faster than by the `tokenizers` library alone, and the same tokens.

A tokenizer never looks across certain places, such as the space between two words. So a text is cut there, each
different piece is encoded once by the library, and the rest is looking up: texts repeat their words.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import tokenizers

WHITE = (
    r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"  # Unicode's White_Space; Python's \s has more
)
HAN = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
ASCII_WORD = r"++(?![^\x00-\x7f])"  # after ASCII letters: all of them, and no other letter follows
WORDS = rf"[A-Za-z0-9_]{ASCII_WORD}|[^{WHITE}]+"
SIGNS = r"!-/:-@\[-`{-~"
BERT = rf"[{SIGNS}]|[^ \t\n\r{SIGNS}]+"
BERT_OF_HAN = rf"[{SIGNS}{HAN}]|[^ \t\n\r{SIGNS}{HAN}]+"  # its Chinese characters stand apart
# What GPT-2's own pattern never looks across: a run of white space ends where its last space goes to the next word.
GPT2 = rf" ?[A-Za-z]{ASCII_WORD}| ?[^{WHITE}]+|[{WHITE}]+(?![^{WHITE}])|[{WHITE}]+"
METASPACE = rf"[{WHITE}]*[^{WHITE}]+|[{WHITE}]+"
CHARACTERS = r"[\s\S]"
COLLAPSED: dict[str, Any] = {  # the normaliser of our unigram tokenizer
    "type": "Sequence",
    "normalizers": [{"type": "NFKC"}, {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "}],
}
SIGNS_APART: list[dict[str, Any]] = [  # and what cuts its texts
    {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": True},
    {"type": "Punctuation", "behavior": "Isolated"},
]
SEAM = re.compile(rf"(?<=[^{WHITE}])[ \n](?=[^{WHITE}])")  # no pattern above looks across it
MOST_PIECES, MOST_CHARACTERS = 1 << 19, 1 << 25  # remembered, before it is begun anew


class CachedEncoder:
    """Encodes texts, piece by remembered piece. What looks like a special token is text like any other."""

    def __init__(self, library: tokenizers.Tokenizer):
        self.library, self.id_map = without_special_tokens(library), id_map(library)
        self.pattern = pattern(json.loads(library.to_str()))
        self._forget()

    def _forget(self) -> None:
        self._numbers = _Numbers()
        self._tokens, self._start, self._length = ragged([])
        self._n_characters = 0

    def encode(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """The tokens of all texts (N,) uint32, and how many each has (T,) int64"""
        if self.pattern is None:
            found = self.library.encode_batch_fast(texts, add_special_tokens=False)
            tokens, _, length = ragged([one.ids for one in found])
            return self.id_map[tokens], length
        pieces: list[str] = []
        n_pieces = [0]
        for text in texts:
            pieces += self.pattern.findall(text)
            n_pieces.append(len(pieces))
        number = self._numbered(pieces)  # (pieces,)
        length = self._length[number]
        stop = np.r_[0, np.cumsum(length)]
        place = np.arange(stop[-1]) + np.repeat(self._start[number] - stop[:-1], length)  # (N,)
        return self._tokens[place], np.diff(stop[n_pieces])

    def _numbered(self, pieces: list[str]) -> np.ndarray:
        """(pieces,) the number of each; new ones are encoded."""
        if len(self._numbers) > MOST_PIECES or self._n_characters > MOST_CHARACTERS:
            self._forget()
        number = np.fromiter(map(self._numbers.__getitem__, pieces), np.int64, len(pieces))
        new, self._numbers.new = self._numbers.new, []
        found = self.library.encode_batch_fast(new, add_special_tokens=False)
        tokens, start, length = ragged([one.ids for one in found])
        self._start = np.r_[self._start, start + len(self._tokens)]
        self._length = np.r_[self._length, length]
        self._tokens = np.r_[self._tokens, self.id_map[tokens]]
        self._n_characters += sum(map(len, new))
        return number


class _Numbers(dict[str, int]):
    """Piece -> its number; a new one gets the next, and is put down in `new`."""

    def __init__(self) -> None:
        super().__init__()
        self.new: list[str] = []

    def __missing__(self, piece: str) -> int:
        number = self[piece] = len(self)
        self.new.append(piece)
        return number


def without_special_tokens(library: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """The same tokenizer for text in which `[MASK]` means nothing but its letters"""
    plain = tokenizers.Tokenizer.from_str(library.to_str())
    plain.encode_special_tokens = True
    return plain


def id_map(library: tokenizers.Tokenizer) -> np.ndarray:
    """(V,) uint32: what each token found in a text means there. A unigram model finds its special tokens' names."""
    vocabulary = library.get_vocab(with_added_tokens=True)
    table = np.arange(max(vocabulary.values()) + 1, dtype=np.uint32)
    unknown = next((vocabulary[name] for name in ("[UNK]", "<unk>") if name in vocabulary), None)
    if unknown is not None:
        table[[number for number, token in library.get_added_tokens_decoder().items() if token.special]] = unknown
    return table


def ragged(lists: list[list[int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lists of tokens as one array (N,) uint32, where each begins and how long it is (L,) int64"""
    length = np.fromiter(map(len, lists), np.int64, len(lists))
    tokens = np.fromiter((token for one in lists for token in one), np.uint32, int(length.sum()))
    return tokens, np.cumsum(length) - length, length


def pattern(state: dict[str, Any]) -> re.Pattern[str] | None:
    """What finds the pieces of a tokenizer.json's texts; None where it may look across any place."""
    cutter, normalizer = state["pre_tokenizer"] or {}, state["normalizer"]
    if any(not token["special"] for token in state["added_tokens"]):
        return None
    how = None
    match cutter.get("type"):
        case "BertPreTokenizer" if normalizer is None or normalizer["type"] == "BertNormalizer":
            how = BERT_OF_HAN if normalizer and normalizer["handle_chinese_chars"] else BERT
        case "ByteLevel" if normalizer is None and cutter["use_regex"] and not cutter["add_prefix_space"]:
            how = GPT2
        case "Sequence" if normalizer == COLLAPSED and cutter["pretokenizers"] == SIGNS_APART:
            how = METASPACE
        case "Whitespace" if normalizer is None or normalizer["type"] == "Lowercase":
            how = WORDS
        case "Split" if normalizer is None and cutter["pattern"] == {"Regex": CHARACTERS}:
            how = CHARACTERS
    return re.compile(how) if how else None


def cut(text: str, most: int = 1 << 20) -> Iterator[str]:
    """A text in parts of about `most` characters, between words: the tokens of its parts are its tokens."""
    start = 0
    while len(text) - start > most and (found := SEAM.search(text, start + most)):
        yield text[start : found.start()]
        start = found.start()
    yield text[start:] if start else text
