"""T5's tokenizer from its spiece.model, a file of the library SentencePiece (arXiv 1808.06226).

The file is a protocol buffer. Only what the tokenizer needs of it is read, and checked: it may be untrusted.
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors

from ssl_cli.data.tokenizers.charsmap import check_charsmap
from ssl_cli.data.tokenizers.tokenizer import SENTINEL
from ssl_cli.data.tokenizers.validation import MAX_ADDED_TOKENS, MAX_FILE_BYTES
from ssl_cli.errors import InputError

# Numbers in the file: kinds of model, kinds of piece, and fields of its messages.
UNIGRAM, MODEL_KINDS = 1, {1: "unigram", 2: "BPE", 3: "word", 4: "character"}
NORMAL, UNKNOWN, CONTROL = 1, 2, 3
OTHER_PIECES = {4: "pieces that are always whole", 5: "unused pieces", 6: "pieces of single bytes"}
PIECES, TRAINER, NORMALIZER, DENORMALIZER = 1, 2, 3, 5
PIECE, SCORE, PIECE_KIND = 1, 2, 3
MODEL_KIND, SPACE_AFTER_WORD, BYTE_FALLBACK = 3, 24, 35  # of the trainer
CHARSMAP, SPACE_BEFORE_TEXT, FEWER_SPACES, SPACE_AS_CHARACTER = 2, 3, 4, 5  # of the normalizer
VARINT, EIGHT_BYTES, LENGTH, FOUR_BYTES = 0, 1, 2, 5  # kinds of field
MAX_VARINT_BYTES = 10
SPACE = "▁"  # how a vocabulary writes it
END = "</s>"

Fields = dict[int, list[Any]]  # number -> its values: a whole number, or bytes


@dataclass(frozen=True)
class SentencePieceModel:
    """A unigram vocabulary of pieces and their scores, and the character map of its normalizer."""

    pieces: list[tuple[str, float]]
    unknown: int
    controls: list[str] = field(default_factory=list)
    charsmap: bytes = b""


def read_sentencepiece(path: Path) -> SentencePieceModel:
    """Read a model. Raises InputError if it is damaged, or such as can't be rebuilt exactly."""
    if path.stat().st_size > MAX_FILE_BYTES:
        raise InputError(f"{path} is damaged: it has more than {MAX_FILE_BYTES:,} bytes.")
    try:
        message = _fields(path.read_bytes())
        trainer, normalizer, denormalizer = (_message(message, of) for of in (TRAINER, NORMALIZER, DENORMALIZER))
        kind = _number(trainer, MODEL_KIND, UNIGRAM)
        pieces = [_piece(_fields(piece)) for piece in message.get(PIECES, [])]
    except (ValueError, TypeError, IndexError, struct.error) as error:  # UnicodeDecodeError is a ValueError
        raise InputError(f"{path} is damaged: it is not a SentencePiece model.") from error
    kinds = {kind for _, _, kind in pieces}
    obstacles = [f"is of the kind {MODEL_KINDS.get(kind, kind)}"] * (kind != UNIGRAM)
    obstacles += [f"has {name}" for number, name in OTHER_PIECES.items() if number in kinds]
    obstacles += ["has a byte fallback"] * _number(trainer, BYTE_FALLBACK, 0)
    obstacles += ["has spaces after words"] * _number(trainer, SPACE_AFTER_WORD, 0)
    settings = (SPACE_BEFORE_TEXT, FEWER_SPACES, SPACE_AS_CHARACTER)
    obstacles += ["treats spaces otherwise"] * (not all(_number(normalizer, name, 1) for name in settings))
    obstacles += ["has a map from pieces back to text"] * bool(denormalizer.get(CHARSMAP))
    if obstacles:
        raise InputError(
            f"{path} can't be read as T5's, because it {' and '.join(obstacles)}: make a tokenizer.json of it, by "
            f'AutoTokenizer.from_pretrained("{path.parent}").save_pretrained("{path.parent}") of transformers.'
        )
    return _checked(path, pieces, normalizer.get(CHARSMAP, [b""])[-1])


