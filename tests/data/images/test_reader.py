"""Decoding of single image files, whatever their bytes, and the saved reader."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssl_cli.data.images.decode import decode_image
from ssl_cli.data.images.reader import ImageReader
from ssl_cli.errors import InputError
from tests.helpers.image_files import grey_square, save_image


def test_modes_of_files_become_the_same_image(tmp_path: Path) -> None:
    grey = ImageReader([1, 4, 4], [])
    paths = {
        "grey": save_image(tmp_path / "grey.png", grey_square(100)),
        "16 bits": save_image(tmp_path / "deep.png", np.full((4, 4), 100 * 257, np.uint16)),
        "rgb": save_image(tmp_path / "rgb.png", np.full((4, 4, 3), 100, np.uint8)),
    }
    Image.fromarray(np.full((4, 4, 3), 100, np.uint8)).quantize(4).save(tmp_path / "palette.png")
    paths["palette"] = tmp_path / "palette.png"
    for name, path in paths.items():
        assert grey.read(path).tolist() == np.full((1, 4, 4), 100).tolist(), name
        assert ImageReader([3, 4, 4], []).read(path).tolist() == np.full((3, 4, 4), 100).tolist(), name


def test_transparency_becomes_white(tmp_path: Path) -> None:
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[..., 3] = 51  # a fifth of black, four of white
    assert (ImageReader([3, 4, 4], []).read(save_image(tmp_path / "a.png", pixels)) == 204).all()


def test_a_photograph_is_rotated_according_to_its_exif_data(tmp_path: Path) -> None:
    pixels = np.zeros((8, 16), np.uint8)
    pixels[:, 8:] = 250  # right half
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise: right becomes bottom
    found = ImageReader([1, 16, 8], []).read(save_image(tmp_path / "a.jpg", pixels, exif=exif, quality=100))
    assert found[0, :7].max() < 20
    assert found[0, 9:].min() > 230


def test_an_image_too_large_to_decode_is_rejected_by_its_header(tmp_path: Path) -> None:
    for side, sentence in ((9_000, "it has 9,000 x 9,000 pixels, more than"), (60_000, "it has more than 67,108,864")):
        path = save_image(tmp_path / "bomb.png", grey_square(1))
        header = b"IHDR" + struct.pack(">II", side, side) + path.read_bytes()[24:29]
        path.write_bytes(
            path.read_bytes()[:12] + header + struct.pack(">I", zlib.crc32(header)) + path.read_bytes()[33:]
        )
        with pytest.raises(InputError, match=rf"bomb\.png can't be read as an image: {sentence}"):
            ImageReader([1, 4, 4], []).read(path)


def test_damaged_bytes_are_rejected_and_never_crash(tmp_path: Path) -> None:
    """A few hundred torn and flipped files: each is decoded or rejected with an InputError."""
    path = save_image(tmp_path / "a.png", np.random.default_rng(0).integers(0, 255, (12, 12, 3)).astype(np.uint8))
    jpeg = save_image(tmp_path / "a.jpg", np.random.default_rng(0).integers(0, 255, (12, 12, 3)).astype(np.uint8))
    rng, n_rejected = np.random.default_rng(1), 0
    for content in (path.read_bytes(), jpeg.read_bytes()):
        for _ in range(150):
            broken = bytearray(content[: rng.integers(1, len(content) + 1)])
            for place in rng.integers(0, len(broken), 3):
                broken[place] = rng.integers(256)
            try:
                assert decode_image(bytes(broken), [3, 6, 6]).shape == (3, 6, 6)
            except InputError:
                n_rejected += 1
    assert 100 < n_rejected < 300


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
def test_an_untrusted_reader_file_is_checked(tmp_path: Path, state: str) -> None:
    (tmp_path / "reader.json").write_text(state)
    with pytest.raises(InputError, match=r"reader\.json is damaged"):
        ImageReader.load(tmp_path / "reader.json")


def test_a_saved_reader_can_be_loaded(tmp_path: Path) -> None:
    paths = ImageReader([3, 8, 6], ["cat", "ночь"])
    paths.save(tmp_path / "reader.json")
    assert ImageReader.load(tmp_path / "reader.json") == paths
    assert [path.name for path in tmp_path.iterdir()] == ["reader.json"]
