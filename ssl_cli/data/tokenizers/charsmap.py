"""The character map of SentencePiece's normalizer: a trie of strings, and what each is replaced by.

The `tokenizers` library follows the trie without looking whether it leads out of the array, and panics if so. A map may
come from an untrusted file, so all of its steps are checked beforehand.
"""

from pathlib import Path

import numpy as np

from ssl_cli.errors import InputError

MAX_REPLACEMENT_BYTES = 256  # that a character becomes; 33 in SentencePiece's own maps
BLOCK = 256  # units of the trie: a step goes to a unit of the same block, by a byte


def check_charsmap(path: Path, charsmap: bytes) -> None:
    """Raise InputError if a map is damaged, or makes a text much longer.

    Its format: the trie's size in bytes (32 bits, little-endian), the trie's units of 32 bits, and the replacements in
    UTF-8, each followed by a byte 0. The trie is a double array as of darts-clone: see `_is_sound`.
    """
    n_bytes = int.from_bytes(charsmap[:4], "little")
    trie, texts = charsmap[4 : 4 + n_bytes], charsmap[4 + n_bytes :]
    if len(charsmap) < 4 or len(trie) != n_bytes or not n_bytes or n_bytes % (4 * BLOCK) or not texts.endswith(b"\0"):
        raise InputError(f"{path} is damaged: the character map of its normalizer is cut off.")
    if max(map(len, texts.split(b"\0"))) > MAX_REPLACEMENT_BYTES:
        raise InputError(f"{path} replaces a character by more than {MAX_REPLACEMENT_BYTES} bytes: not allowed.")
    if not _is_sound(np.frombuffer(trie, "<u4").astype(np.int64), np.frombuffer(texts, np.uint8)):
        raise InputError(f"{path} is damaged: the character map of its normalizer leads nowhere.")
    try:
        texts.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is damaged: the character map of its normalizer holds broken characters.") from error


def _is_sound(units: np.ndarray, texts: np.ndarray) -> bool:
    """Return whether each step from any unit stays in the trie, and each of its values is where a text begins.

    A unit has 31 bits of a value if its top bit is set. Otherwise its lowest 8 bits are the byte that leads to it, bit
    8 says that a string ends here, and the rest is an offset: by it and the next byte, xored to the unit's index, the
    next one is found; by the offset alone the value.
    """
    index = np.arange(len(units))
    next_index = index ^ ((units >> 10) << ((units & (1 << 9)) >> 6))
    is_node = units >> 31 == 0
    if not is_node[0] or (next_index[is_node] >= len(units)).any():
        return False
    values = units[next_index[is_node & ((units >> 8) & 1 == 1)]]
    starts = np.concatenate([[0], np.flatnonzero(texts == 0) + 1])
    return bool((values >> 31 == 1).all() and np.isin(values & 0x7FFFFFFF, starts[:-1]).all())
