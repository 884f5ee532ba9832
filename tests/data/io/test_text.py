"""Files -> documents: nothing is lost or made up, and what is wrong is said with its file and place."""

import bz2
import gzip
import lzma
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from ssl_cli.data.io import files
from ssl_cli.data.io import text as text_io
from ssl_cli.data.io.files import files_of
from ssl_cli.data.io.text import SEPARATORS, ReadIssues, documents_of, pieces
from ssl_cli.data.text import holdout
from ssl_cli.data.text.holdout import split
from ssl_cli.errors import InputError


def zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


PACKED = {"": bytes, ".gz": gzip.compress, ".zst": zstd, ".bz2": bz2.compress, ".xz": lzma.compress}


def written(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read(path: Path, how: str = "line") -> tuple[list[str], ReadIssues]:
    faults = ReadIssues()
    return list(documents_of(path, how, faults)), faults


# --- bytes -> text ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 1 << 20])
@pytest.mark.parametrize("suffix", PACKED)
def test_a_text_is_the_same_whatever_its_packing_and_the_pieces_it_comes_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, suffix: str
) -> None:
    monkeypatch.setattr(files, "PIECE", size)
    text = "naïve\r\n静夜思 😀\n\n\x0b no line end \u2028 here\r\n\rlast"
    path = written(tmp_path / f"a.txt{suffix}", PACKED[suffix](b"\xef\xbb\xbf" + text.encode()))
    faults = ReadIssues()
    assert "".join(pieces(path, faults)) == text.replace("\r\n", "\n").replace("\r", "\n")
    assert faults == ReadIssues()


@pytest.mark.parametrize("size", [1, 2, 3, 64, 1 << 20])
def test_faults_of_utf8_are_counted_and_named_by_their_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(files, "PIECE", size)
    content = "\ufeff".encode() + b"ab\xffc\n" + "é\ufffd".encode() + b"\n\xe9t\xe9\n\xf0\x9f\x98\n" + b"\x80" * 9
    found, faults = read(written(tmp_path / "a.txt", content))
    assert "\n".join(found) == content.decode("utf-8-sig", errors="replace")
    assert faults.n_bytes == 1 + 2 + 1 + 9
    places = [5, 14, 16, 18, 22]
    assert faults.bytes_at == [f"{tmp_path}/a.txt at byte {place}" for place in places]
    (told,) = faults.sentences()
    assert "13 fault(s)" in told
    assert told.endswith("; and 8 more.")


