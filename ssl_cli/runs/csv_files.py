"""CSV files that are written, with texts that a spreadsheet would take for formulas as they are, or escaped."""

import csv
import io
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO

from ssl_cli.files import write_text

FORMULA = r"[=+\-@\t\r\n＝＋－＠]"  # what a formula begins with, also in full width
NUMBER = r"[+-]?[\d.,]*\d[\d.,]*([eE][+-]?\d+)?\s?%?"


def write_csv(
    path: Path, columns: list[str], rows: Iterable[Mapping[str, Any]], escape_formulas: bool = False
) -> None:
    """Write rows as a CSV file with a header; columns that a row lacks are left empty."""
    text = io.StringIO(newline="")
    writer = CsvWriter(text, escape_formulas)
    writer.write(columns)
    for row in rows:
        writer.write([row.get(name, "") for name in columns])
    write_text(path, text.getvalue())


class CsvWriter:
    """Writer of rows of cells to an open file. With `escape_formulas`, no text is a formula to a spreadsheet."""

    def __init__(self, file: TextIO, escape_formulas: bool = False):
        self.rows, self.escape_formulas = csv.writer(file), escape_formulas

    def write(self, cells: Iterable[Any]) -> None:
        """Write one row."""
        self.rows.writerow(map(escape_formula, cells) if self.escape_formulas else cells)


def escape_formula(cell: Any) -> Any:
    """Return a cell with an apostrophe before it if it is a text that a spreadsheet would take for a formula.

    These are the texts that OWASP names (https://owasp.org/www-community/attacks/CSV_Injection), except for numbers:
    -1 stays -1.
    """
    is_formula = isinstance(cell, str) and re.match(FORMULA, cell) and not re.fullmatch(NUMBER, cell)
    return f"'{cell}" if is_formula else cell
