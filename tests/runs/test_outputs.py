"""A folder of results is there whole or not at all, and only what can't be written is said to be so."""

import errno
from pathlib import Path

import pytest

from ssl_cli.errors import InputError
from ssl_cli.runs.outputs import results


def test_what_can_not_be_written_is_told_and_what_can_not_be_read_is_not(tmp_path: Path) -> None:
    output = tmp_path / "new"
    with pytest.raises(FileNotFoundError), results(str(output), False, tmp_path):
        (tmp_path / "absent.bin").read_bytes()
    with pytest.raises(InputError, match=r"new can't be written: No space left"), results(str(output), False, tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")
    with (
        pytest.raises(InputError, match=r"new can't be written: No such file"),
        results(str(output), False, tmp_path) as (folder, _),
    ):
        (folder / "absent" / "x.png").write_bytes(b"")
    assert not list(tmp_path.iterdir())
