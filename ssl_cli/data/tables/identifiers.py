"""Whole numbers that name rows instead of measuring something: row numbers and identifiers.

Uniqueness alone proves nothing: prices, populations and coordinates are often unique, too. In 4,362 columns of ADBench
and OddBench some hundred of whole numbers are unique, and no measurement among them fills half of its range.
"""

import re

import numpy as np

MIN_NAMED_ROWS = 10  # below it any numbers may be unique, or in order
MIN_DENSE_ROWS = 30
HEAD = 1000  # rows that most columns need to show that they are not unique
# What a spreadsheet or pandas makes of the column of row numbers that a data frame is saved with.
NAMELESS = re.compile(r"|Unnamed: \d+(_level_\d+)?(\.\d+)?|__index_level_\d+__")
THINGS = "account|card|case|client|customer|device|event|item|order|patient|product|record|session|transaction|user"
NAMES_ROWS = re.compile(
    rf"(.*[\s_.-])?({THINGS})?(id|ids|uid|uuid|guid|key|nr|no|number|idx|index|row|rowid|rownum|serial|acct|account)",
    re.IGNORECASE,
)
CAMEL_CASE = re.compile(r".*[a-z](Id|ID|Key|Nr|No|Number|Index)")


def names_rows(column: str) -> bool:
    """Return whether a column's name says that it has identifiers: `id`, `account_no`, `customerId`, ..."""
    return bool(NAMES_ROWS.fullmatch(column) or CAMEL_CASE.fullmatch(column))


def identifier_reason(column: str, numbers: np.ndarray) -> str:
    """Return why whole numbers (n,), the values of a column in file order, are no feature; "" if they may be one.

    The rule: the column has no name and counts rows; or the numbers are unique, and either count the rows one by one,
    or fill at least half of their range, or the column's name says that it has identifiers (then nine in ten suffice).
    """
    numbers = np.asarray(numbers)
    nameless = NAMELESS.fullmatch(column) is not None
    if len(numbers) < 2 or not _are_whole(numbers):
        return ""
    steps = np.diff(numbers[:HEAD])
    if nameless and (steps == 1).mean() > 0.9:
        return "it has no name and counts its rows"
    head = numbers[:HEAD]
    if len(np.unique(head)) < 0.9 * len(head):
        return ""
    share = len(np.unique(numbers)) / len(numbers)
    if nameless and share == 1:
        return "it has no name, and its numbers name rows"
    if len(numbers) >= MIN_NAMED_ROWS and share == 1 and (np.diff(numbers) == 1).all():
        return "it counts its rows"
    if len(numbers) >= MIN_NAMED_ROWS and share >= 0.9 and names_rows(column):
        return f"it names rows: by its name, and {share:.0%} of its numbers are unique"
    span = float(numbers.max()) - float(numbers.min()) + 1
    if len(numbers) >= MIN_DENSE_ROWS and share == 1 and len(numbers) >= 0.5 * span:
        return f"it numbers its rows: {len(numbers):,} unique numbers in a range of {span:,.0f}"
    return ""


def _are_whole(numbers: np.ndarray) -> bool:
    if numbers.dtype.kind in "iu":
        return True
    head = numbers[:HEAD]
    return bool((head == np.round(head)).all() and (numbers == np.round(numbers)).all())
