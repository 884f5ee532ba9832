"""Image sets in their published layouts, and a person's own files: what is read, and what is refused."""

import pickle
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from ssl_cli.data.images import archive as archives
from ssl_cli.data.images import cache as cache_module
from ssl_cli.data.images.cifar import CLASSES, Cifar10
from ssl_cli.data.images.datasets import Digits, FashionMnist, Mnist
from ssl_cli.data.images.datasets import published as published_set
from ssl_cli.data.images.decode import decoded
from ssl_cli.data.images.folder import ImageFolder
from ssl_cli.data.images.reader import ImageReader
from ssl_cli.errors import InputError
from ssl_cli.runs.folder import read_config
from tests.conftest import Cli


def picture(path: Path, pixels: np.ndarray, **how: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **how)
    return path


def plain(value: int, size: int = 4) -> np.ndarray:
    """(H, W) of one shade of grey"""
    return np.full((size, size), value, np.uint8)


# --- published layouts --------------------------------------------------------------------------------------


def test_idx(published: Path) -> None:
    for found in (Mnist(dir=f"{published}/mnist").read(), FashionMnist(dir=f"{published}/fashion_mnist").read()):
        assert (found.x.shape, found.x.dtype) == ((60, 1, 28, 28), np.uint8)
        assert found.is_test is not None
        assert found.is_test.tolist() == [False] * 40 + [True] * 20
        assert found.label is not None
        assert found.label.tolist() == [0, 1] * 30
    assert found.classes[9] == "Ankle boot"


def test_cifars_binary_files(published: Path) -> None:
    found = Cifar10(dir=f"{published}/cifar10").read()
    assert found.x.shape == (48, 3, 32, 32)
    assert found.classes == CLASSES
    raw = (published / "cifar10" / "test_batch.bin").read_bytes()
    assert found.x[40].tobytes() == raw[1 : 1 + 3072]
    assert found.is_test is not None
    assert found.is_test.nonzero()[0].tolist() == list(range(40, 48))


@pytest.mark.parametrize("as_hub", [True, False])
def test_parquet_in_the_hubs_layout(published: Path, as_hub: bool) -> None:
    """Given as the hub, or lying in data.dir."""
    for kind, name, shape in ((Mnist, "mnist", (18, 1, 28, 28)), (Cifar10, "cifar10", (18, 3, 32, 32))):
        folder = f"{published}/hub/{name}"
        found = kind(dir="nowhere", hub=folder).read() if as_hub else kind(dir=folder).read()
        assert found.x.shape == shape
        assert found.label is not None
        assert found.label.tolist() == [0, 1] * 9
        stripes = found.x[:, 0, :, :8].astype(int).mean(axis=1)  # (N, 8): of width 1 and 2
        assert ((stripes[:, 1] > 128) == (found.label == 0)).all()


def test_a_hub_that_fails_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise ConnectionError(f"Couldn't reach {name}\nand much more")

    monkeypatch.setattr("datasets.load_dataset", fail)
    with pytest.raises(InputError, match="uoft-cs/cifar10 can't be read: the hub can't be reached") as refused:
        Cifar10(dir="absent/cifar10", hub="uoft-cs/cifar10").read()
    for part in ("https://www.cs.toronto.edu/~kriz/cifar.html", "absent/cifar10", "data.dir=PATH", "data.hub=ID"):
        assert part in str(refused.value)
    assert "\n" not in str(refused.value)


def test_datasets_is_imported_only_where_it_is_used() -> None:
    code = "import sys, ssl_cli.data.images.datasets, ssl_cli.data.images.cifar; sys.exit('datasets' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_missing_and_damaged_files_are_said(published: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte\.gz is missing\. Download .* data\.dir=PATH"):
        Mnist(dir=str(tmp_path)).read()
    for source in (published / "mnist").iterdir():
        (tmp_path / source.name).write_bytes(source.read_bytes())
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(b"\x1f\x8b torn")
    with pytest.raises(InputError, match=r"t10k-labels-idx1-ubyte\.gz can't be read"):
        Mnist(dir=str(tmp_path)).read()


def test_cifars_pickles_are_refused_unread(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "ran",))

    (tmp_path / "data_batch_1").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(InputError, match="is a pickle, which may run code when it is read, so it isn't"):
        Cifar10(dir=str(tmp_path)).read()
    assert not (tmp_path / "ran").exists()


