"""Validation of tokenizer.json, which may be untrusted, before the library reads it.

The library's components can be combined so that a word grows without end, or that a pattern takes years to match. So
only listed components are allowed: those of this project's tokenizers, and of BERT, RoBERTa, GPT-2 and T5.
"""

import base64
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tokenizers

from ssl_cli.data.tokenizers.charsmap import check_charsmap
from ssl_cli.data.tokenizers.fast_encode import ANY_CHARACTER
from ssl_cli.errors import InputError

MAX_FILE_BYTES = 1 << 26
ALLOWED: dict[str, tuple[str, ...]] = {
    "normalizer": (
        *("BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Precompiled", "Replace", "Strip"),
        "StripAccents",
    ),
    "pre_tokenizer": (
        *("BertPreTokenizer", "ByteLevel", "Digits", "Metaspace", "Punctuation", "Split", "Whitespace"),
        "WhitespaceSplit",
    ),
    "post_processor": ("BertProcessing", "ByteLevel", "RobertaProcessing", "TemplateProcessing"),
    "decoder": ("ByteLevel", "Fuse", "Metaspace", "WordPiece"),
}
SEQUENCES = {"normalizer": "normalizers", "pre_tokenizer": "pretokenizers"}  # steps that may have several parts
MAX_PARTS = 4
MAX_AFFIX_CHARS = 16  # of a prefix such as ##
MAX_WORD_CHARS = 1000  # of a word that is split into tokens
MAX_ADDED_TOKENS = 20_000  # besides the vocabulary; each is looked for in every text
MAX_ADDED_CHARS = 1000  # of such a token
MAX_ID_GAP = 1000  # ids without a token in a small vocabulary
# Patterns that are known to be fast, with what they become: ours, and those that transformers writes for T5.
FEWER_SPACES = [({"Regex": r"\s+"}, " "), ({"Regex": " {2,}"}, " "), ({"Regex": " {2,}"}, "▁")]
SAMPLE = "Ab1 .,\n\u4e2d\u0301\U0001f600"  # characters of several kinds


def read_library(path: Path) -> tokenizers.Tokenizer:
    """Return the tokenizer in a file, without its padding and truncation.

    Raises InputError if there is none, or it has parts that are not allowed.
    """
    with library_errors_as_input_errors(path):
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InputError(f"{path} is damaged: it has more than {MAX_FILE_BYTES:,} bytes.")
        text = path.read_text(encoding="utf-8")
        state = json.loads(text, object_pairs_hook=_unique_keys)
        for step in ALLOWED:
            for part in _allowed_parts(path, step, state.get(step)):
                _check_bounded(path, part)
        _check_affixes(path, state["model"])
        vocabulary, added = state["model"]["vocab"], state.get("added_tokens") or []
        ids = vocabulary.values() if isinstance(vocabulary, dict) else range(len(vocabulary))
        check_dense_ids(path, [*ids, *(token["id"] for token in added)])
        check_added_tokens(path, [token["content"] for token in added])
        library = tokenizers.Tokenizer.from_str(text)
        library.no_padding()  # before anything is encoded: a text padded to a billion tokens fills the memory
        library.no_truncation()
        if isinstance(library.model, tokenizers.models.BPE):
            library.model.dropout = None  # by which each reading of a text would give other tokens
        check_visible(path, library)
        library.decode(library.encode(SAMPLE, add_special_tokens=False).ids)
        return library


def check_added_tokens(path: Path, contents: Sequence[Any]) -> None:
    """Raise InputError if there are too many added tokens, or one is empty or long."""
    if len(contents) > MAX_ADDED_TOKENS:
        raise InputError(
            f"{path} adds {len(contents):,} tokens to its vocabulary; at most {MAX_ADDED_TOKENS:,} are allowed."
        )
    if not all(isinstance(content, str) and 0 < len(content) <= MAX_ADDED_CHARS for content in contents):
        raise InputError(f"{path} is damaged: an added token must have 1 to {MAX_ADDED_CHARS:,} characters.")


def check_visible(path: Path, library: tokenizers.Tokenizer) -> None:
    """Raise InputError if the normalizer leaves nothing of an added token: the library panics when it looks for it."""
    if library.normalizer is None:
        return
    for token in library.get_added_tokens_decoder().values():
        if token.normalized and not library.normalizer.normalize_str(token.content):
            raise InputError(f"{path}: its added token {token.content!r} is empty when it is normalized.")


