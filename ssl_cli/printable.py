"""Parts of what is printed: texts, styled texts and tables, made safe for a terminal.

Names and texts come from files that may be untrusted: what a terminal would obey is shown as escapes, and rich's markup
and emoji codes stay as they are. Imports rich only where it is needed.
"""

import re
from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

NARROW = 60  # columns: on a narrower terminal a table of several columns rarely fits
GAP = 2  # columns between two cells
# Characters that a terminal obeys instead of showing them: control characters except newline and tab, and those that
# reorder or end a line. Surrogates are bytes of a name that is no UTF-8, which no terminal takes.
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
LINE_BREAKS = str.maketrans({"\n": r"\n", "\t": r"\t"})  # within a cell


def escape_controls(text: str) -> str:
    """Return the text with each control character escaped: names and messages may come from an untrusted file."""
    return CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def on_one_line(text: str) -> str:
    """Return the text on one line: a line break in a name must not look like another row."""
    return escape_controls(text).translate(LINE_BREAKS)


def width_of(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    from rich.cells import cell_len

    return cell_len(text)


@dataclass
class Styled:
    """A text of pieces, each with its style, such as `bold red`; "" is none."""

    pieces: list[tuple[str, str]] = field(default_factory=list)

    def append(self, text: str, style: str = "") -> Self:
        """Add a piece, and return the whole."""
        self.pieces.append((text, style))
        return self

    @property
    def plain(self) -> str:
        """The text as it is printed, without its styles."""
        return "".join(escape_controls(text) for text, _ in self.pieces)


NONE: frozenset[str] = frozenset()


@dataclass
class PrintedTable:
    """A table; the columns named in `right` are flush right, those in `no_wrap` are not broken into lines.

    On a terminal too narrow for it, each row becomes its first cell and a line with the others. Without a terminal a
    row is one line, however long.
    """

    title: str
    columns: list[str]
    rows: list[list[str]]
    right: Set[str] = NONE
    no_wrap: Set[str] = NONE

    def __post_init__(self) -> None:
        self.title, self.rows = escape_controls(self.title), [[on_one_line(cell) for cell in row] for row in self.rows]

    @property
    def widths(self) -> list[int]:
        """The columns of a terminal that each column of the table takes."""
        return [max(map(width_of, cells)) for cells in zip(map(on_one_line, self.columns), *self.rows, strict=True)]

    def __str__(self) -> str:
        return "\n".join([*([self.title] if self.title else []), *self._lines()])

    def _lines(self) -> Iterator[str]:
        widths = self.widths
        for row in [[on_one_line(column) for column in self.columns], *self.rows]:
            padding = [" " * (width - width_of(cell)) for cell, width in zip(row, widths, strict=True)]
            triples = zip(self.columns, row, padding, strict=True)
            cells = [pad + cell if column in self.right else cell + pad for column, cell, pad in triples]
            yield (" " * GAP).join(cells).rstrip()

    def records(self) -> str:
        """Return the table with two lines for each row, for a narrow terminal."""
        lines = [self.title] if self.title else []
        for first, *others in self.rows:
            cells = zip(map(on_one_line, self.columns[1:]), others, strict=True)
            lines += [first, "  " + ", ".join(f"{name} {cell}" for name, cell in cells if cell)]
        return "\n".join(lines)


Part = str | Styled | PrintedTable


def rendered(part: Part, console: "Console") -> "RenderableType":
    """Return what rich prints for a part: without markup and emoji codes, and with escapes for control characters."""
    from rich.text import Text

    if isinstance(part, str):
        return Text(escape_controls(part))
    if isinstance(part, Styled):
        return Text.assemble(*((escape_controls(text), style) for text, style in part.pieces))
    if not console.is_terminal:
        return Text(str(part))
    widths = part.widths
    if console.width < NARROW and sum(widths) + GAP * len(widths) > console.width:
        return Text(part.records(), overflow="fold")
    return _rich_table(part, widths, console.width)


def _rich_table(part: PrintedTable, widths: list[int], width: int) -> "RenderableType":
    from rich import table as rich_table
    from rich.text import Text

    title = Text(part.title) if part.title else None
    out = rich_table.Table(
        title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, GAP, 0, 0)
    )
    for column, needed in zip(part.columns, widths, strict=True):
        fits = column in part.no_wrap and needed < width / 2
        side = "right" if column in part.right else "left"
        out.add_column(Text(on_one_line(column)), justify=side, overflow="fold", no_wrap=fits)  # type: ignore[arg-type]
    for row in part.rows:
        out.add_row(*(Text(cell) for cell in row))
    return out
