"""The one-class protocol on images: which classes are normal."""

from pathlib import Path

import numpy as np
import pytest

from ssl_cli.data.images.datasets import Digits
from ssl_cli.data.images.folder import ImageFolder
from ssl_cli.errors import InputError
from tests.helpers.image_files import grey_square, save_image


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
    splits = Digits(contamination=0.1).one_class_splits(seed=0).splits
    fit = np.concatenate([split.anomaly for name, split in splits.items() if name != "test"])  # type: ignore[misc]
    assert fit.mean() == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize(
    ("normal", "sentence"),
    [
        ("cta", r"data\.normal=cta is not a class\. Did you mean cat\?"),
        (2, "The classes are cat, dog"),
        ([], "no class"),
    ],
)
def test_an_unknown_class_is_rejected(published: Path, normal: int | str | list, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        ImageFolder(dir=f"{published}/photographs", normal=normal).one_class_splits(seed=0)


def test_a_class_by_name_or_number(published: Path) -> None:
    for normal in ("dog", 1):
        found = ImageFolder(dir=f"{published}/photographs", normal=normal).one_class_splits(seed=0)
        assert found.notes == ["normal: dog; anomalies: cat"]


def test_images_without_labels_have_no_normal_class(tmp_path: Path) -> None:
    for k in range(9):
        save_image(tmp_path / f"{k}.png", grey_square(k))
    with pytest.raises(InputError, match="These images have no labels"):
        ImageFolder(dir=str(tmp_path)).one_class_splits(seed=0)
    assert len(ImageFolder(dir=str(tmp_path), val=0.2).image_splits(0).splits["train"].x) == 6
