"""Published image datasets: what is read of their files, and what is rejected."""

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

from ssl_cli.data.images.cifar import CLASSES, Cifar10
from ssl_cli.data.images.datasets import Digits, FashionMnist, Mnist, join_splits
from ssl_cli.data.images.folder import ImageFolder
from ssl_cli.errors import InputError
from tests.conftest import Cli
from tests.helpers.processes import run


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
    assert run([sys.executable, "-c", code]).returncode == 0


def test_missing_and_damaged_files_are_reported(published: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte\.gz is missing\. Download .* data\.dir=PATH"):
        Mnist(dir=str(tmp_path)).read()
    for source in (published / "mnist").iterdir():
        (tmp_path / source.name).write_bytes(source.read_bytes())
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(b"\x1f\x8b torn")
    with pytest.raises(InputError, match=r"t10k-labels-idx1-ubyte\.gz can't be read"):
        Mnist(dir=str(tmp_path)).read()


def test_cifars_pickles_are_rejected_unread(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "ran",))

    (tmp_path / "data_batch_1").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(InputError, match="is a pickle, which may run code when it is read, so it is not read"):
        Cifar10(dir=str(tmp_path)).read()
    assert not (tmp_path / "ran").exists()


def test_a_damaged_batch_of_cifar(published: Path, tmp_path: Path) -> None:
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


def test_labels_and_the_published_split_are_part_of_the_data() -> None:
    x, label = np.zeros((4, 1, 2, 2), np.uint8), np.arange(4)
    splits = {"train": (x[:2], label[:2]), "test": (x[2:], label[2:])}
    relabelled = splits | {"test": (x[2:], label[1:3])}
    otherwise = {"train": (x[:3], label[:3]), "test": (x[3:], label[3:])}
    names = ["a", "b", "c", "d"]
    assert len({join_splits(variant, names).fingerprint for variant in (splits, relabelled, otherwise)}) == 3
    assert join_splits(splits, names).fingerprint == join_splits(dict(splits), names).fingerprint


def test_views_of_digits_are_at_an_angle_and_those_of_things_mirrored(published: Path) -> None:
    digits, mnist = Digits().image_splits(0).facts, Mnist(dir=str(published / "mnist")).image_splits(0).facts
    clothes = FashionMnist(dir=str(published / "mnist")).image_splits(0).facts
    for facts in (digits, mnist):
        assert facts["view_flip"] == 0 and facts["view_turn"] > 0, "a mirrored digit is no digit"
    assert clothes["view_flip"] == 0.5 and clothes["view_turn"] == 0 and clothes["view_crop"] < digits["view_crop"]
    assert set(clothes) == set(FashionMnist.offers), "the names that YAML files may use"


def test_images_without_pixels_are_rejected() -> None:
    empty = np.zeros((3, 1, 0, 28), np.uint8), np.zeros(3, int)
    with pytest.raises(InputError, match="The images have no pixels: they are 1 x 0 x 28"):
        join_splits({"train": empty, "test": empty}, ["a"])


def test_a_folder_that_is_set_must_exist(cli: Cli) -> None:
    """Otherwise the images of the hub would be used in place of them."""
    Path("file").touch()
    for value, sentence in (("typo", "data.dir=typo: there is no such file or folder."), ("file", "is a file: name")):
        code, _, err = cli("reconstruct", "data=mnist", f"data.dir={value}")
        assert code == 2 and sentence in err


def test_too_few_images_to_split() -> None:
    with pytest.raises(InputError, match=r"The 1,797 images can't be split with data.val=0.9999: that leaves 0 train"):
        Digits(val=0.9999).image_splits(0)
