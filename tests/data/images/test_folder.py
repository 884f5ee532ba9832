"""A user's own images: layouts of folders and zips, unreadable files, and the cache of decoded images."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

from ssl_cli.data.images import archive as archive_module
from ssl_cli.data.images import cache as cache_module
from ssl_cli.data.images.folder import ImageFolder
from ssl_cli.data.images.reader import ImageReader
from ssl_cli.errors import InputError
from ssl_cli.runs.folder import read_config
from tests.helpers.image_files import grey_square, save_image


def test_a_folder_a_class_with_a_broken_file(published: Path) -> None:
    found = ImageFolder(dir=f"{published}/photographs", size=(8, 10)).read()
    assert found.x.shape == (48, 3, 8, 10)
    assert found.classes == ["cat", "dog"]
    assert found.names is not None
    assert found.names[:2] == ["cat/00.png", "cat/02.jpg"]
    assert found.label is not None
    assert found.label.tolist() == [0] * 24 + [1] * 24
    assert found.warnings == [
        f"1 of 49 image files in {published}/photographs are left out: "
        "cat/torn.png (it is damaged: image file is truncated)"
    ]


@pytest.mark.parametrize("top", ["", "mine/"])
def test_a_zip_with_published_splits(tmp_path: Path, top: str) -> None:
    save_image(tmp_path / "one.png", grey_square(200))
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for name in ("train/a/1.png", "train/b/1.png", "test/a/1.png", "test/b/2.png"):
            archive.write(tmp_path / "one.png", top + name)
        archive.writestr("__MACOSX/train/a/._1.png", b"no image")
        archive.writestr(f"{top}notes.txt", b"no image")
    found = ImageFolder(dir=str(tmp_path / "set.zip"), size=4, color="grey").read()
    assert found.x.tolist() == np.full((4, 1, 4, 4), 200).tolist()
    assert found.classes == ["a", "b"]
    assert found.is_test is not None
    assert found.is_test.tolist() == [True, True, False, False]
    assert found.label is not None
    assert found.label.tolist() == [0, 1, 0, 1]


def test_a_zip_writes_nothing_and_its_bombs_are_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_module, "MAX_FILE_BYTES", 1_000_000)
    save_image(tmp_path / "one.png", grey_square(9))
    with zipfile.ZipFile(tmp_path / "inner.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "one.png", "../../escaped.png")
        archive.writestr("x/bomb.png", bytes(3 << 20))
    before = sorted(path.name for path in tmp_path.rglob("*"))
    names, x, rejected = ImageReader([1, 4, 4], []).read_all(tmp_path / "inner.zip")
    assert (names, x.max()) == (["../../escaped.png"], 9)
    assert rejected == [("x/bomb.png", "it has more than 1,000,000 bytes")]
    assert sorted(path.name for path in tmp_path.rglob("*")) == before
    assert not (tmp_path.parent.parent / "escaped.png").exists()


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ([], "holds no image"),
        (["a/1.png", "b/c/2.png"], r"b/c/2\.png is deeper than a class's folder"),
        (["a/1.png", "b/1.png", "2.png"], r"2\.png is beside the classes' folders"),
        (["train/1.png", "val/1.png"], "must have both train and test, and nothing besides them"),
        (["train/1.png", "test/1.png", "3.png"], "must have both train and test, and nothing besides them"),
    ],
)
def test_other_layouts_are_rejected(tmp_path: Path, files: list[str], sentence: str) -> None:
    for name in files:
        save_image(tmp_path / "set" / name, grey_square(1))
    (tmp_path / "set").mkdir(exist_ok=True)
    with pytest.raises(InputError, match=sentence):
        ImageFolder(dir=str(tmp_path / "set")).read()


def test_no_readable_image(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no")
    with pytest.raises(InputError, match=r"None of the 1 images in .* can be read; a\.png: it is not a picture: PNG"):
        ImageFolder(dir=str(tmp_path)).read()
    with pytest.raises(InputError, match="is neither a folder nor a zip"):
        ImageFolder(dir=str(tmp_path / "absent")).read()


def test_a_large_dataset_is_memory_mapped_and_the_same(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = ImageFolder(dir=f"{published}/photographs", size=8, cache=str(tmp_path / "cache"))
    small, small_splits = dataset.read(), dataset.image_splits(0)
    assert not (tmp_path / "cache").exists()
    monkeypatch.setattr(cache_module, "MAX_MEMORY_BYTES", 1000)
    for _ in range(2):  # written, then found
        large = dataset.read()
        assert isinstance(large.x, np.memmap)
        np.testing.assert_array_equal(large.x, small.x)
        assert (large.names, large.warnings, large.fingerprint) == (small.names, small.warnings, small.fingerprint)
    for name, split in dataset.image_splits(0).splits.items():
        assert isinstance(split.x, np.memmap)
        np.testing.assert_array_equal(split.x, small_splits.splits[name].x)
    [place] = (tmp_path / "cache").iterdir()
    assert sorted(path.name for path in place.iterdir()) == ["about.json", "pixels"]
    (place / "pixels").write_bytes(b"torn")
    with pytest.raises(InputError, match="is damaged: remove it, and it will be built again"):
        dataset.read()


def test_a_cache_that_cannot_be_written(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "MAX_MEMORY_BYTES", 1000)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"Set data\.cache=PATH"):
        ImageFolder(dir=f"{published}/photographs", cache=str(tmp_path / "file")).read()


def test_a_saved_cache_option_is_ignored(published: Path, tmp_path: Path) -> None:
    cfg = OmegaConf.create({"verb": "detect", "data": {"_target_": "ssl_cli.data.images.folder.ImageFolder"}})
    cfg.data.update({"dir": str(published), "cache": str(tmp_path)})
    OmegaConf.save(cfg, tmp_path / "config.yaml")
    assert read_config(tmp_path).data == {**cfg.data, "cache": None}


# --- other formats, other files, nested folders -------------------------------------------------------------


@pytest.mark.parametrize("zipped", [False, True])
def test_formats_that_are_read_and_files_that_are_skipped(tmp_path: Path, zipped: bool) -> None:
    suffixes = [".png", ".jpg", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".TIFF", ".pgm"]
    folder = tmp_path / "imgs"
    for suffix in suffixes:
        save_image(folder / f"a{suffix}", grey_square(200), format="JPEG" if suffix == ".jfif" else None)
    (folder / "sub").mkdir()
    for name in ("notes.txt", "sub/more.txt", "a.pdf", "README", ".hidden", "b.svg"):
        (folder / name).write_text("x")
    path = folder
    if zipped:
        path = tmp_path / "imgs.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(folder.rglob("*")):
                archive.write(file, file.relative_to(folder))
    found = ImageFolder(dir=str(path), size=4, color="grey").read()
    assert found.names == sorted(f"a{suffix}" for suffix in suffixes)
    assert np.abs(found.x.astype(int) - 200).max() <= 2
    (warning,) = found.warnings
    assert warning.startswith(f"5 of 14 files in {path} are skipped: 2 .txt, ")
    assert {"1 .pdf", "1 without a suffix", "1 .svg"} <= set(warning.partition(": ")[2].split(", "))
    reader = ImageReader([1, 4, 4], [])
    list(reader.read_batches(path))
    assert reader.warnings == found.warnings


def test_a_folder_of_other_files_says_which(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"x")
    with pytest.raises(InputError, match=r"holds no image: .* It has 1 \.wav\."):
        ImageFolder(dir=str(tmp_path)).read()


def test_a_picture_of_floating_point_numbers_is_left_out(tmp_path: Path) -> None:
    save_image(tmp_path / "a.tif", np.zeros((4, 4), np.float32))
    save_image(tmp_path / "b.png", grey_square(1))
    found = ImageFolder(dir=str(tmp_path), size=4).read()
    assert found.names == ["b.png"] and "its pixels are floating-point numbers" in found.warnings[0]


@pytest.mark.parametrize(
    ("classes", "names", "label"),
    [
        ("top", ["Greek", "Latin"], [0, 0, 1, 1]),
        ("parent", ["char1", "char2"], [0, 1, 0, 0]),
        ("path", ["Greek/char1", "Greek/char2", "Latin/char1"], [0, 1, 2, 2]),
    ],
)
@pytest.mark.parametrize("split", ["", "train/"])
def test_nested_folders_as_in_omniglot(
    tmp_path: Path, classes: Any, names: list[str], label: list[int], split: str
) -> None:
    files = ["Greek/char1/1.png", "Greek/char2/2.png", "Latin/char1/3.png", "Latin/char1/4.png"]
    save_image(tmp_path / "one.png", grey_square(9))
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for name in (*files, *(["../test/Greek/char1/5.png"] if split else [])):
            archive.write(tmp_path / "one.png", f"images_background/{split}{name}".replace("train/../", ""))
    found = ImageFolder(dir=str(tmp_path / "set.zip"), size=4, classes=classes).read()
    assert found.classes == names and found.label is not None
    assert found.label.tolist()[-4:] == label
    with pytest.raises(InputError) as caught:
        ImageFolder(dir=str(tmp_path / "set.zip"), size=4).read()
    assert str(caught.value).endswith(
        "For nested folders set data.classes to what a class is: top (2, such as Greek), parent (2, such as char1) or "
        "path (3, such as Greek/char1)."
    )


def test_a_link_to_a_folder_above_is_not_followed_and_deep_folders_are(tmp_path: Path) -> None:
    save_image(tmp_path / "a/b/c/d/e/f/1.png", grey_square(9))
    (tmp_path / "a/b/loop").symlink_to(tmp_path / "a")
    names, _, _ = ImageReader([1, 4, 4], []).read_all(tmp_path)
    assert names == ["a/b/c/d/e/f/1.png"]
