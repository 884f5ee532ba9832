"""Types that say more than `int`: ranges, and a sentence of help, carried in `typing.Annotated`.

A constructor's signature is the schema of its YAML (see `checking.py`); these are the words it is written in.
A bare string in an `Annotated` is the option's one sentence of help, with its unit.
"""

from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True)
class Range:
    """The numbers from `low` to `high`; an open end excludes its bound."""

    low: float | None = None
    high: float | None = None
    open_low: bool = False
    open_high: bool = False

    def admits(self, value: float) -> bool:
        above = self.low is None or (value > self.low if self.open_low else value >= self.low)
        below = self.high is None or (value < self.high if self.open_high else value <= self.high)
        return above and below

    def __str__(self) -> str:
        parts = []
        if self.low is not None:
            parts.append(f"above {self.low:g}" if self.open_low else f"of at least {self.low:g}")
        if self.high is not None:
            parts.append(f"below {self.high:g}" if self.open_high else f"of at most {self.high:g}")
        return " and ".join(parts)


@dataclass(frozen=True)
class Pattern:
    """The texts that match a regular expression whole; `words` says it to people."""

    regex: str
    words: str


Count = Annotated[int, Range(1)]
Natural = Annotated[int, Range(0)]
Seed = Annotated[int, Range(0, 2**32 - 1)]  # what numpy, torch and scikit-learn all take
Path = Annotated[str, Pattern(r".+", "a path")]
Positive = Annotated[float, Range(0, open_low=True)]
NonNegative = Annotated[float, Range(0)]
Share = Annotated[float, Range(0, 1)]
OpenShare = Annotated[float, Range(0, 1, open_low=True, open_high=True)]
Delimiter = Annotated[str, Pattern(r"""[^"\r\n]|tab|\\t""", "one character (but no quote), or tab")]
