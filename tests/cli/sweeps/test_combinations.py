"""Sweeps are counted before they are made."""

import pytest

from ssl_cli.cli.grammar import parse_override
from ssl_cli.cli.sweeps.combinations import check_sweep, combinations, n_values
from ssl_cli.errors import InputError


@pytest.mark.parametrize(
    ("word", "count"),
    [
        ("seed=1,2,3", 3),
        ("seed=range(0,10)", 10),
        ("seed=range(0,10,3)", 4),
        ("seed=range(10,0,-3)", 4),
        ("seed=range(0,1,0.1)", 10),
        ("seed=range(5,0)", 0),
        ("seed=range(0,1000000000000000)", 10**15),
        ("seed=shuffle(range(0,1000000000))", 10**9),
        ("seed=range(0,inf)", None),
        ("seed=range(0,10,0)", None),
        ("model=glob(*_ae)", 7),
    ],
)
def test_values_are_counted_without_a_list(word: str, count: int | None) -> None:
    override = parse_override(word)
    assert n_values(override) == count
    if count is not None and count < 100 and "glob" not in word:
        assert len(list(override.sweep_iterator())) == count


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["seed=range(0,1000000000)"], "This sweep has 1,000,000,000 runs or more (seed=range(0,1000000000))"),
        (["seed=range(0,1000)", "fpr=range(0,1,0.01)"], "This sweep has 100,000 runs or more"),
        (["seed=range(0,10,0)"], "has no end"),
        (["seed=range(5,0)"], "has no value"),
        (["model=glob(zzz*)"], "has no value"),
        (["seed=glob(*)"], "glob() picks among the choices of a group"),
        (["seed=interval(0,3)"], "an interval is for hydra/sweeper=optuna"),
    ],
)
def test_a_sweep_that_can_not_be_made(words: list[str], sentence: str) -> None:
    with pytest.raises(InputError) as raised:
        check_sweep([parse_override(word) for word in words], "basic")
    assert sentence in str(raised.value)


def test_what_optuna_takes() -> None:
    words = ["seed=range(0,1000000000)", "fpr=interval(0,1)"]
    check_sweep([parse_override(word) for word in words], "optuna")


def test_combinations_are_in_hydras_order() -> None:
    lines = ["++seed=1,2", "model=ae", "++data.file='a,b','é'"]
    assert [" ".join(run) for run in combinations(lines)] == [
        "++seed=1 model=ae ++data.file='a,b'",
        "++seed=1 model=ae ++data.file='é'",
        "++seed=2 model=ae ++data.file='a,b'",
        "++seed=2 model=ae ++data.file='é'",
    ]
