"""Writer of small SentencePiece models: what the library of that name would write."""

import struct
from collections.abc import Mapping, Sequence

NORMAL, UNKNOWN, CONTROL, WHOLE, UNUSED, BYTE = 1, 2, 3, 4, 5, 6  # kinds of piece
T5_PIECES = [
    *(("<pad>", 0.0, CONTROL), ("</s>", 0.0, CONTROL), ("<unk>", 0.0, UNKNOWN)),
    *(("▁", -3.0, NORMAL), ("▁the", -1.0, NORMAL), ("▁cat", -2.0, NORMAL), ("s", -2.5, NORMAL)),
    *(("A", -4.0, NORMAL), ("▁A", -3.5, NORMAL), (".", -2.0, NORMAL)),
]
BLOCK = 256


def charsmap(replacements: Mapping[str, str]) -> bytes:
    """Return the character map of replacements, as a trie in which each node has a block of its own."""
    units, texts = [0] * BLOCK, b""
    bases = {b"": 0}  # of the strings that the trie has so far: where the block of their next bytes is
    for old in replacements:
        for end in range(1, len(old.encode()) + 1):
            prefix = old.encode()[:end]
            if prefix not in bases:
                bases[prefix] = len(units)
                units += [0] * BLOCK
    for prefix, base in bases.items():
        if prefix:
            place = bases[prefix[:-1]] ^ prefix[-1]
            units[place] = ((place ^ base) << 10) | prefix[-1]
    for old, new in replacements.items():
        key = old.encode()
        units[bases[key[:-1]] ^ key[-1]] |= 1 << 8
        units[bases[key]] = (1 << 31) | len(texts)
        texts += new.encode() + b"\0"
    return struct.pack("<I", 4 * len(units)) + struct.pack(f"<{len(units)}I", *units) + texts


def spiece_model(
    pieces: Sequence[tuple[str, float, int]] = tuple(T5_PIECES),
    trainer: Mapping[int, int] | None = None,
    normalizer: Mapping[int, int | bytes] | None = None,
) -> bytes:
    """Return a model's file: pieces (name, score, kind), and other fields of the trainer and the normalizer."""
    messages = [
        field(1, field(1, name.encode()) + b"\x15" + struct.pack("<f", score) + (field(3, kind) if kind != 1 else b""))
        for name, score, kind in pieces
    ]
    settings = b"".join(field(number, value) for number, value in (trainer or {}).items())
    rules = b"".join(field(number, value) for number, value in (normalizer or {}).items())
    return b"".join(messages) + field(2, settings) + field(3, field(1, b"nmt_nfkc") + rules)


def field(number: int, value: int | bytes) -> bytes:
    """Return a field of a protocol buffer."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    digits = []
    while number >= 0x80:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*digits, number])
