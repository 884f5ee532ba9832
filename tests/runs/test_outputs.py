"""An output folder appears whole or not at all, and only errors in writing it become messages."""

import errno
from pathlib import Path

import pytest

from ssl_cli.errors import InputError
from ssl_cli.runs.outputs import output_folder


def test_only_errors_in_writing_become_messages(tmp_path: Path) -> None:
    output = tmp_path / "new"
    with pytest.raises(FileNotFoundError), output_folder(str(output), False, tmp_path):
        (tmp_path / "absent.bin").read_bytes()
    with (
        pytest.raises(InputError, match=r"new can't be written: No space left"),
        output_folder(str(output), False, tmp_path),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    with (
        pytest.raises(InputError, match=r"new can't be written: No such file"),
        output_folder(str(output), False, tmp_path) as (folder, _),
    ):
        (folder / "absent" / "x.png").write_bytes(b"")
    assert not list(tmp_path.iterdir())
