"""UTF-16 is read as UTF-8, block by block; damaged UTF-16 and UTF-32 are named."""

from pathlib import Path

import pytest

from ssl_cli.data.io.utf8 import read_utf8_blocks
from ssl_cli.errors import InputError

TEXT = "été 床前 \N{GRINNING FACE}\r\nend"


@pytest.mark.parametrize("size", [1, 3, 1 << 20])
@pytest.mark.parametrize(("mark", "coding"), [(b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"), (b"", "utf-8")])
def test_utf16_becomes_utf8(tmp_path: Path, size: int, mark: bytes, coding: str) -> None:
    (tmp_path / "a.txt").write_bytes(mark + TEXT.encode(coding))
    assert b"".join(block for block, _ in read_utf8_blocks(tmp_path / "a.txt", size)).decode() == TEXT


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("ab".encode("utf-32"), "is in UTF-32, not UTF-8: convert it, for example with iconv -f UTF-32 -t UTF-8."),
        ("ab".encode("utf-16")[:-1], r"begins like UTF-16 and then has bytes that are not \(truncated data\): save it"),
        ("a word\n".encode("utf-16-le"), r"in UTF-16LE, not UTF-8: convert it, .* iconv -f UTF-16LE -t UTF-8"),
        ("a word\n".encode("utf-16-be"), "seems to be in UTF-16BE"),
        ("a word\n".encode("utf-32-le"), "seems to be in UTF-32LE"),
        ("a word\n".encode("utf-32-be"), "seems to be in UTF-32BE"),
        (b"\xff\xfe\x00\xdcab", "begins like UTF-16 and then has bytes that are not"),
    ],
)
def test_other_encodings_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(InputError, match=message):
        list(read_utf8_blocks(tmp_path / "a.txt"))


@pytest.mark.parametrize("content", [bytes(100), b"a\0b", b"a word and a \0, " * 9])
def test_nul_bytes_alone_are_no_other_encoding(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    assert b"".join(block for block, _ in read_utf8_blocks(tmp_path / "a.txt")) == content
