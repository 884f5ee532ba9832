import pytest

from ssl_cli.data.labelled.template import SequenceTemplate, shares
from ssl_cli.errors import InputError
from tests.helpers.pretrain_runs import tokenizer_of


def frame(max_length: int = 12) -> SequenceTemplate:
    return SequenceTemplate.of(tokenizer_of("wordpiece"), causal=False, max_length=max_length)


def test_one_text_and_two() -> None:
    one = frame()
    cls, sep = one.tokenizer.specials["cls"], one.tokenizer.specials["sep"]
    assert one.encode([11, 12]) == ([cls, 11, 12, sep], 4)
    assert one.encode([11, 12], [13]) == ([cls, 11, 12, sep, 13, sep], 4)
    assert one.encode([], [13]) == ([cls, sep, 13, sep], 2)


def test_what_is_too_long_is_cut_the_longer_text_first() -> None:
    short = frame(8)
    ids, second = short.encode([21] * 10, [22] * 3)
    assert len(ids) == 8 and ids.count(21) == 3 and ids.count(22) == 2 and second == 5
    assert short.truncates([21] * 10, [22] * 3) and not short.truncates([21] * 2, [22] * 3)
    assert len(short.encode([21] * 30)[0]) == 8


def longest_first(first: int, second: int, room: int) -> tuple[int, int]:
    """Token by token, as transformers does it"""
    while first + second > room:
        if first > second:
            first -= 1
        else:
            second -= 1
    return first, second


@pytest.mark.parametrize("room", [3, 7, 8])
def test_shares_are_those_of_cutting_token_by_token(room: int) -> None:
    for first in range(12):
        for second in range(12):
            assert shares(first, second, room) == longest_first(first, second, room), (first, second)


def test_a_causal_model_ends_each_text() -> None:
    causal = SequenceTemplate.of(tokenizer_of("bpe"), causal=True, max_length=12)
    end = causal.tokenizer.specials["end"]
    assert causal.encode([11], [12, 13]) == ([11, end, 12, 13, end], 2)


def test_no_room_is_refused() -> None:
    with pytest.raises(InputError, match="max_length=4 leaves no room for text"):
        frame(4)
