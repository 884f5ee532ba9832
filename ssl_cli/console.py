"""Output of a run: to the terminal with rich, to the run's `log.txt` as plain lines. No other module prints.

Without a terminal all output is plain lines. Results go to stdout, warnings and errors to stderr. What comes from data
is made safe for the terminal by `printable`. Imports rich only where it is needed.
"""

import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager, suppress
from io import UnsupportedOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssl_cli.printable import NONE, Part, PrintedTable, escape_controls, on_one_line, rendered
from ssl_cli.process import is_worker

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

PLAIN_WIDTH = 120  # columns, when there is no terminal to ask
PLAIN_LINES = 10  # progress lines that a task prints without a terminal
PLAIN_INTERVAL_S = 10  # after which a line may repeat an old text


def _console(stderr: bool = False) -> "Console":
    from rich.console import Console

    console = Console(stderr=stderr, highlight=False, emoji=False, markup=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    # Only the first process of a distributed run prints.
    console.quiet = is_worker()
    return console


_log: "Console | None" = None
_has_reader = {False: True, True: True}  # stdout (False) and stderr (True); becomes False when its reader has gone


def _write(console: "Console", show: Callable[[], object]) -> None:
    """Call `show` unless the stream's reader has gone, as after `| head` or when a terminal was closed.

    The run goes on without a reader: its folder holds everything.
    """
    if not _has_reader[console.stderr]:
        return
    try:
        show()
    except (OSError, SystemExit):  # rich exits on a broken pipe
        _has_reader[console.stderr] = False


def _print(console: "Console", *parts: Part, **options: Any) -> None:
    shown = [rendered(part, console) for part in parts]
    _write(console, lambda: console.print(*shown, **options))


def table(
    title: str, columns: list[str], rows: list[list[str]], right: Set[str] = NONE, no_wrap: Set[str] = NONE
) -> PrintedTable:
    """Return a table that `say` prints."""
    return PrintedTable(title, columns, rows, right, no_wrap)


def say(*parts: Part, style: str | None = None) -> None:
    """Print to stdout and to the log."""
    console = _console()
    # Plain output keeps a sentence on one line, for programs that read it.
    _print(console, *parts, style=style, soft_wrap=not console.is_terminal)
    if _log:
        _log.print(*(rendered(part, _log) for part in parts), soft_wrap=True)


def say_bare(text: str) -> None:
    """Print a text to stdout for programs that read it, such as the path of a result: unchanged, but on a terminal."""
    if is_worker() or not _has_reader[False]:
        return
    try:
        print(escape_controls(text) if sys.stdout.isatty() else text, flush=True)
    except OSError:
        _has_reader[False] = False
        with suppress(OSError, UnsupportedOperation):  # otherwise Python complains about the pipe as it exits
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say_piece(text: str) -> None:
    """Print a piece of a text to stdout without ending the line."""
    _print(_console(), text, end="", soft_wrap=True)


def say_error(text: str) -> None:
    """Print why a command ends to stderr."""
    with suppress(OSError):  # the terminal may be gone
        print(escape_controls(text), file=sys.stderr, flush=True)


def say_traceback(error: BaseException) -> None:
    """Print the traceback of a bug to stderr: its message may hold a name from a file."""
    say_error("".join(traceback.format_exception(error)).rstrip("\n"))


def warn(text: str) -> None:
    """Print a warning to stderr and to the log."""
    console = _console(stderr=True)
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
        _log.print(rendered(text, _log), soft_wrap=True)


class _LogHandler(logging.Handler):
    """Sends Python's log records and warnings to the run's log, away from the terminal."""

    def emit(self, record: logging.LogRecord) -> None:
        note(f"{record.levelname.lower()}: {record.name}: {record.getMessage().strip()}")


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Append all output, and the log records and warnings of libraries, to the file `path` while it is open."""
    global _log
    from rich.console import Console

    handler = _LogHandler()
    lightning = logging.getLogger("pytorch_lightning")
    captured = [lightning, logging.getLogger("py.warnings"), logging.getLogger("lightning.pytorch")]
    before = [(logger, logger.handlers[:], logger.propagate) for logger in captured]
    with path.open("a", encoding="utf-8") as file:
        _warned.clear()
        _log = Console(file=file, width=PLAIN_WIDTH, highlight=False, color_system=None, emoji=False, markup=False)
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
        bar = _bar(console)
        task = bar.add_task(on_one_line(description), total=total, text="")
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
            _print(console, f"{description} {done}/{total or '?'} {last_text}".rstrip(), soft_wrap=True)

    yield advance


def _bar(console: "Console") -> "Progress":
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    names = ("{task.description}", "{task.completed}/{task.total}", "{task.fields[text]}")
    description, count, text = (TextColumn(name, markup=False) for name in names)
    return Progress(description, BarColumn(), count, TimeRemainingColumn(), text, console=console)


def _update(bar: "Progress", task: "TaskID", done: int, text: str | None) -> None:
    if text is None:
        bar.update(task, completed=done)
    else:
        bar.update(task, completed=done, text=on_one_line(text))
