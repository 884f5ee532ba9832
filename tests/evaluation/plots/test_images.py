"""Plots of grey and RGB images, of one and many, with known and unknown labels."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from ssl_cli.evaluation.plots import images

SHAPES = [(1, 8, 8), (3, 32, 20), (3, 1, 1), (2, 5, 5)]


def random_images(n: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, *shape)).astype(np.uint8)


def is_drawn(path: Path) -> bool:
    return plt.imread(path)[..., :3].std() > 0.03


@pytest.mark.parametrize("shape", SHAPES)
def test_pictures_of_images(tmp_path: Path, shape: tuple[int, ...]) -> None:
    lines = [
        ("original", random_images(4, shape)),
        ("a name $that$ is very long indeed, too long", random_images(3, shape)),
    ]
    images.image_rows(tmp_path / "rows.png", "Rows of $ images " * 9, lines, ["1", "2"], group_size=2)
    images.contact_sheet(tmp_path / "sheet.png", "Sheet", random_images(5, shape), 3)
    images.contact_sheet(tmp_path / "captions.png", "Sheet", random_images(5, shape), 3, ["50%\n$_x"] * 5)
    images.latent_plane(tmp_path / "plane.png", "Plane", random_images(6, shape), np.arange(3.0), np.arange(2.0))
    assert all(is_drawn(tmp_path / f"{name}.png") for name in ("rows", "sheet", "captions", "plane"))


def test_pixels_are_drawn_as_they_are(tmp_path: Path) -> None:
    red = np.zeros((1, 3, 8, 8), np.uint8)
    red[:, 0] = 255
    images.contact_sheet(tmp_path / "red.png", "", red, 1)
    drawn = plt.imread(tmp_path / "red.png")[..., :3].reshape(-1, 3)
    assert (drawn == [1, 0, 0]).all(1).mean() > 0.1


@pytest.mark.parametrize("n_classes", [1, 10, 15, 40])
@pytest.mark.parametrize("known", ["all", "some", "none"])
def test_maps(tmp_path: Path, n_classes: int, known: str) -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(0, n_classes, 50)
    label[:20] = label[:20] if known == "all" else -1
    classes = [f"${k}_{{" for k in range(n_classes)]
    xy = rng.normal(size=(50, 2))
    images.scatter_map(tmp_path / "map.png", "Map", xy, None if known == "none" else label, classes, ("a", "b"))
    assert is_drawn(tmp_path / "map.png")


def test_each_code_has_its_colour() -> None:
    codes = np.array([[[0, 1], [2, 0]]])
    (image,) = images.codes_as_images(codes, 3, (6, 7))
    assert image.shape == (3, 6, 7)
    corner = {place: tuple(image[:, place[0], place[1]]) for place in ((0, 0), (0, 6), (5, 0), (5, 6))}
    assert corner[0, 0] == corner[5, 6] and len(set(corner.values())) == 3


@pytest.mark.parametrize("k", [1, 30, 256])
def test_shares_and_curves(tmp_path: Path, k: int) -> None:
    values = np.random.default_rng(0).dirichlet(np.ones(k))
    images.sorted_shares(tmp_path / "shares.png", "Use", values, 1 / k, "codes", "share")
    history = [{"step": step, "val/perplexity": 3.0 + step, "train/loss": 1.0} for step in range(4)] + [{"step": 9.0}]
    images.history_curve(tmp_path / "curve.png", "Perplexity", history, "val/perplexity", "perplexity", 256)
    assert is_drawn(tmp_path / "shares.png") and is_drawn(tmp_path / "curve.png")
