"""Items that a thread gets ahead of their use."""

import threading
from collections.abc import Iterator

import pytest

from ssl_cli.data.io.read_ahead import read_ahead


def numbers(until: int, asked: threading.Event | None = None) -> Iterator[int]:
    for number in range(until):
        if number == 1 and asked is not None:
            asked.set()
        yield number
    raise ArithmeticError("no more")


def test_items_come_in_order_and_the_next_is_read_while_one_is_in_use() -> None:
    asked = threading.Event()
    items = read_ahead(numbers(3, asked))
    assert next(items) == 0 and asked.wait(timeout=60)
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(ArithmeticError, match="no more"):
        next(items)
    assert list(read_ahead(iter([]))) == []
    assert list(read_ahead(iter([None, 0]))) == [None, 0]


def test_no_thread_is_left_when_the_caller_stops_early() -> None:
    before = threading.active_count()
    items = read_ahead(numbers(3))
    assert next(items) == 0 and threading.active_count() == before + 1
    items.close()
    assert threading.active_count() == before
