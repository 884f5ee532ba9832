"""Texts of figures in any script: drawn where a font has them, else one warning a run and never a broken figure."""

import warnings
from importlib.util import find_spec
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.font_manager import FontProperties

from ssl_cli import console
from ssl_cli.evaluation.plots import classification, curves, fonts, images

CJK = ["中国", "简体", "日本語", "かな", "カナ", "한국"]
UNKNOWN = "\U0010ffff"  # no font has it


@pytest.fixture
def no_cjk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system without any font for Chinese, Japanese and Korean."""
    known = [entry for entry in font_manager.fontManager.ttflist if entry.name not in fonts.CJK_FAMILIES]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", known)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [])
    monkeypatch.setattr(fonts, "PACKAGE", "no_such_package")
    monkeypatch.setattr(console, "_warned", set())
    clear_caches()


def clear_caches() -> None:
    fonts._packaged_families.cache_clear()
    fonts._add_new_system_fonts.cache_clear()


@pytest.fixture
def packaged(no_cjk: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same system with the extra `fonts`."""
    if find_spec("notojp_matplotlib") is None:
        pytest.skip("the extra `fonts` is not installed: pip install 'ssl-cli[fonts]'")
    monkeypatch.setattr(fonts, "PACKAGE", "notojp_matplotlib")
    clear_caches()


def labelled(path: Path, labels: list[str]) -> np.ndarray:
    """Draw a figure with labels at both axes and in its legend, and return its pixels."""
    with plt.rc_context(curves.STYLE):
        figure, axes = plt.subplots()
        axes.plot(range(len(labels)), label=labels[0])
        axes.set_yticks(range(len(labels)), labels)
        axes.set_xlabel(labels[-1])
        axes.legend()
        curves.save(figure, path)
    return plt.imread(path)


@pytest.mark.parametrize("label", CJK)
def test_the_glyphs_of_the_extra_are_drawn(label: str, packaged: None, tmp_path: Path) -> None:
    families, missing = fonts.fallback_fonts(label)
    assert not missing
    font = font_manager.get_font(font_manager.findfont(FontProperties(family=families), fallback_to_default=False))
    assert all(font.get_char_index(ord(character)) for character in label)
    boxes = labelled(tmp_path / "boxes.png", [UNKNOWN * len(label)])
    drawn = labelled(tmp_path / "drawn.png", [label])
    assert drawn.shape != boxes.shape or not np.array_equal(drawn, boxes)


def test_two_labels_are_two_pictures(packaged: None, tmp_path: Path) -> None:
    """Boxes would be alike."""
    first, second = (labelled(tmp_path / f"{k}.png", [label]) for k, label in enumerate(["中国", "简体"]))
    assert not np.array_equal(first, second)


def test_latin_text_keeps_its_font(packaged: None) -> None:
    figure, axes = plt.subplots()
    plain, mixed = axes.set_title("naïve −1"), axes.set_xlabel("class 中")
    before = plain.get_fontfamily()
    with fonts.fitting_fonts(figure):
        assert plain.get_fontfamily() == before
        assert mixed.get_fontfamily() == [*before, "Noto Sans CJK JP"]
    plt.close(figure)


def test_without_a_font_there_is_one_warning_a_run(
    no_cjk: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tile = np.zeros((1, 1, 8, 8), np.uint8)
    for run in range(2):
        with warnings.catch_warnings(), console.logging_to(tmp_path / f"{run}.txt"):
            warnings.simplefilter("error")  # matplotlib's own warnings
            labelled(tmp_path / "lines.png", CJK)
            images.image_rows(tmp_path / "images.png", "日本", [("中", tile)], ["한"])
            classification.confusion_matrix(tmp_path / "confusion.png", "t", np.eye(2), CJK[:2])
        assert capsys.readouterr().err.count("warning: ") == 1
        assert "ssl-cli[fonts]" in (tmp_path / f"{run}.txt").read_text()
    assert all((tmp_path / f"{name}.png").stat().st_size for name in ("lines", "images", "confusion"))


def test_arabic_emoji_and_what_no_font_has_draw(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "_warned", set())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        labelled(tmp_path / "a.png", ["مرحبا بالعالم", "سلام"])
        labelled(tmp_path / "b.png", ["🙂 👩‍👩‍👧 🫠", "हिन्दी", UNKNOWN, "\x07", "$x_{"])
        labelled(tmp_path / "b.png", [UNKNOWN])
    assert capsys.readouterr().err.count("warning: ") == 1


def test_a_font_installed_after_matplotlib_listed_them_is_found(
    no_cjk: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """STIXNonUnicode, of matplotlib's own, plays the font: it alone has this character."""
    (entry,) = [entry for entry in font_manager.fontManager.ttflist if entry.name == "STIXNonUnicode"][:1]
    rest = [other for other in font_manager.fontManager.ttflist if other.name != entry.name]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", rest)
    monkeypatch.setattr(fonts, "CJK_FAMILIES", ("no such family", "STIXNonUnicode"))
    assert fonts.fallback_fonts("\ue000") == ([], {"\ue000"})
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [entry.fname])
    clear_caches()
    assert fonts.fallback_fonts("\ue000 plain") == (["STIXNonUnicode"], set())
    assert fonts.fallback_fonts(f"\ue000{UNKNOWN}") == (["STIXNonUnicode"], {UNKNOWN})
    clear_caches()
