"""Tests of the train and validation split of documents: exact shares, copies kept together, streaming."""

from collections.abc import Callable, Iterator

import pytest

from ssl_cli.data.text import holdout
from ssl_cli.data.text.holdout import hold_out


def split_all(texts: list[str], val: float) -> dict[str, list[str]]:
    splits: dict[str, list[str]] = {"train": [], "val": []}
    for name, text in hold_out(texts, val):
        splits[name].append(text)
    return splits


def test_many_documents_are_held_out_whole_with_their_copies() -> None:
    texts = [f"document {k}" for k in range(4000)]
    found = split_all([*texts, *reversed(texts)], 0.05)
    assert 0.04 < len(found["val"]) / 8000 < 0.06
    assert not set(found["val"]) & set(found["train"])
    assert sorted(found["val"] + found["train"]) == sorted(texts * 2)
    assert split_all(texts[::-1], 0.05)["val"] == split_all(texts, 0.05)["val"][::-1]


@pytest.mark.parametrize("n", [1, 2, 20, 79])
def test_share_is_exact_for_few_documents(n: int) -> None:
    texts = [f"{k} " * (30 * k + 5) for k in range(n)]
    found = split_all(texts, 0.1)
    total = sum(map(len, texts))
    assert sum(map(len, found["val"])) == total - int(total * 0.9)
    assert len(found["train"]) + len(found["val"]) <= n + 1  # one is cut at most
    assert sum(map(len, found["train"] + found["val"])) == total


def test_end_of_single_document_is_held_out_like_nanogpt() -> None:
    text = "x" * 1_115_394  # tiny Shakespeare's
    assert [len(part) for _, part in hold_out([text], 0.1)] == [1_003_854, 111_540]


def test_end_of_each_long_document_is_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holdout, "LOOKAHEAD_CHARS", 1000)
    found = split_all([f"{k}" * 400 for k in range(9)], 0.05)
    assert found == {"train": [f"{k}" * 380 for k in range(9)], "val": [f"{k}" * 20 for k in range(9)]}


@pytest.mark.parametrize("make", [lambda: iter(()), lambda: iter(["a"])])
def test_no_documents_or_no_share_holds_nothing_out(make: Callable) -> None:
    assert [name for name, _ in hold_out(make(), 0.0)] == ["train"] * len(list(make()))
    assert len(list(hold_out(make(), 0.5))) == len(list(make()))


def test_documents_stream() -> None:
    """An endless corpus is read only as far as the lookahead."""
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield f"document {taken}"

    stream = hold_out(endless(), 0.1)
    assert [next(stream) for _ in range(500)]
    assert taken == 500
