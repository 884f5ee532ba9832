"""Annotated types of options: numbers with a range, strings with a pattern.

A constructor's signature is the schema of its YAML (see `check.py`), and these are its types. A bare string in
`typing.Annotated` is the help of the option, with its unit.
"""

from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`; an open end excludes its bound, None is no bound."""

    low: float | None = None
    high: float | None = None
    open_low: bool = False
    open_high: bool = False

    def contains(self, value: float) -> bool:
        """Return whether a number is in the range."""
        above = self.low is None or (value > self.low if self.open_low else value >= self.low)
        below = self.high is None or (value < self.high if self.open_high else value <= self.high)
        return above and below

    def __str__(self) -> str:
        parts = []
        if self.low is not None:
            parts.append(f"{'above' if self.open_low else 'of at least'} {_written(self.low)}")
        if self.high is not None:
            parts.append(f"{'below' if self.open_high else 'of at most'} {_written(self.high)}")
        return " and ".join(parts)


def _written(bound: float) -> str:
    return str(bound) if isinstance(bound, int) else f"{bound:g}"


@dataclass(frozen=True)
class Pattern:
    """Strings that match a regular expression completely; `description` is used in messages."""

    regex: str
    description: str


Count = Annotated[int, Range(1)]
Draws = Annotated[int, Range(1, 100_000)]
Natural = Annotated[int, Range(0)]
Seed = Annotated[int, Range(0, 2**32 - 1)]  # the range that numpy, torch and scikit-learn all accept
Path = Annotated[str, Pattern(r".+", "a path")]
Positive = Annotated[float, Range(0, open_low=True)]
NonNegative = Annotated[float, Range(0)]
Share = Annotated[float, Range(0, 1)]
LengthPenalty = Annotated[float, Range(-4, 4)]  # a power of a length: with a larger one no score is finite
OpenShare = Annotated[float, Range(0, 1, open_low=True, open_high=True)]
BatchLimit = Count | Annotated[float, Range(0, 1, open_low=True)]  # batches, or a share of them
Delimiter = Annotated[str, Pattern(r"""[^"\r\n]|tab|\\t""", "one character (but no quote), or tab")]
EscapeFormulas = Annotated[
    bool, "put an apostrophe before the texts in CSV files that a spreadsheet would take for formulas"
]
Vocoder = Annotated[
    Path | None, "folder of a HiFi-GAN that makes the waveforms: config.json and its generator; null: Griffin-Lim"
]
