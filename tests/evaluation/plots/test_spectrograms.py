"""Plots of spectrograms, of units below them, and of phones and units."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from ssl_cli.evaluation.plots import spectrograms
from ssl_cli.evaluation.plots.spectrograms import FrameScale, Sound, Span

SCALE = FrameScale(100.0, np.geomspace(50, 3900, 20))
RNG = np.random.default_rng(0)
pytestmark = pytest.mark.figures


def sound(frames: int, title: str = "a $name_{") -> Sound:
    return Sound(title, RNG.normal(size=(frames, 20)).astype(np.float32))


def drawn(path: Path) -> np.ndarray:
    image = plt.imread(path)[..., :3]
    assert image.std() > 0.03
    return image


@pytest.mark.parametrize("frames", [1, 30, 5000])
def test_columns_of_spectrograms(tmp_path: Path, frames: int) -> None:
    columns = [[sound(frames), sound(20, "rebuilt " * 20)] for _ in range(3)]
    spectrograms.spectrogram_columns(tmp_path / "a.png", "Originals $ above", columns, SCALE)
    spectrograms.spectrogram_columns(tmp_path / "b.png", "", [[sound(frames)] * 3], SCALE)
    assert all(max(drawn(tmp_path / name).shape) < 130 * spectrograms.MAX_WIDTH + 2 for name in ("a.png", "b.png"))


def test_silence_alone_can_be_drawn(tmp_path: Path) -> None:
    flat = Sound("silence", np.full((40, 20), np.log(1e-5), np.float32))
    spectrograms.spectrogram_columns(tmp_path / "a.png", "", [[flat, flat]], SCALE)
    assert (tmp_path / "a.png").exists()


@pytest.mark.parametrize("frames", [1, 80, pytest.param(5000, marks=pytest.mark.long)])
def test_units_below_a_spectrogram(tmp_path: Path, frames: int) -> None:
    units = [Span(k / 50, (k + 1) / 50, str(RNG.integers(40))) for k in range(-(-frames // 2))]
    third = frames / 300
    labels = [Span(0, third, "AO$1"), Span(third, 2 * third, ""), Span(2 * third, 3 * third, "S")]
    for name, each in (("a.png", labels), ("b.png", [])):
        spectrograms.units_over_spectrogram(tmp_path / name, sound(frames), units, ("phones", each), SCALE)
    assert drawn(tmp_path / "a.png").shape[0] > drawn(tmp_path / "b.png").shape[0]


def test_equal_neighbours_are_one_span() -> None:
    spans = [Span(0, 1, "3"), Span(1, 2, "3"), Span(2, 3, "5"), Span(3, 4, "3")]
    assert spectrograms.merge_spans(spans) == [Span(0, 2, "3"), Span(2, 3, "5"), Span(3, 4, "3")]


@pytest.mark.parametrize("units", [1, 60, 600])
def test_phones_and_units(tmp_path: Path, units: int) -> None:
    table = RNG.integers(0, 5, (12, units)) * (np.arange(12)[:, None] != 3)
    spectrograms.phone_unit_matrix(tmp_path / "a.png", "Phones of units", table, [f"$p{k}" for k in range(12)])
    drawn(tmp_path / "a.png")
