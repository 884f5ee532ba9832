"""Fonts for figures: characters that matplotlib's own font lacks are drawn with another font, where there is one.

Chinese, Japanese and Korean need a font of the system or of the extra `fonts`. Fonts are only looked for when a text
has characters that matplotlib's own font lacks.
"""

import logging
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text

from ssl_cli import console

# Families that systems have for Chinese, Japanese and Korean; those that cover all three come first.
CJK_FAMILIES = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Noto Sans CJK TC", "Noto Sans CJK HK"),
    *("Source Han Sans SC", "Source Han Sans CN", "Source Han Sans", "Source Han Sans JP", "Source Han Sans K"),
    *("WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback", "Arial Unicode MS", "Unifont"),
    *("Noto Sans SC", "Noto Sans JP", "Noto Sans KR", "Noto Serif CJK SC", "Noto Serif CJK JP"),
    *("PingFang SC", "Hiragino Sans", "Hiragino Sans GB", "Heiti SC", "Apple SD Gothic Neo", "AppleGothic"),
    *("Microsoft YaHei", "SimHei", "SimSun", "Yu Gothic", "Meiryo", "MS Gothic", "Malgun Gothic"),
    *("IPAexGothic", "IPAGothic", "TakaoGothic", "VL Gothic", "NanumGothic", "UnDotum", "Baekmuk Gulim"),
)
PACKAGE = "notojp_matplotlib"  # of the extra `fonts`; it is not imported, which would change matplotlib's settings
CJK_NAMES = ("CJK", "IDEOGRAPHIC", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "FULLWIDTH", "HALFWIDTH")
NO_CJK_FONT = (
    "A figure has Chinese, Japanese or Korean text, and no font for it was found: pip install 'ssl-cli[fonts]', or "
    "install a font of your system, such as the package fonts-noto-cjk."
)
MISSING_GLYPHS = r"(?s)Glyph .* missing from|Matplotlib currently does not support"  # matplotlib's own warnings
FONT_LOG = logging.getLogger("matplotlib.font_manager")


@contextmanager
def fitting_fonts(figure: Figure) -> Iterator[None]:
    """Give each text of a figure fonts that have its characters, and silence matplotlib's own warnings meanwhile.

    Where no font has a character, there is one warning a run.
    """
    for axes in figure.axes:  # the texts of ticks are made when they are asked for
        axes.get_xticklabels(), axes.get_yticklabels()
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        more, missing = fallback_fonts(text.get_text(), text.get_fontproperties())
        if more:
            text.set_fontfamily([*text.get_fontfamily(), *more])
        warn_of_missing(missing)
    level = FONT_LOG.level
    FONT_LOG.setLevel(logging.ERROR)  # it also warns of a font that has no bold
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", MISSING_GLYPHS, UserWarning)
            yield
    finally:
        FONT_LOG.setLevel(level)


def can_draw(texts: Sequence[str]) -> bool:
    """Return whether there are fonts for every character of the texts; warn once a run if there are not."""
    missing = fallback_fonts("".join(texts))[1]
    warn_of_missing(missing)
    return not missing


def fallback_fonts(text: str, usual: FontProperties | None = None) -> tuple[list[str], set[str]]:
    """Return font families for what the `usual` font of figures lacks, and the characters that no font has."""
    if text.isascii():
        return [], set()
    missing = _lacking({character for character in text if not character.isspace()}, usual or FontProperties())
    families = list[str]()
    for family in _wider_families() if missing else ():
        rest = _lacking(missing, FontProperties(family=[family]))
        if rest < missing:
            families.append(family)
            missing = rest
        if not missing:
            break
    return families, missing


def _lacking(characters: set[str], properties: FontProperties) -> set[str]:
    """Return the characters that a font lacks."""
    font = font_manager.get_font(font_manager.findfont(properties))
    return {character for character in characters if not font.get_char_index(ord(character))}


def _wider_families() -> Iterator[str]:
    """Yield families that may have more: those matplotlib knows, that of the extra, those new on the system."""
    yield from (known := _known_families())
    yield from _packaged_families()
    if _add_new_system_fonts():
        yield from (family for family in _known_families() if family not in known)


def _known_families() -> list[str]:
    names = {entry.name for entry in font_manager.fontManager.ttflist}
    return [family for family in CJK_FAMILIES if family in names]


@cache
def _packaged_families() -> list[str]:
    """Return the families of the extra `fonts`, which matplotlib then knows; none if it is not installed."""
    spec = find_spec(PACKAGE)
    folders = [] if spec is None else spec.submodule_search_locations or []
    return [_add(path) for folder in folders for path in sorted(Path(folder).rglob("*.[ot]tf"))]


@cache
def _add_new_system_fonts() -> bool:
    """Add the fonts installed since matplotlib listed the system's, which it does only once; return whether any is."""
    known = {entry.fname for entry in font_manager.fontManager.ttflist}
    added = 0
    for path in set(font_manager.findSystemFonts()) - known:
        try:
            _add(Path(path))
            added += 1
        except (OSError, RuntimeError):  # FreeType's errors: a font that matplotlib can't use
            continue
    return added > 0


def _add(path: Path) -> str:
    """Make a font file known to matplotlib, and return its family."""
    font_manager.fontManager.addfont(path)
    return font_manager.fontManager.ttflist[-1].name


def warn_of_missing(missing: set[str]) -> None:
    """Warn once a run of characters that no font has."""
    if any(unicodedata.name(character, "").startswith(CJK_NAMES) for character in missing):
        console.warn_once("CJK font", NO_CJK_FONT)
    elif missing:
        example = min(missing)
        console.warn_once("font", f"A figure has characters that no font at hand has, such as {example!r}.")
