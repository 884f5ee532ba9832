"""The report page: its blocks, its templates, and that no other place writes HTML."""

import re
from pathlib import Path

import jinja2
import numpy as np
import pytest
from PIL import Image

from ssl_cli.evaluation import html
from ssl_cli.evaluation.html import Figure, Metric, Metrics, Note, PageTable, Piece, Section

PACKAGE = Path(html.__file__).parents[1]
TAG = re.compile(r"</?(p|div|span|section|h[1-6]|table|thead|tbody|tr|th|td|ul|ol|li|img|figure|figcaption|mark)[ >]")


def page(folder: Path, *blocks: html.Block) -> str:
    html.write_report(folder, "detect", "seed: 1", {"seed": 1, "model": "m", "data": "d"}, [Section("One", blocks)])
    return (folder / html.REPORT).read_text()


def test_no_python_file_has_html() -> None:
    assert [str(path) for path in PACKAGE.rglob("*.py") if TAG.search(path.read_text())] == []


def test_metrics_are_grouped_by_split_and_train_is_last() -> None:
    keys = ["train/loss", "val/loss", "test/top/1", "val/f1", "seconds"]
    section = html.metrics_section([Metric(key, "1") for key in keys], Note("All."))
    groups = {each.title: each.blocks[0] for each in section.subsections}
    assert list(groups) == ["val", "test", "other", "train"] and section.blocks[0] == Note("All.")
    names = {title: [row.name for row in block.rows] for title, block in groups.items() if isinstance(block, Metrics)}
    assert names == {"val": ["loss", "f1"], "test": ["top/1"], "other": ["seconds"], "train": ["loss"]}


def test_a_section_without_blocks_is_left_out(tmp_path: Path) -> None:
    assert "One" not in page(tmp_path) and "One" in page(tmp_path, Note("text"))


def test_nested_sections_are_in_the_contents(tmp_path: Path) -> None:
    text = page(tmp_path, Note("a"), Section("Inner", [Section("Deep", [Note("b")])]), Section("Next", []))
    assert '<a href="#s2-2">Next</a>' in text and '<section id="s2-2">' in text
    assert "#s2-1-1" not in text and '<section id="s2-1-1">' in text and ">Deep</h4>" in text


def test_cells_of_a_table(tmp_path: Path) -> None:
    options = {"numbers": {"share"}, "names": {"file"}, "best": {(0, 1)}, "folded": "all 1"}
    table = PageTable(["file", "share"], [["a<b", "0.5"]], **options)
    text = page(tmp_path, table)
    assert "<code>a&lt;b</code>" in text and '<td class="number best" dir="auto">0.5</td>' in text
    assert "<summary>all 1</summary>" in text


def test_control_characters_of_names_are_escaped(tmp_path: Path) -> None:
    text = page(tmp_path, Note("a \x1b[31m column\nand \u202e another"))
    assert r"a \x1b[31m column" in text and r"\u202e another" in text and not {"\x1b", "\u202e"} & set(text)


def test_a_figure_has_the_size_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    Image.fromarray(np.zeros((30, html.WIDE_PX), np.uint8)).save(tmp_path / "figures" / "wide #1.png")
    text = page(tmp_path, Figure("wide #1.png", "It's <wide>"), Figure("absent.png", ""))
    assert f'width="{html.WIDE_PX}" height="30"' in text and '<figure class="wide">' in text
    assert 'src="figures/wide%20%231.png" alt="It&#39;s &lt;wide&gt;"' in text
    (tmp_path / "figures" / "absent.png").write_bytes(b"no PNG at all, but long enough")
    assert html.png_size(tmp_path / "figures" / "absent.png") is None


def test_players_of_sounds_beside_the_page(tmp_path: Path) -> None:
    (tmp_path / "sounds").mkdir()
    (tmp_path / "sounds" / "a #1.flac").write_bytes(b"sound")
    players = html.Players([("<row>", [html.Clip("a #1.flac", 'the "source"', 0.44)])], "One:")
    text = page(tmp_path, players)
    assert 'src="sounds/a%20%231.flac" aria-label="&lt;row&gt;: the &#34;source&#34;"' in text and "0.4 s" in text
    config = {"model": "m", "data": "d"}
    alone = html.render("v", "r", "", config, [Section("One", [players])], [], tmp_path / "figures", embedded=True)
    assert 'src="data:audio/flac;base64,c291bmQ="' in alone


def test_spaces_between_pieces_are_kept(tmp_path: Path) -> None:
    text = page(tmp_path, html.Passage([Piece(" a "), Piece("b", True), Piece(" c"), Piece("d", False, "9%", "e")]))
    assert '> a <mark class="right">b</mark> c<mark class="wrong" title="9%">d</mark><small>e</small></p>' in text


def test_a_template_that_asks_for_something_unknown_fails() -> None:
    with pytest.raises(jinja2.UndefinedError):
        html._environment().from_string("{{ unknown }}").render()
