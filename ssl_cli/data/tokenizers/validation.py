"""tokenizer.json, which may be a stranger's: looked through before the library reads it.

The library's parts can be put together so that a word grows without end, or that a pattern is looked for for years. So
what a file may hold is listed: what ours have, and those of BERT, RoBERTa and GPT-2.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tokenizers

from ssl_cli.data.tokenizers.fast_encode import CHARACTERS
from ssl_cli.errors import InputError

LARGEST = 1 << 26  # bytes
KNOWN: dict[str, tuple[str, ...]] = {
    "normalizer": ("BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Replace", "Strip", "StripAccents"),
    "pre_tokenizer": (
        *("BertPreTokenizer", "ByteLevel", "Digits", "Metaspace", "Punctuation", "Split", "Whitespace"),
        "WhitespaceSplit",
    ),
    "post_processor": ("BertProcessing", "ByteLevel", "RobertaProcessing", "TemplateProcessing"),
    "decoder": ("ByteLevel", "Fuse", "Metaspace", "WordPiece"),
}
SEQUENCES = {"normalizer": "normalizers", "pre_tokenizer": "pretokenizers"}  # where parts may follow each other
MOST_PARTS = 4
LONGEST_MARK, LONGEST_WORD = 16, 1000  # characters of a prefix such as ##, and of a word that is cut into tokens
LARGEST_GAP = 1000  # numbers without a token, in a small vocabulary
SAMPLE = "Ab1 .,\n\u4e2d\u0301\U0001f600"  # of what texts hold


def read_library(path: Path) -> tokenizers.Tokenizer:
    """The tokenizer in a file. Raises InputError where there is none, or it has parts that are not listed."""
    with sound(path):
        if path.stat().st_size > LARGEST:
            raise InputError(f"{path} is damaged: it has more than {LARGEST:,} bytes.")
        text = path.read_text(encoding="utf-8")
        state = json.loads(text, object_pairs_hook=_object)
        for kind in KNOWN:
            for part in _parts(path, kind, state.get(kind)):
                _refuse_growth(path, part)
        _refuse_marks(path, state["model"])
        listed, added = state["model"]["vocab"], state.get("added_tokens") or []
        numbers = listed.values() if isinstance(listed, dict) else range(len(listed))
        refuse_gaps(path, [*numbers, *(token["id"] for token in added)])
        library = tokenizers.Tokenizer.from_str(text)
        library.decode(library.encode(SAMPLE, add_special_tokens=False).ids)
        return library


def refuse_gaps(path: Path, numbers: list[int]) -> None:
    """Raise InputError where numbers reach far beyond their tokens: the library takes room for each number."""
    most = 2 * len(numbers) + LARGEST_GAP
    if not all(isinstance(number, int) and 0 <= number < most for number in numbers):
        raise InputError(f"{path} is damaged: its {len(numbers):,} tokens must have numbers from 0 and below {most:,}.")


@contextmanager
def sound(path: Path) -> Iterator[None]:
    """What the library says of a damaged file, as one sentence: it raises bare Exceptions, and panics."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:300].rstrip(".")
        raise InputError(f"{path} is no tokenizer that can be read: {reason}.") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # Rust's: no Exception, and nothing to import
            raise
        raise InputError(f"{path} is no tokenizer that can be read: it is damaged.") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of two entries of one name the library might take the other one."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name comes twice")
    return found


def _parts(path: Path, kind: str, node: Any) -> list[dict[str, Any]]:
    """What a step of a tokenizer consists of, all of it known"""
    if node is None:
        return []
    parts = node[SEQUENCES[kind]] if kind in SEQUENCES and node["type"] == "Sequence" else [node]
    if len(parts) > MOST_PARTS:
        raise InputError(f"{path} has a {kind} of {len(parts):,} parts: {MOST_PARTS} at most are read.")
    for part in parts:
        if part["type"] not in KNOWN[kind]:
            raise InputError(
                f"{path} has the {kind} {str(part['type'])[:100]}, which isn't read, whoever it is from: only those of "
                f"BERT, RoBERTa and GPT-2 are ({', '.join(KNOWN[kind])})."
            )
    return parts


def _refuse_growth(path: Path, part: dict[str, Any]) -> None:
    """A text may become no longer, and a pattern must be ours."""
    kind, pattern, content = part["type"], part.get("pattern"), part.get("content")
    if kind == "Split" and pattern != {"Regex": CHARACTERS}:
        raise InputError(f"{path} cuts text by a pattern of its own, {str(pattern)[:100]}: that isn't read.")
    if kind == "Replace" and (pattern, content) != ({"Regex": r"\s+"}, " ") and not _shortens(pattern, content):
        raise InputError(f"{path} replaces {str(pattern)[:100]}: only a text is, and by none that is longer.")
    if kind == "TemplateProcessing" and max(len(part["single"]), len(part["pair"])) > 2 * MOST_PARTS:
        raise InputError(f"{path} is damaged: it puts texts together from more than {2 * MOST_PARTS} parts.")


def _shortens(pattern: Any, content: Any) -> bool:
    return pattern.keys() == {"String"} and 0 < len(pattern["String"]) >= len(content)


def _refuse_marks(path: Path, model: dict[str, Any]) -> None:
    """Each part of a word is looked up with its mark; and a word has many parts."""
    marks = [str(model.get(name) or "") for name in ("continuing_subword_prefix", "end_of_word_suffix")]
    if max(map(len, marks)) > LONGEST_MARK or model.get("max_input_chars_per_word", 0) > LONGEST_WORD:
        raise InputError(
            f"{path} is damaged: a mark of its model may have {LONGEST_MARK} characters, and a word {LONGEST_WORD:,}."
        )
