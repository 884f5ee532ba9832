"""Reading of the next item while the last one is in use."""

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def read_ahead(items: Iterator[Item]) -> Generator[Item, None, None]:
    """Yield the items; a thread already gets the next one. It ends with the last item, an error, or the caller."""
    with ThreadPoolExecutor(1, "read") as thread:
        coming = thread.submit(_next_of, items)
        while following := coming.result():
            coming = thread.submit(_next_of, items)
            yield from following


def _next_of(items: Iterator[Item]) -> list[Item]:
    """Return a list of the next item; an empty one at the end, as a thread can't raise StopIteration."""
    for item in items:
        return [item]
    return []
