"""Tests of reading documents from files: nothing is lost, and each issue is reported with its file and place."""

import bz2
import gzip
import lzma
from pathlib import Path

import pyarrow as pa
import pytest

from ssl_cli.data.io import files
from ssl_cli.data.io import text as text_io
from ssl_cli.data.io.files import list_files
from ssl_cli.data.io.text import SEPARATORS, ReadIssues, read_documents, read_text
from ssl_cli.errors import InputError


def zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


COMPRESSORS = {"": bytes, ".gz": gzip.compress, ".zst": zstd, ".bz2": bz2.compress, ".xz": lzma.compress}


def write_file(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read(path: Path, how: str = "line") -> tuple[list[str], ReadIssues]:
    issues = ReadIssues()
    return list(read_documents(path, how, issues)), issues


# --- bytes -> text ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 1 << 20])
@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_text_does_not_depend_on_compression_or_block_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, suffix: str
) -> None:
    monkeypatch.setattr(files, "READ_BYTES", size)
    text = "naïve\r\n静夜思 😀\n\n\x0b no line end \u2028 here\r\n\rlast"
    path = write_file(tmp_path / f"a.txt{suffix}", COMPRESSORS[suffix](b"\xef\xbb\xbf" + text.encode()))
    issues = ReadIssues()
    assert "".join(read_text(path, issues)) == text.replace("\r\n", "\n").replace("\r", "\n")
    assert issues == ReadIssues()


@pytest.mark.parametrize("size", [1, 2, 3, 64, 1 << 20])
def test_invalid_utf8_is_counted_and_named_by_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(files, "READ_BYTES", size)
    content = "\ufeff".encode() + b"ab\xffc\n" + "é\ufffd".encode() + b"\n\xe9t\xe9\n\xf0\x9f\x98\n" + b"\x80" * 9
    documents, issues = read(write_file(tmp_path / "a.txt", content))
    assert "\n".join(documents) == content.decode("utf-8-sig", errors="replace")
    assert issues.n_invalid == 1 + 2 + 1 + 9
    places = [5, 14, 16, 18, 22]
    assert issues.invalid_at == [f"{tmp_path}/a.txt at byte {place}" for place in places]
    (message,) = issues.messages()
    assert "13 invalid UTF-8 sequence(s)" in message
    assert message.endswith("; and 8 more.")


def test_text_in_another_encoding_is_an_error(tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.txt", ("床前明月光，疑是地上霜。\n" * 30).encode("gb18030"))
    with pytest.raises(InputError, match=r"a\.txt is not UTF-8 text.*iconv") as caught:
        read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".gz", ".zst", ".bz2", ".xz"])
def test_truncated_or_uncompressed_file_is_an_error(tmp_path: Path, suffix: str) -> None:
    whole = COMPRESSORS[suffix](b"".join(b"line %d\n" % k for k in range(9999)))
    with pytest.raises(InputError, match="is cut off: its compressed data end too early"):
        read(write_file(tmp_path / f"cut.txt{suffix}", whole[: len(whole) // 2]))
    with pytest.raises(InputError, match=r"other\.txt\S* can't be read: "):
        read(write_file(tmp_path / f"other.txt{suffix}", "plain text " * 99))


# --- text -> documents --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 4, 1 << 20])
def test_documents_are_lines_blocks_or_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(files, "READ_BYTES", size)
    path = write_file(tmp_path / "a.txt", "one\n  two\r\n \t\r\n\r\n  three\nfour\n")
    assert read(path, "line")[0] == ["one", "  two", " \t", "", "  three", "four", ""]
    assert [text for text in read(path, "block")[0] if text] == ["one\n  two", "  three\nfour"]
    assert read(path, "file")[0] == ["one\n  two\n \t\n\n  three\nfour\n"]


@pytest.mark.parametrize("how", SEPARATORS)
def test_long_document_is_cut_between_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """A file without line ends is cut: nothing is lost, and a message says so."""
    monkeypatch.setattr(text_io, "MAX_DOCUMENT_CHARS", 100)
    monkeypatch.setattr(files, "READ_BYTES", 30)
    text = " ".join(f"word{k}" for k in range(99))
    documents, issues = read(write_file(tmp_path / "a.txt", text), how)
    assert "".join(documents) == text
    assert max(map(len, documents)) <= 100
    assert all(part.endswith(" ") for part in documents[:-1])
    assert f"{len(documents) - 1} place(s)" in issues.messages()[0]


# --- which files --------------------------------------------------------------------------------------------


def test_list_files_takes_files_folders_patterns_and_lists(tmp_path: Path) -> None:
    for name in ("b/2.txt", "b/1.TXT.gz", "b/c/d/e/f/3.md.zst", "b/x.csv", "b/.hidden.txt", "b/.git/4.txt", "a.odd"):
        write_file(tmp_path / name, "x")

    def names(*paths: str) -> list[str]:
        found = list_files([str(tmp_path / path) for path in paths], (".txt", ".md"))
        return [path.relative_to(tmp_path).as_posix() for path in found]

    assert names("b") == ["b/1.TXT.gz", "b/2.txt", "b/c/d/e/f/3.md.zst"]
    assert names("a.odd", "b/2.txt", "b") == ["a.odd", "b/2.txt", "b/1.TXT.gz", "b/c/d/e/f/3.md.zst"]
    assert names("*/?.*") == ["b/1.TXT.gz", "b/2.txt", "b/x.csv"]
    assert names("b/**/*.zst") == ["b/c/d/e/f/3.md.zst"]


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ("nowhere.txt", "nowhere.txt is neither a file nor a folder"),
        ("empty", r"empty has no text: there is no file whose name ends in \.txt \(optionally with \.gz"),
        ("*.log", r"\*\.log has no text: there is no file that matches it"),
        ([], "The list of files is empty"),
    ],
)
def test_list_files_without_a_match_is_an_error(workdir: Path, paths: str | list[str], message: str) -> None:
    write_file(workdir / "empty" / "table.csv", "x")
    with pytest.raises(InputError, match=message):
        list_files(paths, (".txt",))
