"""Words of the command line as Hydra's grammar reads them: quoted where it needs that, and only there."""

import pytest

from ssl_cli.cli.grammar import parse_override
from ssl_cli.errors import InputError


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("a=数据.csv", "数据.csv"),
        ("a=my (1).csv", "my (1).csv"),
        ("a=b=c", "b=c"),
        ("a= é ", "é"),
        ("a=O'Brien é", "O'Brien é"),
        ("a='été.csv'", "été.csv"),
        ("a=#;!&^<>", "#;!&^<>"),
        ("a=C:\\x\\é\\", "C:\\x\\é\\"),
        ("a=two\nlines", "two\nlines"),
        ("a=x [1.csv", "x [1.csv"),
        ("a=[é,b c,'d,é']", ["é", "b c", "d,é"]),
        ("a=[[é,b],[c]]", [["é", "b"], ["c"]]),
        ("a={x:é,y:[ü,1]}", {"x": "é", "y": ["ü", 1]}),
        ("a=[1,2]", [1, 2]),
        ("a=null", None),
        ("text=hallo, \"welt\" [1", "hallo, \"welt\" [1"),
        ("text=['a','é']", ["a", "é"]),
        ("+a=é", "é"),
    ],
)  # fmt: skip
def test_a_value_is_read_as_it_is_meant(word: str, value: object) -> None:
    assert parse_override(word).value() == value


@pytest.mark.parametrize(
    ("word", "values"),
    [
        ("a=数据.csv,été.csv", ["数据.csv", "été.csv"]),
        ("a=b=c,d=e", ["b=c", "d=e"]),
        ("a='数据.csv',été.csv", ["数据.csv", "été.csv"]),
        ("a=it's é, she's", ["it's é", "she's"]),
        ("a='it\\'s é',b", ["it's é", "b"]),
        ("a=[é,b],[c,d]", [["é", "b"], ["c", "d"]]),
        ("a=[é b,c],x", [["é b", "c"], "x"]),
        ("a=choice(é,b c)", ["é", "b c"]),
        ("a=sort(é,b,reverse=true)", ["é", "b"]),
    ],
)
def test_each_value_of_a_sweep_by_itself(word: str, values: list[object]) -> None:
    override = parse_override(word)
    assert [parse_override(f"a={text}").value() for text in override.sweep_string_iterator()] == values


@pytest.mark.parametrize("word", ["é=3", "my key=3", "a..b=3", "~my key"])
def test_a_name_that_no_option_can_have(word: str) -> None:
    with pytest.raises(InputError, match="is not a name of an option"):
        parse_override(word)