def test_a_torn_batch_of_cifar_is_said(published: Path, tmp_path: Path) -> None:
    for source in (published / "cifar10").iterdir():
        (tmp_path / source.name).write_bytes(source.read_bytes())
    with (tmp_path / "data_batch_3.bin").open("ab") as file:
        file.write(b"x")
    with pytest.raises(InputError, match=r"data_batch_3\.bin is damaged: its 24,585 bytes"):
        Cifar10(dir=str(tmp_path)).read()


@pytest.mark.shared
def test_the_real_sets(shared: Path) -> None:
    mnist = Mnist(dir=str(shared / "mnist")).read()
    assert mnist.is_test is not None
    assert (mnist.x.shape, int(mnist.is_test.sum())) == ((70_000, 1, 28, 28), 10_000)
    assert mnist.fingerprint.startswith("ce9872250c00")
    photographs = ImageFolder(dir=str(shared / "cifar10_jpg" / "cifar10_jpg.zip")).read()
    assert photographs.is_test is not None
    assert (len(photographs.x), int(photographs.is_test.sum()), photographs.classes) == (12_000, 2_000, CLASSES)


# --- a person's own files -----------------------------------------------------------------------------------


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
    picture(tmp_path / "one.png", plain(200))
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


def test_a_zip_writes_nothing_and_its_bombs_are_broken_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "LARGEST_BYTES", 1_000_000)
    picture(tmp_path / "one.png", plain(9))
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
        (["a/1.png", "b/c/2.png"], r"b/c/2\.png lies deeper than a class's folder"),
        (["a/1.png", "b/1.png", "2.png"], r"2\.png lies beside the classes' folders"),
        (["train/1.png", "val/1.png"], "beside train and test there must be nothing else, and both"),
        (["train/1.png", "test/1.png", "3.png"], "beside train and test there must be nothing else, and both"),
    ],
)
def test_other_layouts_are_said(tmp_path: Path, files: list[str], sentence: str) -> None:
    for name in files:
        picture(tmp_path / "set" / name, plain(1))
    (tmp_path / "set").mkdir(exist_ok=True)
    with pytest.raises(InputError, match=sentence):
        ImageFolder(dir=str(tmp_path / "set")).read()


def test_no_readable_image_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no")
    with pytest.raises(InputError, match=r"None of the 1 images in .* can be read; a\.png: it is no PNG or JPEG"):
        ImageFolder(dir=str(tmp_path)).read()
    with pytest.raises(InputError, match="is no folder and no zip"):
        ImageFolder(dir=str(tmp_path / "absent")).read()


def test_a_large_set_is_mapped_and_the_same(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = ImageFolder(dir=f"{published}/photographs", size=8, cache=str(tmp_path / "cache"))
    small, parted = made.read(), made.image_splits(0)
    assert not (tmp_path / "cache").exists()
    monkeypatch.setattr(cache_module, "LARGEST_IN_MEMORY", 1000)
    for _ in range(2):  # written, then found
        large = made.read()
        assert isinstance(large.x, np.memmap)
        np.testing.assert_array_equal(large.x, small.x)
        assert (large.names, large.warnings, large.fingerprint) == (small.names, small.warnings, small.fingerprint)
    for name, split in made.image_splits(0).splits.items():
        assert isinstance(split.x, np.memmap)
        np.testing.assert_array_equal(split.x, parted.splits[name].x)
    [place] = (tmp_path / "cache").iterdir()
    assert sorted(path.name for path in place.iterdir()) == ["about.json", "pixels"]
    (place / "pixels").write_bytes(b"torn")
    with pytest.raises(InputError, match="is damaged: remove it, and it is made anew"):
        made.read()


def test_nothing_is_left_in_the_cache_where_it_fails(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "LARGEST_IN_MEMORY", 1000)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"Say data\.cache=PATH"):
        ImageFolder(dir=f"{published}/photographs", cache=str(tmp_path / "file")).read()


# --- one file -----------------------------------------------------------------------------------------------


