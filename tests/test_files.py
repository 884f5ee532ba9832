"""Files and folders that are written whole or not at all."""

import errno
import fcntl
import signal
from pathlib import Path
from typing import Any

import pytest

from ssl_cli.files import UNFINISHED, unfinished_folder, write_text
from ssl_cli.process import Interrupted


def test_unfinished_folders_of_killed_processes_are_removed_and_no_others(tmp_path: Path) -> None:
    abandoned = tmp_path / f"{UNFINISHED}{'0123456789abcdef' * 2}"
    of_users = [tmp_path / f"{UNFINISHED}keys", tmp_path / ".ssl-keys"]
    for folder in [abandoned, *of_users]:
        folder.mkdir()
        (folder / "part").touch()
    with unfinished_folder(tmp_path) as first:
        assert not abandoned.exists()
        (first / "part").touch()
        with unfinished_folder(tmp_path) as second:
            assert first.exists() and second != first
    assert sorted(tmp_path.iterdir()) == sorted(of_users)


def test_a_link_that_looks_unfinished_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    link = tmp_path / f"{UNFINISHED}{'a' * 32}"
    link.symlink_to(tmp_path / "mine")
    with unfinished_folder(tmp_path):
        pass
    assert link.is_symlink() and (tmp_path / "mine").is_dir()


def test_without_locks_nothing_of_others_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    other = tmp_path / f"{UNFINISHED}{'a' * 32}"
    other.mkdir()
    with unfinished_folder(tmp_path) as folder:
        assert folder.is_dir()
    assert list(tmp_path.iterdir()) == [other]


def test_a_signal_in_the_middle_of_a_write_leaves_the_file_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: Any) -> None:
        raise Interrupted(signal.SIGTERM)

    write_text(tmp_path / "metrics.json", "before")
    monkeypatch.setattr(Path, "replace", stopped)
    with pytest.raises(Interrupted):
        write_text(tmp_path / "metrics.json", "after")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]
