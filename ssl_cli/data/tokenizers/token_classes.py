"""Classes of tokens: whether each token of a vocabulary begins a word, ends one, or ends a sentence."""

import json
import unicodedata

import numpy as np
import tokenizers
from tokenizers import pre_tokenizers

SENTENCE_ENDS, CLOSERS = set(".!?。！？…"), set("\"'”’)]」』》）")


def token_classes(library: tokenizers.Tokenizer, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return three properties of each token, (V,) bool each.

    The first: it begins a word in any context. The second: whatever follows it begins a word. The third: it ends a
    sentence.
    """
    state = json.loads(library.to_str())
    model, pre_tokenizer = state["model"]["type"], (state["pre_tokenizer"] or {}).get("type")
    is_byte_level = (state["decoder"] or {}).get("type") == "ByteLevel"
    special_ids = {token["id"] for token in state["added_tokens"] if token["special"]}
    begins, ends, ends_sentence = (np.zeros(size, bool) for _ in range(3))
    for token, token_id in library.get_vocab(with_added_tokens=True).items():
        if token_id in special_ids:
            begins[token_id] = ends[token_id] = True
            continue
        text = _surface(token, model, is_byte_level)
        if model == "WordPiece":
            begins[token_id] = not token.startswith("##")
        elif model == "WordLevel" and pre_tokenizer != "Split":
            begins[token_id] = True
        else:
            begins[token_id] = not _is_word_part(text[:1]) if text[:1] != "�" else _is_first_byte(token)
            # A space token belongs to the word after it, except in a character vocabulary.
            is_open = text[-1:] == " " and pre_tokenizer != "Split"
            ends[token_id] = not _is_word_part(text[-1:]) and text[-1:] != "�" and not is_open
        characters = set(text.strip())
        ends_sentence[token_id] = bool(characters & SENTENCE_ENDS) and characters <= SENTENCE_ENDS | CLOSERS
    return begins, ends, ends_sentence


def _surface(token: str, model: str, is_byte_level: bool) -> str:
    """Return how a token looks in a text, as far as that is known without context."""
    if model == "WordPiece":
        return token.removeprefix("##")
    if is_byte_level:
        return bytes(BYTE_OF.get(character, 0x3F) for character in token).decode("utf-8", "replace")
    return token.replace("▁", " ")


def _is_word_part(character: str) -> bool:
    """Return whether a word may go on at a character: a letter, digit or mark, not Chinese or Japanese."""
    if not character.isalnum() and not unicodedata.category(character or " ").startswith("M"):
        return False
    return not ("\u2e80" <= character <= "\u9fff" or "\uf900" <= character <= "\ufaff" or character >= "\U00020000")


def _is_first_byte(token: str) -> bool:
    """Return whether a token's first byte begins a character that is a word by itself: Chinese or punctuation."""
    return 0xE2 <= BYTE_OF.get(token[0], 0) <= 0xE9 or BYTE_OF.get(token[0], 0) in (0xEF, 0xF0)


def _byte_alphabet() -> dict[str, int]:
    """Return character -> byte, in the alphabet in which GPT-2's vocabulary writes bytes."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + k): byte for k, byte in enumerate(others)}


BYTE_OF = _byte_alphabet()
assert set(BYTE_OF) == set(pre_tokenizers.ByteLevel.alphabet())
