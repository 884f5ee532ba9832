"""A tokenizer: text <-> the numbers of its tokens."""

from functools import cached_property
from pathlib import Path

import numpy as np
import tokenizers

from ssl_cli.data.pieces import Pieces
from ssl_cli.data.saved import LARGEST_FILE
from ssl_cli.data.token_kinds import token_kinds
from ssl_cli.errors import InputError

ROLES = {  # of special tokens -> what ours, BERT's, RoBERTa's and GPT-2's tokenizers call them
    "pad": ("[PAD]", "<pad>"),
    "unk": ("[UNK]", "<unk>"),
    "cls": ("[CLS]", "<s>", "<cls>"),
    "sep": ("[SEP]", "</s>", "<sep>"),
    "mask": ("[MASK]", "<mask>"),
    "end": ("<|endoftext|>", "[SEP]", "</s>", "<sep>"),
}


class Tokenizer:
    """A tokenizer of the `tokenizers` library, and what pretraining asks of its vocabulary.

    `specials`: role (pad, unk, cls, sep, mask, end) -> number, of those that it has; `end` follows every document.
    """

    def __init__(self, library: tokenizers.Tokenizer):
        library.no_padding()
        library.no_truncation()
        self.library = library
        vocabulary = library.get_vocab(with_added_tokens=True)
        self.vocab_size = max(vocabulary.values(), default=-1) + 1  # a vocabulary from elsewhere may have gaps
        known = {token.content for token in library.get_added_tokens_decoder().values() if token.special}
        named = {role: next((name for name in names if name in known), None) for role, names in ROLES.items()}
        self.specials = {role: vocabulary[name] for role, name in named.items() if name}

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, in which `[MASK]` and the like mean the special tokens; none is added."""
        return self.library.encode(text, add_special_tokens=False).ids

    def encode_all(self, texts: list[str]) -> list[np.ndarray]:
        """The tokens of each text (n,) uint32, of text alone: what looks like a special token is none."""
        tokens, length = self._pieces.encode(texts)
        return np.split(tokens, np.cumsum(length)[:-1]) if texts else []

    def decode(self, ids: list[int] | np.ndarray) -> str:
        """The text of tokens, special ones too. Byte-level and character tokenizers give back what was encoded."""
        return self.library.decode([int(number) for number in ids], skip_special_tokens=False)

    def token(self, number: int) -> str:
        """How the vocabulary writes a token; empty where it has none of this number"""
        return self.library.id_to_token(int(number)) or ""

    @cached_property
    def _pieces(self) -> Pieces:
        return Pieces(self.library)

    @cached_property
    def _kinds(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return token_kinds(self.library, self.vocab_size)

    @property
    def word_starts(self) -> np.ndarray:
        """(V,) bool: the token begins a word, wherever it stands"""
        return self._kinds[0]

    @property
    def word_ends(self) -> np.ndarray:
        """(V,) bool: whatever follows the token begins a word"""
        return self._kinds[1]

    @property
    def sentence_ends(self) -> np.ndarray:
        """(V,) bool: the token ends a sentence, by . ! ? or the Chinese signs for them"""
        return self._kinds[2]

    def starts(self, ids: np.ndarray) -> np.ndarray:
        """(N,) bool: which tokens of a running text begin a word; the first one does"""
        found = self.word_starts[ids]
        found[1:] |= self.word_ends[ids[:-1]]
        found[:1] = True
        return found

    def to_json(self) -> str:
        return self.library.to_str(pretty=True)

    def save(self, path: Path) -> None:
        """As a tokenizer.json, which transformers reads too."""
        path.write_text(self.to_json(), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "Tokenizer":
        """From a tokenizer.json. Raises InputError where it is none."""
        try:
            if path.stat().st_size > LARGEST_FILE:
                raise InputError(f"{path} is damaged: it has more than {LARGEST_FILE:,} bytes.")
            return cls.from_json(path.read_text(encoding="utf-8"))
        except InputError:
            raise
        except Exception as error:  # the library raises bare Exceptions
            raise InputError(f"{path} is no tokenizer.json that can be read: {error}.") from error

    @classmethod
    def from_json(cls, text: str) -> "Tokenizer":
        return cls(tokenizers.Tokenizer.from_str(text))
