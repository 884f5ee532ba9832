"""Tokenizer: text <-> token ids, and the properties of its vocabulary."""

import json
from collections.abc import Iterable
from functools import cached_property
from itertools import count, takewhile
from pathlib import Path

import numpy as np
import tokenizers
from tokenizers import processors

from ssl_cli.data.tokenizers.token_classes import BYTE_OF, token_classes
from ssl_cli.data.tokenizers.validation import read_library

ROLES = {  # role of a special token -> its names in the tokenizers of this project, BERT, RoBERTa and GPT-2
    "pad": ("[PAD]", "<pad>"),
    "unk": ("[UNK]", "<unk>"),
    "cls": ("[CLS]", "<s>", "<cls>"),
    "sep": ("[SEP]", "</s>", "<sep>"),
    "mask": ("[MASK]", "<mask>"),
    "end": ("<|endoftext|>", "[SEP]", "</s>", "<sep>"),
}
SENTINEL = "<extra_id_{}>"  # T5's name of the token that stands for the first, second, ... missing span


class Tokenizer:
    """A tokenizer of the `tokenizers` library, with what training and generation need to know of its vocabulary.

    `specials`: role (pad, unk, cls, sep, mask, end) -> id of the special tokens it has; `end` follows every document.
    `sentinels`: ids of <extra_id_0>, <extra_id_1>, ..., in this order, whatever that of the ids; T5's count downwards.
    """

    def __init__(self, library: tokenizers.Tokenizer):
        library.no_padding()
        library.no_truncation()
        self.library = library
        vocabulary = library.get_vocab(with_added_tokens=True)
        self.vocab_size = max(vocabulary.values(), default=-1) + 1  # the ids of a published vocabulary may have gaps
        special = {token.content for token in library.get_added_tokens_decoder().values() if token.special}
        names_by_role = {role: next((name for name in names if name in special), None) for role, names in ROLES.items()}
        self.specials = {role: vocabulary[name] for role, name in names_by_role.items() if name}
        sentinels = takewhile(special.__contains__, map(SENTINEL.format, count()))
        self.sentinels = [vocabulary[name] for name in sentinels]

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text. `[MASK]` and the like are read as special tokens; no special token is added."""
        return self.library.encode(text, add_special_tokens=False).ids

    def encode_inside(self, texts: Iterable[str]) -> list[list[int]]:
        """Return the tokens of each text as in the middle of another; no special token is added.

        For byte-level tokens the first word of a text is another one there: it has a space before it.
        """
        before = " " if self.is_byte_level else ""
        spaced = [before + text if text else "" for text in texts]
        return [encoding.ids for encoding in self.library.encode_batch_fast(spaced, False, False)]

    def decode(self, ids: list[int] | np.ndarray) -> str:
        """Return the text of tokens, special ones included. Byte-level and character tokenizers lose nothing."""
        return self.library.decode([int(token_id) for token_id in ids], skip_special_tokens=False)

    def token(self, token_id: int) -> str:
        """Return a token as written in the vocabulary, or "" if there is none with this id."""
        return self.library.id_to_token(int(token_id)) or ""

    @property
    def special_ids_except_end(self) -> list[int]:
        """Return the special tokens that generated text must not contain: all except its end."""
        special = [token_id for token_id, token in self.library.get_added_tokens_decoder().items() if token.special]
        return sorted(set(special) - {self.specials.get("end")})

    @cached_property
    def is_byte_level(self) -> bool:
        """Return whether tokens are sequences of UTF-8 bytes, which the vocabulary writes as one letter each."""
        return (json.loads(self.library.to_str())["decoder"] or {}).get("type") == "ByteLevel"

    @cached_property
    def is_lossless(self) -> bool:
        """Return whether decoding gives back any text without unknown tokens: tokens are bytes or characters."""
        state = json.loads(self.library.to_str())
        decoder, pre_tokenizer = ((state[step] or {}) for step in ("decoder", "pre_tokenizer"))
        if state["normalizer"] is not None:
            return False
        if decoder.get("type") == "ByteLevel":
            return BYTE_OF.keys() <= self.library.get_vocab().keys()
        return decoder.get("type") == "Fuse" and pre_tokenizer.get("behavior") == "Isolated"

    @cached_property
    def _token_classes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return token_classes(self.library, self.vocab_size)

    @property
    def word_starts(self) -> np.ndarray:
        """Return whether each token begins a word in any context, (V,) bool."""
        return self._token_classes[0]

    @property
    def word_ends(self) -> np.ndarray:
        """Return whether anything that follows a token begins a word, (V,) bool."""
        return self._token_classes[1]

    @property
    def sentence_ends(self) -> np.ndarray:
        """Return whether each token ends a sentence, by . ! ? or their Chinese counterparts, (V,) bool."""
        return self._token_classes[2]

    def find_word_starts(self, ids: np.ndarray) -> np.ndarray:
        """Return which tokens of a text begin a word, (N,) bool; the first one always does."""
        starts = self.word_starts[ids]
        starts[1:] |= self.word_ends[ids[:-1]]
        starts[:1] = True
        return starts

    def to_json(self) -> str:
        """Return the content of a tokenizer.json."""
        return self.library.to_str(pretty=True)

    def save(self, path: Path) -> None:
        """Write a tokenizer.json, which transformers can read."""
        path.write_text(self.to_json(), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "Tokenizer":
        """Read a tokenizer.json, which may be untrusted. Raises InputError if it is damaged or not safe to use."""
        return cls(read_library(path))

    @classmethod
    def from_json(cls, text: str) -> "Tokenizer":
        """Return the tokenizer that `to_json` wrote; the text must be trusted."""
        return cls(tokenizers.Tokenizer.from_str(text))


def bert_template(cls: tuple[str, int], sep: tuple[str, int]) -> processors.TemplateProcessing:
    """Return BERT's template of one or two texts: [CLS] TEXT [SEP] and [CLS] FIRST [SEP] SECOND [SEP]."""
    return processors.TemplateProcessing(
        single=f"{cls[0]} $A {sep[0]}", pair=f"{cls[0]} $A {sep[0]} $B:1 {sep[0]}:1", special_tokens=[cls, sep]
    )
