"""Number notation of text columns: decimal comma, thousands marks, currencies, percent, accounting brackets.

A notation is what all values of a column share. A sign may stand before or after (as in `5-`), be typeset (a true
minus) or be a pair of brackets: `(1,234.50)` is negative.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import pyarrow as pa
import pyarrow.compute as pc

from ssl_cli.config.types import Pattern

BLANKS = " \t\u00a0\u2007\u2009\u202f"  # blank, tab, no-break, figure, thin and narrow no-break space
APOSTROPHES = "'\u2019"
MINUSES = "\\-\u2212\u2013"  # hyphen, minus and en dash, for a class of a regular expression
SYMBOLS = ("US$", "CA$", "A$", "C$", "HK$", "NZ$", "S$", "R$", "NT$", "CN¥", "JP¥", *"$€£¥￥₹₽₩₺₴₪₫₱฿₦₡₲₵₸₿")
CODES = """AED ARS AUD BGN BRL CAD CHF CLP CNY COP CZK DKK EGP EUR GBP HKD HUF IDR ILS INR ISK JPY KRW MAD MXN MYR NGN
NOK NZD PEN PHP PKR PLN QAR RMB RON RUB SAR SEK SGD THB TRY TWD UAH USD VND ZAR""".split()  # noqa: SIM905
WORDS = ("kr", "Kč", "zł", "Ft", "Fr", "SFr", "Rs", "元", "円", "원")  # a point may follow, as in `Fr.`
CURRENCIES = (*SYMBOLS, *CODES, *WORDS)
PERCENT = ("%", "٪", "％")
UNITS = (*PERCENT, *CURRENCIES)

DECIMALS = {".": "point", ",": "comma"}
THOUSANDS = {"": "none", ",": "comma", ".": "point", " ": "blank", "'": "apostrophe"}
CHECKED_FIRST = 200  # distinct values: most columns of words fail there


@dataclass(frozen=True)
class Notation:
    """How a column writes its numbers: the decimal mark, the mark between thousands, and the unit beside a number.

    A percent sign stands at every number, a currency at some or all. `leading_zeros` makes numbers of codes (00501).
    """

    decimal: Annotated[str, Pattern(r"[.,]", "a point or a comma")]
    thousands: Annotated[str, Pattern(r"[,. ']?", "empty, a comma, a point, a blank or an apostrophe")] = ""
    unit: Annotated[str, Pattern("|".join(map(re.escape, ("", *UNITS))), "a currency, a percent sign or empty")] = ""
    leading_zeros: bool = False

    @cached_property
    def regex(self) -> str:
        """The pattern of a number, from its first to its last character."""
        mark = {" ": f"[{BLANKS}]", "'": f"[{APOSTROPHES}]"}.get(self.thousands, re.escape(self.thousands))
        whole = "[0-9]+" if self.leading_zeros else "(?:0|[1-9][0-9]*)"
        point = re.escape(self.decimal)
        number = f"(?:{whole}(?:{point}[0-9]*)?|{point}[0-9]+)(?:[eE][+-]?[0-9]+)?"
        if self.thousands:  # never with an exponent: 6.798E-01 has no thousands
            groups = f"[1-9][0-9]{{0,2}}(?:{mark}[0-9]{{3}})+"
            lakhs = f"|[1-9][0-9]?(?:{mark}[0-9]{{2}})+{mark}[0-9]{{3}}" if self.thousands == "," else ""
            number = f"(?:{number}|(?:{groups}{lakhs})(?:{point}[0-9]*)?)"
        blank, sign, unit = f"[{BLANKS}]*", f"[+{MINUSES}]", self._unit_regex
        plain = [] if self.unit in PERCENT else [number]
        after = [f"{number}{blank}{unit}"] if self.unit else []
        before = [f"{unit}{blank}{sign}?{blank}{number}"] if self.unit else []
        unsigned_before = [f"{unit}{blank}{number}"] if self.unit else []
        bare, prefixed = "|".join([*plain, *after, *unsigned_before]), "|".join([*plain, *after, *before])
        forms = [f"{sign}{blank}(?:{bare})", f"(?:{prefixed})", f"(?:{bare}){blank}[{MINUSES}]"]
        forms.append(rf"\({blank}(?:{bare}){blank}\)")
        return f"^{blank}(?:{'|'.join(forms)}){blank}$"

    @property
    def _unit_regex(self) -> str:
        return re.escape(self.unit) + (r"\.?" if self.unit in WORDS else "")

    def follows(self, texts: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
        """Return which texts (N,) are numbers in this notation; null for null."""
        return pc.match_substring_regex(texts, self.regex)

    def parse(self, texts: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
        """Return the numbers (N,) float64 of texts; null for null and for a text that does not follow the notation."""
        texts = pc.if_else(self.follows(texts), texts, pa.scalar(None, texts.type))
        negative = pc.match_substring_regex(texts, rf"^[{BLANKS}]*\(|[{MINUSES}][{BLANKS}]*$|^[^0-9]*[{MINUSES}]")
        bare = pc.replace_substring_regex(texts, self._unit_regex, "") if self.unit else texts
        marks = "" if self.thousands in " '" else self.thousands
        bare = pc.replace_substring_regex(bare, f"^[+{MINUSES}{BLANKS}]+|[{BLANKS}{APOSTROPHES}(){marks}]", "")
        bare = pc.replace_substring_regex(bare, f"^[{MINUSES}]|[{MINUSES}]$", "")
        numbers = pc.cast(pc.replace_substring(bare, self.decimal, "."), pa.float64())
        return pc.if_else(negative, pc.negate(numbers), numbers)

    def format(self, value: float, digits: int = 6) -> str:
        """Return a number in this notation, with so many digits, without thousands marks; a dollar stands before it."""
        text = f"{abs(value):.{digits}g}".replace(".", self.decimal)
        if self.unit.endswith(("$", "£")):
            text = f"{self.unit}{text}"
        elif self.unit:
            text += self.unit if self.unit == "%" else f" {self.unit}"
        return f"-{text}" if value < 0 else text

    def __str__(self) -> str:
        parts = [f"decimal {DECIMALS[self.decimal]}"]
        parts += [f"thousands {THOUSANDS[self.thousands]}"] if self.thousands else []
        return ", ".join([*parts, *([self.unit] if self.unit else [])])


@dataclass(frozen=True)
class AmbiguousNotation:
    """An example of a column whose numbers can be read in two ways, with both readings."""

    example: str
    readings: tuple[tuple[Notation, float], tuple[Notation, float]]


def find_notation(texts: pa.ChunkedArray, decimal: str | None = None) -> Notation | AmbiguousNotation | None:
    """Return the one notation that every text follows (nulls aside), or that there are two, or None.

    A column of nothing but digits has none: a writer who wanted numbers would have written numbers, and digits in a
    text are a code. `decimal` is the mark that decides between two notations.
    """
    values = pc.drop_null(pc.unique(texts))
    if len(values) == 0 or pc.all(pc.match_substring_regex(values, "^[0-9]+$")).as_py():
        return None
    if not _candidates(values[:CHECKED_FIRST]) or not (candidates := _candidates(values)):
        return None
    candidates = [notation for notation in candidates if notation.decimal == decimal] or candidates
    first, parsed = candidates[0], candidates[0].parse(values)
    for other in candidates[1:]:
        otherwise = other.parse(values)
        index = pc.index(pc.not_equal(parsed, otherwise), True).as_py()
        if index >= 0:
            readings = ((first, parsed[index].as_py()), (other, otherwise[index].as_py()))
            return AmbiguousNotation(values[index].as_py(), readings)
    return first


def _candidates(values: pa.Array) -> list[Notation]:
    """Return the notations that all values follow; the fewest marks come first."""
    if (unit := _unit_of(values)) is None:
        return []
    possible = [Notation(mark, thousands, unit) for mark in DECIMALS for thousands in THOUSANDS if mark != thousands]
    return [notation for notation in possible if pc.all(notation.follows(values)).as_py()]


def _unit_of(values: pa.Array) -> str | None:
    """Return the one unit that stands beside the numbers, "" if there is none, or None if there is something else."""
    rest = pc.replace_substring_regex(values, f"[eE][+-]?[0-9]+|[0-9+{MINUSES}{BLANKS}{APOSTROPHES}().,]", "")
    found = set(pc.unique(rest).to_pylist()) - {""}
    if not found:
        return ""
    return found.pop() if len(found) == 1 and found <= set(UNITS) else None


def share_of_numbers(texts: pa.Array) -> tuple[float, str]:
    """Return the largest share of texts that one notation without a unit takes for numbers, and a text that is none."""
    best, odd = 0.0, ""
    for mark, thousands in ((".", ""), (".", ","), (",", "."), (",", "")):
        follows = Notation(mark, thousands).follows(texts)
        share = pc.mean(follows).as_py() or 0.0
        if best < share < 1:
            best, odd = share, texts[pc.index(follows, False).as_py()].as_py()
    return best, odd
