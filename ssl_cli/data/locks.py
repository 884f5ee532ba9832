"""Locks among processes: what one of them makes, the others wait for and find made."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCKLESS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # what a file system says that has no locks


@contextmanager
def held(path: Path, wait: bool = True) -> Iterator[bool]:
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
