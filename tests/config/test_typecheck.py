"""Type checks of plain values against annotations."""

from typing import Annotated, Literal

import pytest

from ssl_cli.config.typecheck import expected, fits
from ssl_cli.config.types import Count, OpenShare, Pattern


@pytest.mark.parametrize(
    ("value", "annotation", "good"),
    [
        (3, int, True),
        (3.0, int, False),
        (True, int, False),
        (3, float, True),
        ("3", float, False),
        (0, Count, False),
        (None, Count | None, True),
        (0.5, OpenShare, True),
        (1.0, OpenShare, False),
        ("a", Literal["a", "b"], True),
        ("c", Literal["a", "b"], False),
        ([1, 2], list[Count], True),
        ([1, 0], list[Count], False),
        ("12", list[int], False),
        ([0.9, 0.99], tuple[float, float], True),
        ([0.9], tuple[float, float], False),
        ({"a": 1}, dict[str, int], True),
        ("00:01:00:00", Annotated[str, Pattern(r"\d\d:\d\d:\d\d:\d\d", "a time")], True),
        ("1h", Annotated[str, Pattern(r"\d\d:\d\d:\d\d:\d\d", "a time")], False),
    ],
)
def test_fits(value: object, annotation: object, good: bool) -> None:
    assert fits(value, annotation) is good


def test_expected_describes_the_annotation() -> None:
    assert expected(Count | None) == "a whole number of at least 1 or null"
    assert expected(OpenShare) == "a number above 0 and below 1"
    assert expected(list[Count]) == "a list, each a whole number of at least 1"
