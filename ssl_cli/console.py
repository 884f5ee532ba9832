"""Output of a run: to the terminal with rich, to the run's `log.txt` as plain lines.

Without a terminal all output is plain lines. Results go to stdout, warnings and errors to stderr.
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
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from ssl_cli.process import is_worker

PLAIN_WIDTH = 120  # columns, when there is no terminal to ask
NARROW = 60  # columns: on a narrower terminal a table of several columns rarely fits
GAP = 2  # columns between two cells
PLAIN_LINES = 10  # progress lines that a task prints without a terminal
PLAIN_INTERVAL_S = 10  # after which a line may repeat an old text
# Characters that a terminal obeys instead of showing them: control characters except newline and tab, and those that
# reorder a line.
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def escape_controls(text: str) -> str:
    """Return the text with each control character escaped: names and messages may come from an untrusted file."""
    return CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def _console(stderr: bool = False) -> Console:
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    # Only the first process of a distributed run prints.
    console.quiet = is_worker()
    return console


_log: Console | None = None
_has_reader = {False: True, True: True}  # stdout (False) and stderr (True); becomes False when its reader has gone


def _write(console: Console, show: Callable[[], object]) -> None:
    """Call `show` unless the stream's reader has gone, as after `| head` or when a terminal was closed.

    The run goes on without a reader: its folder holds everything.
    """
    if not _has_reader[console.stderr]:
        return
    try:
        show()
    except (OSError, SystemExit):  # rich exits on a broken pipe
        _has_reader[console.stderr] = False


def _print(console: Console, *parts: RenderableType, **options: Any) -> None:
    _write(console, lambda: console.print(*parts, markup=False, **options))


def say(*parts: RenderableType, style: str | None = None) -> None:
    """Print to stdout and to the log."""
    parts = tuple(escape_controls(part) if isinstance(part, str) else part for part in parts)
    console = _console()
    # Plain output keeps a sentence on one line, for programs that read it.
    _print(console, *parts, style=style, soft_wrap=not console.is_terminal)
    if _log:
        _log.print(*parts, markup=False, soft_wrap=True)


def say_bare(line: str) -> None:
    """Print a line to stdout unchanged, for scripts that read it, such as the path of a result."""
    _print(Console(highlight=False, quiet=is_worker(), soft_wrap=True, emoji=False), Text(line))


def say_piece(text: str) -> None:
    """Print a piece of a text to stdout without ending the line."""
    _print(_console(), Text(escape_controls(text)), end="", soft_wrap=True)


def warn(text: str) -> None:
    """Print a warning to stderr and to the log."""
    text, console = escape_controls(text), _console(stderr=True)
    _print(console, f"warning: {text}", style="yellow", soft_wrap=not console.is_terminal)
    note(f"warning: {text}")


_warned = set[str]()  # what this run was warned of by warn_once


def warn_once(about: str, text: str) -> None:
    """Print a warning as `warn` does, if it is the first of this run about something."""
    if about not in _warned:
        _warned.add(about)
        warn(text)


def note(text: str) -> None:
    """Write a line to the log only."""
    if _log:
        _log.print(escape_controls(text), markup=False, soft_wrap=True)


NONE: frozenset[str] = frozenset()


def table(
    title: str, columns: list[str], rows: list[list[str]], right: Set[str] = NONE, no_wrap: Set[str] = NONE
) -> RenderableType:
    """Return a table; the columns named in `right` are flush right, those in `no_wrap` are not broken into lines.

    On a terminal too narrow for it, each row becomes its first cell and a line with the others. Without a terminal a
    row is one line, however long.
    """
    title, columns = escape_controls(title), [escape_controls(column) for column in columns]
    rows = [[escape_controls(cell) for cell in row] for row in rows]
    widths = [max(cell_len(cell) for cell in cells) for cells in zip(columns, *rows, strict=True)]
    console = _console()
    if not console.is_terminal:
        return Text("\n".join([*([title] if title else []), *_lines(columns, rows, widths, right)]))
    if console.width < NARROW and sum(widths) + GAP * len(widths) > console.width:
        return Text("\n".join([*([title] if title else []), *_records(columns, rows)]), overflow="fold")
    out = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, GAP, 0, 0))
    for column, width in zip(columns, widths, strict=True):
        fits = column in no_wrap and width < console.width / 2
        out.add_column(column, justify="right" if column in right else "left", overflow="fold", no_wrap=fits)
    for row in rows:
        out.add_row(*(Text(cell) for cell in row))
    return out


def _lines(columns: list[str], rows: list[list[str]], widths: list[int], right: Set[str]) -> Iterator[str]:
    for row in [columns, *rows]:
        padding = [" " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)]
        cells = zip(columns, row, padding, strict=True)
        yield (" " * GAP).join(pad + cell if column in right else cell + pad for column, cell, pad in cells).rstrip()


def _records(columns: list[str], rows: list[list[str]]) -> Iterator[str]:
    for first, *others in rows:
        yield first
        yield "  " + ", ".join(f"{name} {cell}" for name, cell in zip(columns[1:], others, strict=True) if cell)


class _LogHandler(logging.Handler):
    """Sends Python's log records and warnings to the run's log, away from the terminal."""

    def emit(self, record: logging.LogRecord) -> None:
        note(f"{record.levelname.lower()}: {record.name}: {record.getMessage().strip()}")


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Append all output, and the log records and warnings of libraries, to the file `path` while it is open."""
    global _log
    handler = _LogHandler()
    lightning = logging.getLogger("pytorch_lightning")
    captured = [lightning, logging.getLogger("py.warnings"), logging.getLogger("lightning.pytorch")]
    before = [(logger, logger.handlers[:], logger.propagate) for logger in captured]
    with path.open("a", encoding="utf-8") as file:
        _warned.clear()
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


Advance = Callable[[int, str | None], None]


@contextmanager
def progress(description: str, total: int | None) -> Iterator[Advance]:
    """Yield `advance(done, text)`, where `done` counts up to `total`: a bar on a terminal, else about ten lines.

    The text None is the last one again, for which a line waits ten seconds: a new text may come before.
    """
    console = _console()
    if console.is_terminal and not console.quiet:
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
        bar = Progress(*columns, TimeRemainingColumn(), TextColumn("{task.fields[text]}"), console=console)
        task = bar.add_task(description, total=total, text="")
        _write(console, bar.start)
        try:
            yield lambda done, text: _write(console, lambda: _update(bar, task, done, text))
        finally:
            _write(console, bar.stop)
        return

    started_s = last_s = time.monotonic()
    n_printed, last_text = 0, ""

    def advance(done: int, text: str | None) -> None:
        nonlocal n_printed, last_text, last_s
        now_s = time.monotonic()
        n_due = done * PLAIN_LINES // total if total else int((now_s - started_s) / PLAIN_INTERVAL_S)
        if n_due > n_printed and (text is not None or now_s - last_s > PLAIN_INTERVAL_S):
            n_printed, last_s = n_due, now_s
            last_text = last_text if text is None else text
            _print(console, f"{description} {done}/{total or '?'} {last_text}".rstrip())

    yield advance


def _update(bar: Progress, task: TaskID, done: int, text: str | None) -> None:
    if text is None:
        bar.update(task, completed=done)
    else:
        bar.update(task, completed=done, text=text)
