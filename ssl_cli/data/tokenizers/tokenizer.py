"""A tokenizer: text <-> the numbers of its tokens."""

import json
from functools import cached_property
from pathlib import Path

import numpy as np
import tokenizers
from tokenizers import processors

from ssl_cli.data.tokenizers.token_classes import BYTE_OF, token_classes
from ssl_cli.data.tokenizers.validation import read_library

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

    def decode(self, ids: list[int] | np.ndarray) -> str:
        """The text of tokens, special ones too. Byte-level and character tokenizers give back what was encoded."""
        return self.library.decode([int(number) for number in ids], skip_special_tokens=False)

    def token(self, number: int) -> str:
        """How the vocabulary writes a token; empty where it has none of this number"""
        return self.library.id_to_token(int(number)) or ""

    @property
    def unwritten(self) -> list[int]:
        """Special tokens that no text is written with: all but what ends it"""
        special = [number for number, token in self.library.get_added_tokens_decoder().items() if token.special]
        return sorted(set(special) - {self.specials.get("end")})

    @cached_property
    def is_byte_level(self) -> bool:
        """Whether its tokens are pieces of UTF-8, which the vocabulary writes by a letter a byte"""
        return (json.loads(self.library.to_str())["decoder"] or {}).get("type") == "ByteLevel"

    @cached_property
    def is_lossless(self) -> bool:
        """Whether a text comes back from its tokens as it was, where none is unknown: they are bytes or characters"""
        state = json.loads(self.library.to_str())
        decoder, cutter = ((state[part] or {}) for part in ("decoder", "pre_tokenizer"))
        if state["normalizer"] is not None:
            return False
        if decoder.get("type") == "ByteLevel":
            return BYTE_OF.keys() <= self.library.get_vocab().keys()
        return decoder.get("type") == "Fuse" and cutter.get("behavior") == "Isolated"

    @cached_property
    def _kinds(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return token_classes(self.library, self.vocab_size)

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
        """From a tokenizer.json, which may be a stranger's. Raises InputError where it is none, or no harmless one."""
        return cls(read_library(path))

    @classmethod
    def from_json(cls, text: str) -> "Tokenizer":
        return cls(tokenizers.Tokenizer.from_str(text))


def framing(cls: tuple[str, int], sep: tuple[str, int]) -> processors.TemplateProcessing:
    """What transformers puts around a text, or two: [CLS] TEXT [SEP] and [CLS] FIRST [SEP] SECOND [SEP], as BERT."""
    return processors.TemplateProcessing(
        single=f"{cls[0]} $A {sep[0]}", pair=f"{cls[0]} $A {sep[0]} $B:1 {sep[0]}:1", special_tokens=[cls, sep]
    )
