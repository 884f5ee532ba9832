"""Recordings of a data set: what is known of each, and how it is loaded."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ssl_cli.data.audio.alignments import Segment

MAX_NAMED_FILES = 20  # rejected files that are named; all are counted


@dataclass
class Recordings:
    """Recordings by name, in order. `words` are "" where unknown, `takes` where file names have none.

    `splits` are the published ones (train, val, test), "" where there is none. `versions` change with a recording or
    its alignment; `sizes` are in bytes. `rates_hz` are the sample rates of some of them. `load(k)` returns samples
    (S, channels) float32 and their rate; it raises InputError, with the reason alone, if it can't. `align(k)` returns
    phones with their times, or None; it raises InputError if they can't be read. `rejected` come with reasons.
    """

    place: str
    names: list[str]
    speakers: list[str]
    words: list[str]
    takes: list[str]
    splits: list[str]
    versions: list[object]
    sizes: list[int]
    rates_hz: list[int]
    load: Callable[[int], tuple[np.ndarray, int]]
    align: Callable[[int], list[Segment] | None]
    rejected: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def named_with_reasons(rejected: list[tuple[str, str]]) -> str:
    """Return the first rejected files with their reasons, and how many more there are."""
    named = ", ".join(f"{name} ({reason})" for name, reason in rejected[:MAX_NAMED_FILES])
    n_more = len(rejected) - MAX_NAMED_FILES
    return f"{named}, and {n_more:,} more" if n_more > 0 else named
