"""Files and folders that are written whole or not at all, and locks between processes."""

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

CHUNK_BYTES = 1 << 20
# Errors of a file system without locks; the last is NFS's for the lock of a folder.
LOCKS_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF)
UNFINISHED = ".ssl-unfinished-"  # prefix of a folder with what is being written


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


@contextmanager
def unfinished_folder(parent: Path) -> Iterator[Path]:
    """Yield a new hidden folder in `parent`, removed at the end with what is left in it.

    Its name is unique, so it neither meets nor endangers a user's file. It is locked while its process lives; those
    that killed processes left in `parent` are removed first. Raises OSError if it cannot be made.
    """
    _remove_abandoned(parent)
    folder, lock = parent / f"{UNFINISHED}{uuid4().hex}", None
    try:
        lock = _make_locked(folder)
        yield folder
    finally:
        _remove(folder)
        if lock is not None:
            os.close(lock)


def _remove_abandoned(parent: Path) -> None:
    """Remove the unfinished folders in `parent` whose lock is free."""
    for folder in parent.glob(f"{UNFINISHED}*"):
        if re.fullmatch("[0-9a-f]{32}", folder.name.removeprefix(UNFINISHED)):
            with suppress(OSError):  # it is another process's, or without locks it may be
                lock = _lock_folder(folder)
                _remove(folder)
                os.close(lock)


def _make_locked(folder: Path) -> int | None:
    """Make an unfinished folder and return its lock; None on a file system without locks."""
    while True:
        folder.mkdir(mode=0o700, exist_ok=True)
        try:
            lock = _lock_folder(folder)
        except (FileNotFoundError, BlockingIOError):
            continue  # another process took it for abandoned before it was locked
        except OSError as error:
            if error.errno in LOCKS_UNSUPPORTED:
                return None
            raise
        if folder.exists():
            return lock
        os.close(lock)


def _remove(folder: Path) -> None:
    """Remove a folder and what is in it, as far as possible, even if a signal arrives meanwhile."""
    try:
        shutil.rmtree(folder, ignore_errors=True)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _lock_folder(folder: Path) -> int:
    """Return the descriptor that holds a folder's lock. Raises OSError if it can't be locked at once."""
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all. Raises OSError if it cannot be written."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")  # several processes may write the same table
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:  # a full disk, or a signal
        with suppress(OSError):  # where nothing can be written, nothing can be removed either
            partial.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    write_bytes(path, text.encode())


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
