"""What kind of thing each token of a vocabulary is: whether it begins a word, ends one, ends a sentence."""

import json
import unicodedata

import numpy as np
import tokenizers
from tokenizers import pre_tokenizers

SENTENCE_ENDS, CLOSERS = set(".!?。！？…"), set("\"'”’)]」』》）")


def token_classes(library: tokenizers.Tokenizer, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three truths about each token, (V,) bool: it begins a word wherever it stands; what follows it begins a word;
    it ends a sentence."""
    state = json.loads(library.to_str())
    model, cutter = state["model"]["type"], (state["pre_tokenizer"] or {}).get("type")
    in_bytes = (state["decoder"] or {}).get("type") == "ByteLevel"
    special = {token["id"] for token in state["added_tokens"] if token["special"]}
    begins, ends, ends_sentence = (np.zeros(size, bool) for _ in range(3))
    for token, number in library.get_vocab(with_added_tokens=True).items():
        if number in special:
            begins[number] = ends[number] = True
            continue
        text = _surface(token, model, in_bytes)
        if model == "WordPiece":
            begins[number] = not token.startswith("##")
        elif model == "WordLevel" and cutter != "Split":
            begins[number] = True
        else:
            begins[number] = not _goes_on(text[:1]) if text[:1] != "�" else _is_first_byte(token)
            # A space that stands alone belongs to the word after it, but where all characters stand alone.
            ends[number] = not _goes_on(text[-1:]) and text[-1:] != "�" and (text[-1:] != " " or cutter == "Split")
        bare = set(text.strip())
        ends_sentence[number] = bool(bare & SENTENCE_ENDS) and bare <= SENTENCE_ENDS | CLOSERS
    return begins, ends, ends_sentence


def _surface(token: str, model: str, in_bytes: bool) -> str:
    """How a token looks in a text, as far as that is known of it alone"""
    if model == "WordPiece":
        return token.removeprefix("##")
    if in_bytes:
        return bytes(BYTE_OF.get(character, 0x3F) for character in token).decode("utf-8", "replace")
    return token.replace("▁", " ")


def _goes_on(character: str) -> bool:
    """Whether a word may go on with it, or after it: a letter, a digit or a mark, but nothing Chinese or Japanese"""
    if not character.isalnum() and not unicodedata.category(character or " ").startswith("M"):
        return False
    return not ("\u2e80" <= character <= "\u9fff" or "\uf900" <= character <= "\ufaff" or character >= "\U00020000")


def _is_first_byte(token: str) -> bool:
    """Whether a part of a character is the first part of one that stands alone: UTF-8 of Chinese or of signs"""
    return 0xE2 <= BYTE_OF.get(token[0], 0) <= 0xE9 or BYTE_OF.get(token[0], 0) in (0xEF, 0xF0)


def _byte_alphabet() -> dict[str, int]:
    """Character of a byte-level vocabulary -> the byte that it stands for (as GPT-2 writes them)"""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + k): byte for k, byte in enumerate(others)}


BYTE_OF = _byte_alphabet()
assert set(BYTE_OF) == set(pre_tokenizers.ByteLevel.alphabet())
