"""Documents -> those to train on and those held out, while they stream by; always the same ones, whatever the seed."""

import hashlib
import math
from collections.abc import Iterable, Iterator
from itertools import chain

ENOUGH = 10  # documents that the lot should hold out on average; where it would be fewer, it isn't left to the lot
WINDOW = 1 << 24  # characters that are looked at ahead, to see how many documents there are


def split(documents: Iterable[str], val: float) -> Iterator[tuple[str, str]]:
    """Each document with the split it belongs to, "train" or "val", where the share `val` is held out.

    Many documents: whole ones, by a lot that depends on their text, so that copies fall together. Few: by the same
    lot until the share is full, the last of them only in part (of one document, its end, as nanoGPT does). Documents
    too long to count them: the end of each.
    """
    if not val:
        yield from (("train", text) for text in documents)
        return
    coming, first = iter(documents), list[str]()
    size, many = 0, math.ceil(ENOUGH / val)
    while len(first) < many and size < WINDOW and (text := next(coming, None)) is not None:
        first.append(text)
        size += len(text)
    everything = chain(first, coming)
    if len(first) >= many:
        yield from (("val" if _lot(text) < val else "train", text) for text in everything)
    elif size < WINDOW:
        yield from _few(first, size - int(size * (1 - val)))
    else:
        for text in everything:
            yield from _cut(text, round(len(text) * val))


def _lot(text: str) -> float:
    """From 0 to 1"""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) / 2**64


def _few(documents: list[str], wanted: int) -> Iterator[tuple[str, str]]:
    """`wanted` characters are held out."""
    taken = [0] * len(documents)
    for k in sorted(range(len(documents)), key=lambda k: _lot(documents[k])):
        taken[k] = min(len(documents[k]), wanted - sum(taken))
    for text, n in zip(documents, taken, strict=True):
        yield from _cut(text, n)


def _cut(text: str, n: int) -> Iterator[tuple[str, str]]:
    """The last `n` characters are held out."""
    middle = len(text) - n
    yield from ((name, part) for name, part in (("train", text[:middle]), ("val", text[middle:])) if part)
