"""Fast tokenization by caching: the same tokens as from the `tokenizers` library alone, several times faster.

A tokenizer never merges across certain positions, such as the space between two words. So a text is split there, the
library encodes each distinct piece once, and the rest is lookups: texts repeat their words.
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
ASCII_WORD = r"++(?![^\x00-\x7f])"  # after ASCII letters: all of them, if no other letter follows
WORDS = rf"[A-Za-z0-9_]{ASCII_WORD}|[^{WHITE}]+"
PUNCTUATION = r"!-/:-@\[-`{-~"
BERT = rf"[{PUNCTUATION}]|[^ \t\n\r{PUNCTUATION}]+"
BERT_SPLIT_HAN = rf"[{PUNCTUATION}{HAN}]|[^ \t\n\r{PUNCTUATION}{HAN}]+"  # each Chinese character is a piece
# GPT-2's own pattern never crosses these: the last space of a run of white space belongs to the next word.
GPT2 = rf" ?[A-Za-z]{ASCII_WORD}| ?[^{WHITE}]+|[{WHITE}]+(?![^{WHITE}])|[{WHITE}]+"
METASPACE = rf"[{WHITE}]*[^{WHITE}]+|[{WHITE}]+"
ANY_CHARACTER = r"[\s\S]"
UNIGRAM_NORMALIZER: dict[str, Any] = {  # of the tokenizers that `trainers.Unigram` trains
    "type": "Sequence",
    "normalizers": [{"type": "NFKC"}, {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "}],
}
UNIGRAM_PRE_TOKENIZERS: list[dict[str, Any]] = [
    {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": True},
    {"type": "Punctuation", "behavior": "Isolated"},
]
SAFE_CUT = re.compile(rf"(?<=[^{WHITE}])[ \n](?=[^{WHITE}])")  # no pattern above crosses it
MAX_CACHED_PIECES, MAX_CACHED_CHARS = 1 << 19, 1 << 25  # beyond either, the cache is cleared


class CachedEncoder:
    """Encodes texts piece by piece and caches the pieces. Text that looks like a special token is ordinary text."""

    def __init__(self, library: tokenizers.Tokenizer):
        self.library, self.id_map = without_special_tokens(library), id_map(library)
        self.pattern = piece_pattern(json.loads(library.to_str()))
        self._reset()

    def _reset(self) -> None:
        self._ids = _PieceIds()
        self._tokens, self._starts, self._lengths = flatten([])
        self._n_characters = 0

    def encode(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return the tokens of all texts, (N,) uint32, and the number of tokens of each, (T,) int64."""
        if self.pattern is None:
            encodings = self.library.encode_batch_fast(texts, add_special_tokens=False)
            tokens, _, lengths = flatten([encoding.ids for encoding in encodings])
            return self.id_map[tokens], lengths
        pieces: list[str] = []
        n_pieces = [0]
        for text in texts:
            pieces += self.pattern.findall(text)
            n_pieces.append(len(pieces))
        piece_ids = self._piece_ids(pieces)  # (pieces,)
        lengths = self._lengths[piece_ids]
        stops = np.r_[0, np.cumsum(lengths)]
        positions = np.arange(stops[-1]) + np.repeat(self._starts[piece_ids] - stops[:-1], lengths)  # (N,)
        return self._tokens[positions], np.diff(stops[n_pieces])

    def _piece_ids(self, pieces: list[str]) -> np.ndarray:
        """Return the id of each piece, (pieces,), and encode new ones."""
        if len(self._ids) > MAX_CACHED_PIECES or self._n_characters > MAX_CACHED_CHARS:
            self._reset()
        piece_ids = np.fromiter(map(self._ids.__getitem__, pieces), np.int64, len(pieces))
        new, self._ids.new = self._ids.new, []
        encodings = self.library.encode_batch_fast(new, add_special_tokens=False)
        tokens, starts, lengths = flatten([encoding.ids for encoding in encodings])
        self._starts = np.r_[self._starts, starts + len(self._tokens)]
        self._lengths = np.r_[self._lengths, lengths]
        self._tokens = np.r_[self._tokens, self.id_map[tokens]]
        self._n_characters += sum(map(len, new))
        return piece_ids


class _PieceIds(dict[str, int]):
    """Piece -> id; a piece that is looked up for the first time gets the next id and is appended to `new`."""

    def __init__(self) -> None:
        super().__init__()
        self.new: list[str] = []

    def __missing__(self, piece: str) -> int:
        piece_id = self[piece] = len(self)
        self.new.append(piece)
        return piece_id


def without_special_tokens(library: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """Return the same tokenizer for text in which `[MASK]` is ordinary text."""
    plain = tokenizers.Tokenizer.from_str(library.to_str())
    plain.encode_special_tokens = True
    return plain


def id_map(library: tokenizers.Tokenizer) -> np.ndarray:
    """Return what each token that is found in ordinary text means there, (V,) uint32.

    Special tokens become unknown: a unigram model finds their names.
    """
    vocabulary = library.get_vocab(with_added_tokens=True)
    table = np.arange(max(vocabulary.values()) + 1, dtype=np.uint32)
    unknown = next((vocabulary[name] for name in ("[UNK]", "<unk>") if name in vocabulary), None)
    if unknown is not None:
        table[[token_id for token_id, token in library.get_added_tokens_decoder().items() if token.special]] = unknown
    return table


def flatten(lists: list[list[int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return lists of tokens as one array, (N,) uint32, with the start and length of each, (L,) int64."""
    lengths = np.fromiter(map(len, lists), np.int64, len(lists))
    tokens = np.fromiter((token for tokens in lists for token in tokens), np.uint32, int(lengths.sum()))
    return tokens, np.cumsum(lengths) - lengths, lengths


def piece_pattern(state: dict[str, Any]) -> re.Pattern[str] | None:
    """Return the pattern of the pieces of a tokenizer.json, or None if it may merge across any position."""
    pre_tokenizer, normalizer = state["pre_tokenizer"] or {}, state["normalizer"]
    if any(not token["special"] for token in state["added_tokens"]):
        return None
    pattern = None
    match pre_tokenizer.get("type"):
        case "BertPreTokenizer" if normalizer is None or normalizer["type"] == "BertNormalizer":
            pattern = BERT_SPLIT_HAN if normalizer and normalizer["handle_chinese_chars"] else BERT
        case "ByteLevel" if normalizer is None and pre_tokenizer["use_regex"] and not pre_tokenizer["add_prefix_space"]:
            pattern = GPT2
        case "Sequence" if (
            normalizer == UNIGRAM_NORMALIZER and pre_tokenizer["pretokenizers"] == UNIGRAM_PRE_TOKENIZERS
        ):
            pattern = METASPACE
        case "Whitespace" if normalizer is None or normalizer["type"] == "Lowercase":
            pattern = WORDS
        case "Split" if normalizer is None and pre_tokenizer["pattern"] == {"Regex": ANY_CHARACTER}:
            pattern = ANY_CHARACTER
    return re.compile(pattern) if pattern else None


def cut_between_words(text: str, max_chars: int = 1 << 20) -> Iterator[str]:
    """Yield a text in parts of about `max_chars` characters, cut between words: its tokens are those of its parts."""
    start = 0
    while len(text) - start > max_chars and (cut := SAFE_CUT.search(text, start + max_chars)):
        yield text[start : cut.start()]
        start = cut.start()
    yield text[start:] if start else text
