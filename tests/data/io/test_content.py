"""Files are recognised by their first bytes; whatever reads text or rows names a sound, a picture or a document."""

import gzip
import io
import wave
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image

from ssl_cli.data.images.folder import ImageFolder
from ssl_cli.data.images.reader import ImageReader
from ssl_cli.data.io.arrow import FileLayout, read_table
from ssl_cli.data.io.content import content_kind, file_kind
from ssl_cli.data.io.lines import read_lines
from ssl_cli.data.io.records import read_records
from ssl_cli.data.io.table_stream import read_chunks
from ssl_cli.data.io.text import ReadIssues, read_text
from ssl_cli.errors import InputError


def wav() -> bytes:
    with wave.open(file := io.BytesIO(), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(4000))
    return file.getvalue()


def picture(name: str) -> bytes:
    Image.new("RGB", (4, 4)).save(file := io.BytesIO(), name)
    return file.getvalue()


def zipped(name: str) -> bytes:
    with zipfile.ZipFile(file := io.BytesIO(), "w") as archive:
        archive.writestr(name, b"x")
    return file.getvalue()


def npz() -> bytes:
    np.savez(file := io.BytesIO(), x=np.arange(3))
    return file.getvalue()


def parquet() -> bytes:
    pyarrow.parquet.write_table(pa.table({"a": [1]}), file := io.BytesIO())
    return file.getvalue()


KINDS = {
    "a WAV sound": wav(),
    "a FLAC sound": b"fLaC\0\0\0\x22",
    "an MP3 sound": b"ID3\4\0\0\0\0",
    "an Ogg sound": b"OggS\0\2",
    "an M4A sound": b"\0\0\0\x20ftypM4A \0",
    "an MP4 video": b"\0\0\0\x20ftypisom\0",
    "an AIFF sound": b"FORM\0\0\0\0AIFF",
    "a PNG picture": picture("PNG"),
    "a JPEG picture": picture("JPEG"),
    "a WebP picture": picture("WEBP"),
    "a BMP picture": picture("BMP"),
    "a GIF picture": picture("GIF"),
    "a TIFF picture": picture("TIFF"),
    "a PDF": b"%PDF-1.7\n",
    "an Excel workbook": zipped("xl/workbook.xml"),
    "a zip": zipped("a.csv"),
    "an npz of arrays": npz(),
    "a Parquet file": parquet(),
    "compressed by gzip": gzip.compress(b"a"),
}
TEXTS = ["BM,WEIGHT\n1,2\n", "ID3,a\n", "PAR1,b\n", "GIF,x", "RIFF,ab\n", "PK,b", "OggS\n", "", "\ufeffa", "FORM\n"]


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_known_whatever_its_name(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a.csv").write_bytes(KINDS[kind])
    assert file_kind(tmp_path / "a.csv") == kind
    if kind != "compressed by gzip":
        (tmp_path / "b.txt.gz").write_bytes(gzip.compress(KINDS[kind]))
        assert file_kind(tmp_path / "b.txt.gz") == kind
    with pytest.raises(InputError, match=f"a.csv is {kind}, not a table; "):
        read_table(tmp_path / "a.csv")
    with pytest.raises(InputError, match=f"a.csv is {kind}, not text"):
        list(read_records(tmp_path / "a.csv"))


@pytest.mark.parametrize("text", TEXTS)
def test_texts_that_begin_alike_are_texts(text: str) -> None:
    assert content_kind(text.encode()) is None
    assert content_kind(text.encode("utf-16")) is None


def test_every_reader_names_a_sound(tmp_path: Path) -> None:
    for suffix in (".csv", ".txt", ".parquet", ".npz", ".jsonl", ".wav"):
        (tmp_path / f"a{suffix}").write_bytes(wav())
    sound = "is a WAV sound, not "
    with pytest.raises(InputError, match=f"{sound}a Parquet file; a table is a CSV, "):
        read_table(tmp_path / "a.parquet")
    with pytest.raises(InputError, match=f"{sound}an npz of arrays"):
        read_table(tmp_path / "a.npz")
    with pytest.raises(InputError, match=f"{sound}a table"):
        next(read_chunks(tmp_path / "a.csv", {}, FileLayout(["a"])))
    for name in ("a.parquet", "a.jsonl", "a.txt"):
        with pytest.raises(InputError, match=sound):
            list(read_records(tmp_path / name))
    with pytest.raises(InputError, match=f"{sound}text"):
        list(read_text(tmp_path / "a.txt", ReadIssues()))
    with pytest.raises(InputError, match=f"prompts=.*{sound}text"):
        read_lines("prompts", str(tmp_path / "a.wav"))
    with pytest.raises(InputError, match=r"a\.wav is a WAV sound, which is neither a folder nor a zip of images"):
        ImageFolder(dir=str(tmp_path / "a.wav")).read()
    with pytest.raises(InputError, match="it is a WAV sound, not a picture that can be read"):
        ImageReader([1, 4, 4], []).read(tmp_path / "a.wav")
    (tmp_path / "b.csv").write_bytes(parquet())
    with pytest.raises(InputError, match=r"is a Parquet file, not a table; let its name end in \.parquet\."):
        read_table(tmp_path / "b.csv")
