"""What a run says: to the terminal with rich, to the run's `log.txt` as plain lines.

Without a terminal everything is plain lines. Results go to stdout, warnings and errors to stderr.
"""

import logging
import re
import time
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from ssl_cli.process import is_worker

PLAIN_WIDTH = 120  # columns, where there is no terminal to ask
NARROW = 60  # columns: a terminal that a table of several columns rarely fits
GAP = 2  # between columns
PLAIN_LINES = 10  # progress lines a task prints without a terminal
# What a terminal obeys rather than shows: control characters but newline and tab, and those that reorder a line.
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def harmless(text: str) -> str:
    """A text with each control character spelt out: names and messages may come from a stranger's file."""
    return CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _console(stderr: bool = False) -> Console:
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    # Worker processes of a distributed run stay silent: the first process speaks for all.
    console.quiet = is_worker()
    return console


_log: Console | None = None
_heard = {False: True, True: True}  # stdout, stderr: until whoever read it is gone


def _carefully(console: Console, show: Callable[[], object]) -> None:
    """A run goes on when nobody listens any more, as after `| head` or a closed terminal: its folder has it all."""
    if not _heard[console.stderr]:
        return
    try:
        show()
    except (OSError, SystemExit):  # rich's answer to a broken pipe is to leave
        _heard[console.stderr] = False


def _print(console: Console, *what: RenderableType, **how: Any) -> None:
    _carefully(console, lambda: console.print(*what, markup=False, **how))


def say(*what: RenderableType, style: str | None = None) -> None:
    """Print to stdout and to the log."""
    what = tuple(harmless(part) if isinstance(part, str) else part for part in what)
    console = _console()
    # Plain output keeps a sentence on one line, for whoever reads it with a program.
    _print(console, *what, style=style, soft_wrap=not console.is_terminal)
    if _log:
        _log.print(*what, markup=False, soft_wrap=True)


def say_bare(line: str) -> None:
    """Print a line to stdout as it is, for scripts to read: the path of what was made."""
    _print(Console(highlight=False, quiet=is_worker(), soft_wrap=True, emoji=False), Text(line))


def say_piece(text: str) -> None:
    """Print a piece of a text to stdout, as it comes, without ending the line."""
    _print(_console(), Text(harmless(text)), end="", soft_wrap=True)


def warn(text: str) -> None:
    """Print a warning to stderr and to the log."""
    text, console = harmless(text), _console(stderr=True)
    _print(console, f"warning: {text}", style="yellow", soft_wrap=not console.is_terminal)
    note(f"warning: {text}")


def note(text: str) -> None:
    """Write a line to the log only."""
    if _log:
        _log.print(harmless(text), markup=False, soft_wrap=True)


NONE: frozenset[str] = frozenset()


def table(
    title: str, columns: list[str], rows: list[list[str]], right: Set[str] = NONE, whole: Set[str] = NONE
) -> RenderableType:
    """A table; the columns named in `right` are flush right, those in `whole` are not broken into lines.

    On a terminal too narrow for it, each row becomes its first cell and a line of the others. Without a terminal a row
    is one line, however long.
    """
    title, columns = harmless(title), [harmless(column) for column in columns]
    rows = [[harmless(cell) for cell in row] for row in rows]
    widths = [max(cell_len(cell) for cell in cells) for cells in zip(columns, *rows, strict=True)]
    console = _console()
    if not console.is_terminal:
        return Text("\n".join([*([title] if title else []), *_lines(columns, rows, widths, right)]))
    if console.width < NARROW and sum(widths) + GAP * len(widths) > console.width:
        return Text("\n".join([*([title] if title else []), *_records(columns, rows)]), overflow="fold")
    out = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, GAP, 0, 0))
    for column, needed in zip(columns, widths, strict=True):
        is_whole = column in whole and needed < console.width / 2
        out.add_column(column, justify="right" if column in right else "left", overflow="fold", no_wrap=is_whole)
    for row in rows:
        out.add_row(*(Text(cell) for cell in row))
    return out


def _lines(columns: list[str], rows: list[list[str]], widths: list[int], right: Set[str]) -> Iterator[str]:
    for row in [columns, *rows]:
        padding = [" " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)]
        parts = zip(columns, row, padding, strict=True)
        yield (" " * GAP).join(pad + cell if column in right else cell + pad for column, cell, pad in parts).rstrip()


def _records(columns: list[str], rows: list[list[str]]) -> Iterator[str]:
    for first, *others in rows:
        yield first
        yield "  " + ", ".join(f"{name} {cell}" for name, cell in zip(columns[1:], others, strict=True) if cell)


class _ToLog(logging.Handler):
    """Sends Python's log records and warnings to the run's log, where they disturb nobody."""

    def emit(self, record: logging.LogRecord) -> None:
        note(f"{record.levelname.lower()}: {record.name}: {record.getMessage().strip()}")


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """While it is open, everything said, and what libraries log or warn, is appended to the file `path`."""
    global _log
    handler = _ToLog()
    lightning = logging.getLogger("pytorch_lightning")
    captured = [lightning, logging.getLogger("py.warnings"), logging.getLogger("lightning.pytorch")]
    before = [(logger, logger.handlers[:], logger.propagate) for logger in captured]
    with path.open("a", encoding="utf-8") as file:
        _log = Console(file=file, width=PLAIN_WIDTH, highlight=False, color_system=None)
        logging.captureWarnings(True)
        for logger in captured:
            logger.handlers, logger.propagate = [handler], False
        try:
            yield
        finally:
            logging.captureWarnings(False)
            for logger, handlers, propagate in before:
                logger.handlers, logger.propagate = handlers, propagate
            _log = None


Advance = Callable[[int, str], None]


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Advance]:
    """Yields `advance(done, text)`: a bar on a terminal, else about ten plain lines; `done` goes to `total`."""
    console = _console()
    if console.is_terminal and not console.quiet:
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
        bar = Progress(*columns, TimeRemainingColumn(), TextColumn("{task.fields[text]}"), console=console)
        task = bar.add_task(what, total=total, text="")
        _carefully(console, bar.start)
        try:
            yield lambda done, text: _carefully(console, lambda: bar.update(task, completed=done, text=text))
        finally:
            _carefully(console, bar.stop)
        return

    started, printed = time.monotonic(), 0

    def advance(done: int, text: str) -> None:
        nonlocal printed
        line = done * PLAIN_LINES // total if total else int((time.monotonic() - started) / 10)
        if line > printed:
            printed = line
            _print(console, f"{what} {done}/{total or '?'} {text}".rstrip())

    yield advance