def test_modes_of_files_become_the_same_image(tmp_path: Path) -> None:
    grey = ImageReader([1, 4, 4], [])
    made = {
        "grey": picture(tmp_path / "grey.png", plain(100)),
        "16 bits": picture(tmp_path / "deep.png", np.full((4, 4), 100 * 257, np.uint16)),
        "rgb": picture(tmp_path / "rgb.png", np.full((4, 4, 3), 100, np.uint8)),
    }
    Image.fromarray(np.full((4, 4, 3), 100, np.uint8)).quantize(4).save(tmp_path / "palette.png")
    made["palette"] = tmp_path / "palette.png"
    for name, path in made.items():
        assert grey.read(path).tolist() == np.full((1, 4, 4), 100).tolist(), name
        assert ImageReader([3, 4, 4], []).read(path).tolist() == np.full((3, 4, 4), 100).tolist(), name


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[..., 3] = 51  # a fifth of black, four of white
    assert (ImageReader([3, 4, 4], []).read(picture(tmp_path / "a.png", pixels)) == 204).all()


def test_a_photograph_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    pixels = np.zeros((8, 16), np.uint8)
    pixels[:, 8:] = 250  # right half
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise: right becomes bottom
    found = ImageReader([1, 16, 8], []).read(picture(tmp_path / "a.jpg", pixels, exif=exif, quality=100))
    assert found[0, :7].max() < 20
    assert found[0, 9:].min() > 230


def test_a_picture_too_large_to_decode_is_refused_by_its_header(tmp_path: Path) -> None:
    for side, sentence in ((9_000, "it has 9,000 x 9,000 pixels, more than"), (60_000, "it has more than 67,108,864")):
        path = picture(tmp_path / "bomb.png", plain(1))
        header = b"IHDR" + struct.pack(">II", side, side) + path.read_bytes()[24:29]
        path.write_bytes(
            path.read_bytes()[:12] + header + struct.pack(">I", zlib.crc32(header)) + path.read_bytes()[33:]
        )
        with pytest.raises(InputError, match=rf"bomb\.png can't be read as an image: {sentence}"):
            ImageReader([1, 4, 4], []).read(path)


def test_damaged_bytes_are_said_and_never_crash(tmp_path: Path) -> None:
    """A few hundred torn and flipped files: each is an image, or refused in words."""
    path = picture(tmp_path / "a.png", np.random.default_rng(0).integers(0, 255, (12, 12, 3)).astype(np.uint8))
    jpeg = picture(tmp_path / "a.jpg", np.random.default_rng(0).integers(0, 255, (12, 12, 3)).astype(np.uint8))
    rng, refused = np.random.default_rng(1), 0
    for content in (path.read_bytes(), jpeg.read_bytes()):
        for _ in range(150):
            broken = bytearray(content[: rng.integers(1, len(content) + 1)])
            for place in rng.integers(0, len(broken), 3):
                broken[place] = rng.integers(256)
            try:
                assert decoded(bytes(broken), [3, 6, 6]).shape == (3, 6, 6)
            except InputError:
                refused += 1
    assert 100 < refused < 300


@pytest.mark.parametrize(
    "state",
    [
        "[]",
        "{",
        '{"kind": "images", "shape": [1, 8, 8]}',
        '{"kind": "images", "shape": [1, 8, 8], "classes": [], "more": 1}',
        '{"kind": "images", "shape": [2, 8, 8], "classes": []}',
        '{"kind": "images", "shape": [1, 8, 999999], "classes": []}',
        '{"kind": "images", "shape": [1, 8, 8.5], "classes": []}',
        '{"kind": "images", "shape": [1, 8, 8], "classes": [7]}',
        '{"kind": "rows", "shape": [1, 8, 8], "classes": []}',
    ],
)
def test_a_reader_of_a_strangers_is_checked(tmp_path: Path, state: str) -> None:
    (tmp_path / "reader.json").write_text(state)
    with pytest.raises(InputError, match=r"reader\.json is damaged"):
        ImageReader.load(tmp_path / "reader.json")


def test_a_reader_comes_back(tmp_path: Path) -> None:
    made = ImageReader([3, 8, 6], ["cat", "ночь"])
    made.save(tmp_path / "reader.json")
    assert ImageReader.load(tmp_path / "reader.json") == made
    assert [path.name for path in tmp_path.iterdir()] == ["reader.json"]


# --- one class is normal ------------------------------------------------------------------------------------