@pytest.mark.parametrize("coding", ["gb18030", "utf-16"])
def test_a_text_in_another_encoding_is_refused(tmp_path: Path, coding: str) -> None:
    path = written(tmp_path / "a.txt", ("床前明月光，疑是地上霜。\n" * 30).encode(coding))
    with pytest.raises(InputError, match=r"a\.txt is no text in UTF-8.*iconv") as refused:
        read(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("suffix", [".gz", ".zst", ".bz2", ".xz"])
def test_a_file_that_is_cut_off_or_no_such_file_at_all(tmp_path: Path, suffix: str) -> None:
    whole = PACKED[suffix](b"".join(b"line %d\n" % k for k in range(9999)))
    with pytest.raises(InputError, match="is cut off: its compressed data end too early"):
        read(written(tmp_path / f"cut.txt{suffix}", whole[: len(whole) // 2]))
    with pytest.raises(InputError, match=r"other\.txt\S* can't be read: "):
        read(written(tmp_path / f"other.txt{suffix}", "plain text " * 99))


# --- text -> documents --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 4, 1 << 20])
def test_lines_blocks_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(files, "PIECE", size)
    path = written(tmp_path / "a.txt", "one\n  two\r\n \t\r\n\r\n  three\nfour\n")
    assert read(path, "line")[0] == ["one", "  two", " \t", "", "  three", "four", ""]
    assert [text for text in read(path, "block")[0] if text] == ["one\n  two", "  three\nfour"]
    assert read(path, "file")[0] == ["one\n  two\n \t\n\n  three\nfour\n"]


@pytest.mark.parametrize("how", SEPARATORS)
def test_what_is_too_long_is_cut_between_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """No line end for longer than memory: nothing is lost, and it is told."""
    monkeypatch.setattr(text_io, "LONGEST", 100)
    monkeypatch.setattr(files, "PIECE", 30)
    text = " ".join(f"word{k}" for k in range(99))
    found, faults = read(written(tmp_path / "a.txt", text), how)
    assert "".join(found) == text
    assert max(map(len, found)) <= 100
    assert all(part.endswith(" ") for part in found[:-1])
    assert f"{len(found) - 1} place(s)" in faults.sentences()[0]


# --- which files --------------------------------------------------------------------------------------------


def test_files_folders_patterns_and_lists(tmp_path: Path) -> None:
    for name in ("b/2.txt", "b/1.TXT.gz", "b/c/d/e/f/3.md.zst", "b/x.csv", "b/.hidden.txt", "b/.git/4.txt", "a.odd"):
        written(tmp_path / name, "x")

    def names(*given: str) -> list[str]:
        found = files_of([str(tmp_path / one) for one in given], (".txt", ".md"))
        return [path.relative_to(tmp_path).as_posix() for path in found]

    assert names("b") == ["b/1.TXT.gz", "b/2.txt", "b/c/d/e/f/3.md.zst"]
    assert names("a.odd", "b/2.txt", "b") == ["a.odd", "b/2.txt", "b/1.TXT.gz", "b/c/d/e/f/3.md.zst"]
    assert names("*/?.*") == ["b/1.TXT.gz", "b/2.txt", "b/x.csv"]
    assert names("b/**/*.zst") == ["b/c/d/e/f/3.md.zst"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("nowhere.txt", "nowhere.txt is neither a file nor a folder"),
        ("empty", r"empty holds no text: there is no file whose name ends in \.txt \(or then in \.gz"),
        ("*.log", r"\*\.log holds no text: there is no file that fits it"),
        ([], "The list of files is empty"),
    ],
)
def test_nothing_to_read(workdir: Path, given: str | list[str], told: str) -> None:
    written(workdir / "empty" / "table.csv", "x")
    with pytest.raises(InputError, match=told):
        files_of(given, (".txt",))


# --- train and val ------------------------------------------------------------------------------------------


def parts(texts: list[str], val: float) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {"train": [], "val": []}
    for name, text in split(texts, val):
        found[name].append(text)
    return found


def test_many_documents_are_held_out_whole_and_copies_together() -> None:
    texts = [f"document {k}" for k in range(4000)]
    found = parts([*texts, *reversed(texts)], 0.05)
    assert 0.04 < len(found["val"]) / 8000 < 0.06
    assert not set(found["val"]) & set(found["train"])
    assert sorted(found["val"] + found["train"]) == sorted(texts * 2)
    assert parts(texts[::-1], 0.05)["val"] == parts(texts, 0.05)["val"][::-1]


@pytest.mark.parametrize("n", [1, 2, 20, 79])
def test_of_few_documents_the_share_is_exact(n: int) -> None:
    texts = [f"{k} " * (30 * k + 5) for k in range(n)]
    found = parts(texts, 0.1)
    total = sum(map(len, texts))
    assert sum(map(len, found["val"])) == total - int(total * 0.9)
    assert len(found["train"]) + len(found["val"]) <= n + 1  # one is cut at most
    assert sum(map(len, found["train"] + found["val"])) == total


def test_the_end_of_one_document_is_held_out_as_nanogpt_does() -> None:
    text = "x" * 1_115_394  # tiny Shakespeare's
    assert [len(part) for _, part in split([text], 0.1)] == [1_003_854, 111_540]


def test_of_long_documents_the_end_of_each_is_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holdout, "WINDOW", 1000)
    found = parts([f"{k}" * 400 for k in range(9)], 0.05)
    assert found == {"train": [f"{k}" * 380 for k in range(9)], "val": [f"{k}" * 20 for k in range(9)]}


@pytest.mark.parametrize("make", [lambda: iter(()), lambda: iter(["a"])])
def test_nothing_is_held_out_of_nothing_or_by_no_share(make: Callable) -> None:
    assert [name for name, _ in split(make(), 0.0)] == ["train"] * len(list(make()))
    assert len(list(split(make(), 0.5))) == len(list(make()))


def test_documents_stream() -> None:
    """An endless corpus: no more is read than is looked at ahead."""
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield f"document {taken}"

    stream = split(endless(), 0.1)
    assert [next(stream) for _ in range(500)]
    assert taken == 500
