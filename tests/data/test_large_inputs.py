"""Inputs that are large in one way: many files, many documents, one long line. Each is read whole or named."""

import json
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest

from ssl_cli.data.images.folder import ImageFolder
from ssl_cli.data.io.arrow import FileLayout, read_table
from ssl_cli.data.io.records import read_records
from ssl_cli.data.io.table_stream import read_chunks
from ssl_cli.data.text.sources import TextFiles
from ssl_cli.errors import InputError
from tests.helpers.image_files import grey_square, save_image

pytestmark = pytest.mark.long
TOO_LONG = "a line of more than 128 MB"


def test_twenty_thousand_small_images_in_a_folder_and_a_zip(tmp_path: Path) -> None:
    contents = [save_image(tmp_path / "one.png", grey_square(k)).read_bytes() for k in range(100)]
    names = [f"c{k % 10}/{k:06}.png" for k in range(20_000)]
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for k, name in enumerate(names):
            (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "set" / name).write_bytes(contents[k % 100])
            archive.writestr(name, contents[k % 100])
    for path in (tmp_path / "set", tmp_path / "set.zip"):
        found = ImageFolder(dir=str(path), size=4, color="grey").read()
        assert found.names == sorted(names) and found.warnings == []
        assert found.x[:, 0, 0, 0].tolist() == [int(name[3:-4]) % 100 for name in found.names]


def test_a_folder_of_a_hundred_thousand_files(tmp_path: Path) -> None:
    content = save_image(tmp_path / "one.png", grey_square(9)).read_bytes()
    for folder in ("images", "texts"):
        (tmp_path / folder).mkdir()
    for k in range(100_000):
        (tmp_path / f"images/{k:06}.png").write_bytes(content)
        (tmp_path / f"texts/{k:06}.txt").write_text(f"text {k}\n")
    assert ImageFolder(dir=str(tmp_path / "images"), size=4, color="grey").read().x.shape == (100_000, 1, 4, 4)
    source = TextFiles(files=str(tmp_path / "texts"), document="file", val=0.1)
    assert len(source.version()) == 100_001
    assert [text.strip() for text in source.documents()] == [f"text {k}" for k in range(100_000)]


def test_a_million_documents_of_one_word(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("".join(f"w{k % 5000}\n" for k in range(1_000_000)))
    source = TextFiles(files=str(tmp_path / "words.txt"), document="line", val=0.1)
    splits = [split for split, _ in source.splits()]
    assert len(splits) == 1_000_000 and 0.08 < splits.count("val") / len(splits) < 0.12


def test_one_line_of_200_mb(tmp_path: Path) -> None:
    line = ("lorem ipsum " * 17_000_000)[:200_000_000]
    for name, before, after in (
        ("a.txt", "", ""),
        ("a.csv", "text,label\nshort,a\n", ",b\nshort,a\n"),
        ("quoted.csv", 'text,label\nshort,a\n"', '",b\nshort,a\n'),
        ("a.jsonl", '{"text": "short"}\n{"text": "', '"}\n' + json.dumps({"text": "short"})),
    ):
        (tmp_path / name).write_text(before + line + after)
    source = TextFiles(files=str(tmp_path / "a.txt"), document="line", val=0.1)
    assert sum(map(len, source.documents())) == len(line)
    assert source.issues.messages() == ["Documents of more than 4,194,304 characters were cut, in 47 place(s)."]
    for name in ("a.csv", "quoted.csv", "a.jsonl"):
        records = [record.record for record in read_records(tmp_path / name)]
        assert len(records) == 3 and records[1] == TOO_LONG
    for name in ("a.csv", "quoted.csv"):
        chunks = list(read_chunks(tmp_path / name, {"label": pa.string()}, FileLayout(["text", "label"])))
        assert [text for chunk in chunks for text in chunk.table["label"].to_pylist()] == ["a", "a"]
        assert [(reject.line, reject.reason) for chunk in chunks for reject in chunk.rejects] == [(3, TOO_LONG)]
        with pytest.raises(InputError, match=f"line 3: {TOO_LONG}"):
            read_table(tmp_path / name)
