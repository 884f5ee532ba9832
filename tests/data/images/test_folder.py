"""A user's own images: layouts of folders and zips, unreadable files, and the cache of decoded images."""

import zipfile
from pathlib import Path

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
    with pytest.raises(InputError, match=r"None of the 1 images in .* can be read; a\.png: it is not a PNG or JPEG"):
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
