"""Files that are written whole or not at all, and locks between processes."""

import csv
import errno
import fcntl
import hashlib
import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

CHUNK_BYTES = 1 << 20
LOCKS_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # errors of a file system without locks
FORMULA = r"[=+\-@\t\r\n＝＋－＠]"  # what a formula begins with, also in full width
NUMBER = r"[+-]?[\d.,]*\d[\d.,]*([eE][+-]?\d+)?\s?%?"


@contextmanager
def file_lock(path: Path, wait: bool = True) -> Iterator[bool]:
    """Hold the lock file `path` and yield whether it is held; the file is removed afterwards.

    If another process holds the lock, waits for it, or with `wait=False` yields False. The lock is released when its
    process ends, in whatever way. On a file system without locks, `wait=True` yields True at once and `wait=False`
    yields False.
    """
    lock, is_held = _acquire(path, wait)
    try:
        yield is_held
    finally:
        if lock is not None:
            path.unlink(
                missing_ok=True
            )  # before the lock is released: a process that waits for it then makes a new one
            os.close(lock)


def _acquire(path: Path, wait: bool) -> tuple[int | None, bool]:
    """Return the lock's file descriptor, if there is one, and whether the lock is held."""
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(path.stat(), os.fstat(lock)):
                return lock, True
        except FileNotFoundError:
            pass  # the process that held it has just removed it
        except BlockingIOError:
            os.close(lock)
            return None, False
        except OSError as error:
            if error.errno in LOCKS_UNSUPPORTED:
                return lock, wait
            os.close(lock)
            raise
        os.close(lock)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all. Raises OSError if it cannot be written."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")  # several processes may write the same table
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        with suppress(OSError):  # where nothing can be written, nothing can be removed either
            partial.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    write_bytes(path, text.encode())


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


def to_json(content: Mapping[str, Any]) -> str:
    """Return an object as the text of a JSON file, indented, with non-ASCII characters as they are."""
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write an object as a JSON file. Raises ValueError for NaN and infinity, which are not JSON."""
    write_text(path, to_json(content))


def sha256_of(path: Path, last: int = 0) -> bytes:
    """Return the SHA-256 of a file, without its `last` bytes."""
    digest, n_left = hashlib.sha256(), path.stat().st_size - last
    with path.open("rb") as file:
        while n_left > 0 and (chunk := file.read(min(n_left, CHUNK_BYTES))):
            digest.update(chunk)
            n_left -= len(chunk)
    return digest.digest()