def test_the_protocol_on_images() -> None:
    data = Digits(normal=[3, "5"]).one_class_splits(seed=0)
    label = Digits().read().label
    assert label is not None
    n_normal = int(np.isin(label, [3, 5]).sum())
    sizes = {name: len(split.x) for name, split in data.splits.items()}
    held_out = round(0.1 * (n_normal // 2))
    n_test = 1797 - n_normal // 2
    assert sizes == {"train": n_normal // 2 - held_out, "calibration": held_out, "test": n_test}
    for split in data.splits.values():
        assert split.x.dtype == np.uint8
        assert split.anomaly is not None
        np.testing.assert_array_equal(split.anomaly, ~np.isin(label[split.row], [3, 5]))
    assert not data.splits["train"].anomaly.any()  # type: ignore[union-attr]
    assert data.notes == ["normal: 3, 5; anomalies: 0, 1, 2, 4, 6, 7, 8, 9"]


def test_anomalies_hide_among_images_too() -> None:
    splits = Digits(train="polluted", pollution=0.1).one_class_splits(seed=0).splits
    fit = np.concatenate([split.anomaly for name, split in splits.items() if name != "test"])  # type: ignore[misc]
    assert fit.mean() == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize(
    ("normal", "sentence"),
    [("cta", r"data\.normal=cta is no class\. Did you mean cat\?"), (2, "The classes are cat, dog"), ([], "no class")],
)
def test_an_unknown_class_is_said(published: Path, normal: int | str | list, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        ImageFolder(dir=f"{published}/photographs", normal=normal).one_class_splits(seed=0)


def test_a_class_by_name_or_number(published: Path) -> None:
    for normal in ("dog", 1):
        found = ImageFolder(dir=f"{published}/photographs", normal=normal).one_class_splits(seed=0)
        assert found.notes == ["normal: dog; anomalies: cat"]


def test_images_without_labels_have_no_normal_class(tmp_path: Path) -> None:
    for k in range(9):
        picture(tmp_path / f"{k}.png", plain(k))
    with pytest.raises(InputError, match="These images have no labels"):
        ImageFolder(dir=str(tmp_path)).one_class_splits(seed=0)
    assert len(ImageFolder(dir=str(tmp_path), val=0.2).image_splits(0).splits["train"].x) == 6


def test_labels_and_the_published_split_are_part_of_the_data() -> None:
    x, label = np.zeros((4, 1, 2, 2), np.uint8), np.arange(4)
    parted = {"train": (x[:2], label[:2]), "test": (x[2:], label[2:])}
    relabelled = parted | {"test": (x[2:], label[1:3])}
    otherwise = {"train": (x[:3], label[:3]), "test": (x[3:], label[3:])}
    names = ["a", "b", "c", "d"]
    assert len({published_set(one, names).fingerprint for one in (parted, relabelled, otherwise)}) == 3
    assert published_set(parted, names).fingerprint == published_set(dict(parted), names).fingerprint


def test_images_without_pixels_are_said() -> None:
    empty = np.zeros((3, 1, 0, 28), np.uint8), np.zeros(3, int)
    with pytest.raises(InputError, match="The images have no pixels: they are 1 x 0 x 28"):
        published_set({"train": empty, "test": empty}, ["a"])


def test_a_folder_that_is_named_must_be_there(cli: Cli) -> None:
    """The hub would else be asked, and its images learned in place of those."""
    Path("file").touch()
    for value, sentence in (("typo", "data.dir=typo: there is no such file or folder."), ("file", "is a file: name")):
        code, _, err = cli("reconstruct", "data=mnist", f"data.dir={value}")
        assert code == 2 and sentence in err


def test_too_few_to_part_says_by_what() -> None:
    with pytest.raises(InputError, match=r"The 1,797 images can't be parted with data.val=0.9999: that leaves 0 train"):
        Digits(val=0.9999).image_splits(0)


def test_a_saved_cache_has_no_say(published: Path, tmp_path: Path) -> None:
    cfg = OmegaConf.create({"verb": "detect", "data": {"_target_": "ssl_cli.data.images.folder.ImageFolder"}})
    cfg.data.update({"dir": str(published), "cache": str(tmp_path)})
    OmegaConf.save(cfg, tmp_path / "config.yaml")
    assert read_config(tmp_path).data == {**cfg.data, "cache": None}
