"""Held-out documents: a streamed split into training and validation text that is the same for every seed."""

import hashlib
import math
from collections.abc import Iterable, Iterator
from itertools import chain

MIN_DOCUMENTS = 10  # expected held-out documents needed to choose each independently by its hash
LOOKAHEAD_CHARS = 1 << 24  # characters read ahead to count the documents


def hold_out(documents: Iterable[str], val: float) -> Iterator[tuple[str, str]]:
    """Yield each document with its split, "train" or "val", so that the share `val` is held out.

    Of many documents, whole ones are held out by a hash of their text, so that copies fall into the same split. Of
    few, they are taken in the order of this hash until the share is reached, the last one only in part (of a single
    document, its end, as in nanoGPT). Of documents too long to be counted, the end of each is held out.
    """
    if not val:
        yield from (("train", text) for text in documents)
        return
    remaining, first = iter(documents), list[str]()
    size, many = 0, math.ceil(MIN_DOCUMENTS / val)
    while len(first) < many and size < LOOKAHEAD_CHARS and (text := next(remaining, None)) is not None:
        first.append(text)
        size += len(text)
    everything = chain(first, remaining)
    if len(first) >= many:
        yield from (("val" if _hash_fraction(text) < val else "train", text) for text in everything)
    elif size < LOOKAHEAD_CHARS:
        yield from _hold_out_few(first, size - int(size * (1 - val)))
    else:
        for text in everything:
            yield from _hold_out_end(text, round(len(text) * val))


def _hash_fraction(text: str) -> float:
    """Return a hash of the text as a number from 0 to 1."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) / 2**64


def _hold_out_few(documents: list[str], n_chars: int) -> Iterator[tuple[str, str]]:
    """Hold out `n_chars` characters, of the documents with the lowest hashes."""
    held_out = [0] * len(documents)
    for k in sorted(range(len(documents)), key=lambda k: _hash_fraction(documents[k])):
        held_out[k] = min(len(documents[k]), n_chars - sum(held_out))
    for text, n in zip(documents, held_out, strict=True):
        yield from _hold_out_end(text, n)


def _hold_out_end(text: str, n_chars: int) -> Iterator[tuple[str, str]]:
    """Hold out the last `n_chars` characters."""
    middle = len(text) - n_chars
    yield from ((name, part) for name, part in (("train", text[:middle]), ("val", text[middle:])) if part)
