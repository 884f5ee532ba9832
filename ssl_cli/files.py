"""Files that are written whole or not at all, and locks among processes."""

import csv
import errno
import fcntl
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

LOCKLESS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # what a file system says that has no locks


@contextmanager
def file_lock(path: Path, wait: bool = True) -> Iterator[bool]:
    """Hold the lock of this name, whose file is gone afterwards; gives whether it is held.

    Another process's is waited for, or else not had. It ends with its process, however that ends. On a file system
    without locks nobody is waited for, and nothing is known of others.
    """
    lock, is_held = _taken(path, wait)
    try:
        yield is_held
    finally:
        if lock is not None:
            path.unlink(missing_ok=True)  # while it is ours: who waits for this file then takes another
            os.close(lock)


def _taken(path: Path, wait: bool) -> tuple[int | None, bool]:
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(path.stat(), os.fstat(lock)):
                return lock, True
        except FileNotFoundError:
            pass  # its holder has just removed it
        except BlockingIOError:
            os.close(lock)
            return None, False
        except OSError as error:
            if error.errno in LOCKLESS:
                return lock, wait
            os.close(lock)
            raise
        os.close(lock)


def write_bytes(path: Path, content: bytes) -> None:
    """Raises OSError where it can't be written."""
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
    write_bytes(path, text.encode())


def write_csv(path: Path, columns: list[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Rows as a CSV with a header; what a row lacks is left empty."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def write_json(path: Path, content: dict[str, Any]) -> None:
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