def build_sentencepiece(model: SentencePieceModel, n_sentinels: int) -> tokenizers.Tokenizer:
    """Return the tokenizer that transformers makes for T5: as SentencePiece's, with sentinels at the end.

    The first sentinel is the last token. A text is also split at white space that the normalizer leaves alone.
    """
    sentinels = [SENTINEL.format(number) for number in reversed(range(n_sentinels))]
    vocabulary = model.pieces + [(name, 0.0) for name in sentinels]
    library = tokenizers.Tokenizer(models.Unigram(vocabulary, unk_id=model.unknown, byte_fallback=False))
    if model.charsmap:
        library.normalizer = normalizers.Precompiled(model.charsmap)
    library.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(SPACE, prepend_scheme="always")]
    )
    library.decoder = decoders.Metaspace(SPACE, prepend_scheme="always")
    special = [*model.controls, model.pieces[model.unknown][0], *sentinels]
    library.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in special])
    if END in model.controls:
        library.post_processor = processors.TemplateProcessing(
            single=["$A", END], pair=["$A", END, "$B", END], special_tokens=[(END, library.token_to_id(END))]
        )
    return library


def _checked(path: Path, pieces: list[tuple[str, float, int]], charsmap: bytes) -> SentencePieceModel:
    """Return the model of these pieces (name, score, kind). Raises InputError if they are no vocabulary."""
    names = [name for name, _, _ in pieces]
    unknown = [index for index, (_, _, kind) in enumerate(pieces) if kind == UNKNOWN]
    controls = [name for name, _, kind in pieces if kind == CONTROL]
    is_sound = len({*names}) == len(names) and all(names) and all(math.isfinite(score) for _, score, _ in pieces)
    if not is_sound or len(unknown) != 1 or len(controls) > MAX_ADDED_TOKENS:
        raise InputError(
            f"{path} is damaged: its pieces must have names, which differ, finite scores, and one must be unknown."
        )
    if charsmap:
        check_charsmap(path, charsmap)
    return SentencePieceModel([(name, score) for name, score, _ in pieces], unknown[0], controls, charsmap)


# --- the protocol buffer ---


def _piece(message: Fields) -> tuple[str, float, int]:
    """Return a piece's name, score and kind. Raises ValueError, TypeError or struct.error if it is none."""
    name = message.get(PIECE, [b""])[-1].decode("utf-8") if message.get(PIECE) else ""
    score = struct.unpack("<f", message.get(SCORE, [bytes(4)])[-1])[0]
    return name, score, _number(message, PIECE_KIND, NORMAL)


def _number(message: Fields, name: int, default: int) -> int:
    value = message.get(name, [default])[-1]
    if not isinstance(value, int):
        raise TypeError("a number is bytes")
    return value


def _message(message: Fields, name: int) -> Fields:
    """Return a message in another; if it is there several times, its fields are those of all."""
    return _fields(b"".join(message.get(name, [])))


def _fields(data: bytes) -> Fields:
    """Return the fields of a message. Raises ValueError or IndexError if it is damaged."""
    fields: Fields = {}
    for number, value in _iterate(data):
        fields.setdefault(number, []).append(value)
    return fields


def _iterate(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, position = _varint(data, position)
            yield number, value
            continue
        if kind == LENGTH:
            size, position = _varint(data, position)
        elif kind in (EIGHT_BYTES, FOUR_BYTES):
            size = 8 if kind == EIGHT_BYTES else 4
        else:
            raise ValueError("an unknown kind of field")
        if position + size > len(data):
            raise ValueError("a field is cut off")
        yield number, data[position : position + size]
        position += size


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """Return a number in base 128, least significant digit first, and the position after it."""
    number = 0
    for digit in range(MAX_VARINT_BYTES):
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << (7 * digit)
        if byte < 0x80:
            return number, position
    raise ValueError("a number is too long")
