"""Tests of special tokens around one text or two, and of truncation."""

import pytest

from ssl_cli.data.labelled.template import SequenceTemplate, truncated_lengths
from ssl_cli.errors import InputError
from tests.helpers.pretrain_runs import tokenizer_of


def make_template(max_length: int = 12) -> SequenceTemplate:
    return SequenceTemplate.for_tokenizer(tokenizer_of("wordpiece"), causal=False, max_length=max_length)


def test_one_text_and_two() -> None:
    template = make_template()
    cls, sep = template.tokenizer.specials["cls"], template.tokenizer.specials["sep"]
    assert template.encode([11, 12]) == ([cls, 11, 12, sep], 4)
    assert template.encode([11, 12], [13]) == ([cls, 11, 12, sep, 13, sep], 4)
    assert template.encode([], [13]) == ([cls, sep, 13, sep], 2)


def test_longer_text_is_cut_first() -> None:
    short = make_template(8)
    ids, second = short.encode([21] * 10, [22] * 3)
    assert len(ids) == 8 and ids.count(21) == 3 and ids.count(22) == 2 and second == 5
    assert short.truncates([21] * 10, [22] * 3) and not short.truncates([21] * 2, [22] * 3)
    assert len(short.encode([21] * 30)[0]) == 8


def longest_first(first: int, second: int, room: int) -> tuple[int, int]:
    """Return the lengths after cutting token by token, like transformers."""
    while first + second > room:
        if first > second:
            first -= 1
        else:
            second -= 1
    return first, second


@pytest.mark.parametrize("room", [3, 7, 8])
def test_truncated_lengths_equal_cutting_token_by_token(room: int) -> None:
    for first in range(12):
        for second in range(12):
            assert truncated_lengths(first, second, room) == longest_first(first, second, room), (first, second)


def test_causal_template_ends_each_text() -> None:
    causal = SequenceTemplate.for_tokenizer(tokenizer_of("bpe"), causal=True, max_length=12)
    end = causal.tokenizer.specials["end"]
    assert causal.encode([11], [12, 13]) == ([11, end, 12, 13, end], 2)


def test_no_room_for_text_is_an_error() -> None:
    with pytest.raises(InputError, match="max_length=4 leaves no room for text"):
        make_template(4)