def check_dense_ids(path: Path, ids: list[int]) -> None:
    """Raise InputError if ids are far larger than the number of tokens: the library allocates memory for each id."""
    limit = 2 * len(ids) + MAX_ID_GAP
    if not all(isinstance(token_id, int) and 0 <= token_id < limit for token_id in ids):
        raise InputError(f"{path} is damaged: its {len(ids):,} tokens must have ids from 0 and below {limit:,}.")


@contextmanager
def library_errors_as_input_errors(path: Path) -> Iterator[None]:
    """Raise InputError, with one sentence, for a file that the library can't read: it raises Exceptions, and panics."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:300].rstrip(".")
        raise InputError(f"{path} can't be read as a tokenizer: {reason}.") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # Rust's: not an Exception, and it can't be imported
            raise
        raise InputError(f"{path} can't be read as a tokenizer: it is damaged.") from error


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object. Raises ValueError if a key is repeated: the library might use the other value."""
    state = dict(pairs)
    if len(state) < len(pairs):
        raise ValueError("a key is repeated")
    return state


def _allowed_parts(path: Path, step: str, node: Any) -> list[dict[str, Any]]:
    """Return the parts of a step of a tokenizer. Raises InputError if one of them is not allowed."""
    if node is None:
        return []
    parts = node[SEQUENCES[step]] if step in SEQUENCES and node["type"] == "Sequence" else [node]
    if len(parts) > MAX_PARTS:
        raise InputError(f"{path} has a {step} of {len(parts):,} parts; at most {MAX_PARTS} are allowed.")
    for part in parts:
        if part["type"] not in ALLOWED[step]:
            raise InputError(
                f"{path} has the {step} {str(part['type'])[:100]}, which is not allowed: tokenizer files may be "
                f"untrusted, so only those of BERT, RoBERTa, GPT-2 and T5 are read ({', '.join(ALLOWED[step])})."
            )
    return parts


def _check_bounded(path: Path, part: dict[str, Any]) -> None:
    """Raise InputError if a part may make a text longer, or has a pattern that is not known to be fast."""
    kind, pattern, content = part["type"], part.get("pattern"), part.get("content")
    if kind == "Split" and pattern != {"Regex": ANY_CHARACTER}:
        raise InputError(f"{path} splits text by the pattern {str(pattern)[:100]}, which is not allowed.")
    if kind == "Precompiled":
        check_charsmap(path, base64.b64decode(part["precompiled_charsmap"], validate=True))
    if kind == "Replace" and (pattern, content) not in FEWER_SPACES and not _shortens(pattern, content):
        raise InputError(
            f"{path} replaces {str(pattern)[:100]}: only a string may be replaced, by none that is longer."
        )
    if kind == "TemplateProcessing":
        lists = [part["single"], part["pair"], *(token["ids"] for token in part["special_tokens"].values())]
        if max(map(len, lists)) > 2 * MAX_PARTS:
            raise InputError(f"{path} is damaged: its template has more than {2 * MAX_PARTS} parts.")
        texts = [[part["Sequence"]["id"] for part in part_list if "Sequence" in part] for part_list in lists[:2]]
        if texts[0] != ["A"] or texts[1] not in (["A", "B"], []):
            raise InputError(f"{path} is damaged: its template must hold each text once.")


def _shortens(pattern: Any, content: Any) -> bool:
    return pattern.keys() == {"String"} and 0 < len(pattern["String"]) >= len(content)


def _check_affixes(path: Path, model: dict[str, Any]) -> None:
    """Raise InputError if a prefix or suffix, or a word, may be long: every part of a word is looked up with it."""
    affixes = [str(model.get(name) or "") for name in ("continuing_subword_prefix", "end_of_word_suffix")]
    if max(map(len, affixes)) > MAX_AFFIX_CHARS or model.get("max_input_chars_per_word", 0) > MAX_WORD_CHARS:
        raise InputError(
            f"{path} is damaged: a prefix or suffix of its model may have at most {MAX_AFFIX_CHARS} characters, and a "
            f"word {MAX_WORD_CHARS:,}."
        )
