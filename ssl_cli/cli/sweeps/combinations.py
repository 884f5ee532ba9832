"""Combinations of a sweep: they are counted before Hydra makes a list of them all."""

import itertools
import math
from collections.abc import Iterator
from fractions import Fraction

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, RangeSweep, ValueType

from ssl_cli.config.choices import choices, groups
from ssl_cli.errors import InputError

MAX_RUNS = 10_000  # of a sweep; Hydra composes each config before the first run starts, some fifty a second


def check_sweep(overrides: list[Override], sweeper: str) -> None:
    """Raise InputError for a sweep without an end, with too many runs or none, or with what only Optuna takes."""
    total = 1
    for override in overrides:
        if not override.is_sweep_override():
            continue
        line = override.input_line
        if override.value_type == ValueType.INTERVAL_SWEEP and sweeper == "basic":
            raise InputError(f"{line}: an interval is for hydra/sweeper=optuna, which draws from it; list the values.")
        if override.value_type == ValueType.GLOB_CHOICE_SWEEP and override.key_or_group not in groups():
            raise InputError(f"{line}: glob() picks among the choices of a group; list the values.")
        count = n_values(override)
        if count is None:
            raise InputError(f"{line} has no end: range(START,STOP,STEP) needs a finite end and a step towards it.")
        if count == 0:
            raise InputError(f"{line} has no value, so there is nothing to run.")
        total *= count
        if sweeper == "basic" and total > MAX_RUNS:
            raise InputError(f"This sweep has {total:,} runs or more ({line}); a sweep has at most {MAX_RUNS:,}.")


def n_values(override: Override) -> int | None:
    """Return how many values a sweep of one option has, without listing them; None if it never ends."""
    value = override._value
    if isinstance(value, RangeSweep):
        return _n_in_range(value)
    if isinstance(value, Glob):
        return len(value.filter(list(choices(override.key_or_group))))
    if override.value_type == ValueType.INTERVAL_SWEEP:
        return 1
    return sum(1 for _ in override.sweep_iterator())


def _n_in_range(sweep: RangeSweep) -> int | None:
    numbers = [sweep.start, sweep.stop, sweep.step]
    if any(number is None or not math.isfinite(number) for number in numbers) or sweep.step == 0:
        return None
    start, stop, step = (Fraction(str(number)) for number in numbers)
    return max(0, math.ceil((stop - start) / step))


def combinations(lines: list[str]) -> Iterator[list[str]]:
    """Yield the overrides of each run of a sweep, as far as they are listed."""
    values = []
    for line, override in zip(lines, OverridesParser.create().parse_overrides(lines), strict=True):
        if override.is_discrete_sweep() and override.value_type != ValueType.GLOB_CHOICE_SWEEP:
            key = line.partition("=")[0]
            values.append([f"{key}={value}" for value in override.sweep_string_iterator()])
        elif not override.is_sweep_override():
            values.append([line])
    yield from (list(run) for run in itertools.product(*values))
